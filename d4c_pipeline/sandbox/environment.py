"""The environment of processes that work on foreign bytes or run a dataset's code: an allow-list.

The caller that starts such a process adds the variables that it needs (a home, a hash seed).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# All that is taken over: where programs and libraries lie. Nothing there needs the token of an archive, the keys of a
# store or the address of the ledger.
_TAKEN_OVER = (
    "PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GDAL_DATA",
    "PROJ_DATA",
    "PROJ_LIB",
    "OMP_NUM_THREADS",
)
# The limits of what is read and unpacked (`model.limits`), which are asked of the environment where they hold.
_LIMITS = ("D4C_READ_", "D4C_UNPACK_")
# Hash order, zone and locale decide bytes: they are never the user's.
_FIXED = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def allowed(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of such a process: what says where programs lie, fixed zone and locale, and `own`."""
    taken = {name: value for name, value in os.environ.items() if name in _TAKEN_OVER or name.startswith(_LIMITS)}
    return taken | _FIXED | dict(own)
