"""The environment of processes that work on foreign bytes or run a dataset's code: an allow-list.

The caller that starts such a process adds the variables that it needs (a home, a hash seed).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# All inherited variables: paths of programs and libraries. The process needs no archive token, store key or ledger
# address.
_INHERITED = (
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
# Limits of reading and unpacking (`model.limits`), which the process reads from its environment.
_LIMITS = ("D4C_READ_", "D4C_UNPACK_")
# Hash order, time zone and locale affect the bytes of a release, so the user's values are not inherited.
_FIXED = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}


def allowed(own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of such a process: inherited paths, fixed time zone and locale, and `own`."""
    taken = {name: value for name, value in os.environ.items() if name in _INHERITED or name.startswith(_LIMITS)}
    return taken | _FIXED | dict(own)
