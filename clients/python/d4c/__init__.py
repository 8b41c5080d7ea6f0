"""A client of published datasets: any version by its name, from any mirror, verified by sha256.

`open`, `versions`, `find` and `update_lock` are the beginning; docs/clients.md describes them. No code of the
pipeline is imported.
"""

from d4c.errors import (
    D4CError,
    D4CWarning,
    FormError,
    IntegrityError,
    MissingError,
    UnknownNameError,
    UnreachableError,
    WithdrawnError,
)
from d4c.opening import Updated, find, open, update_lock, versions  # noqa: A004 - d4c.open is what readers write
from d4c.release import Release, Verified

__version__ = "0.1.0"
__all__ = [
    "D4CError",
    "D4CWarning",
    "FormError",
    "IntegrityError",
    "MissingError",
    "Release",
    "UnknownNameError",
    "UnreachableError",
    "Updated",
    "Verified",
    "WithdrawnError",
    "find",
    "open",
    "update_lock",
    "versions",
]
