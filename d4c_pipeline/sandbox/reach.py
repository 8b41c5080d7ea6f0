"""The files that a working process may read besides the files of its request: Python, its packages, system libraries.

Of /etc and /proc it may read only files that libraries need: /etc also holds an operator's settings, /proc the
environments of other processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from d4c_pipeline.sandbox import landlock, system
from d4c_pipeline.sandbox.wire import Reach

_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/sys", "/nix/store")
_CONFIGURATION = (
    *("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld.so.preload", "localtime", "timezone", "passwd", "group"),
    *("nsswitch.conf", "hosts", "host.conf", "resolv.conf", "ssl", "pki", "mime.types", "fonts", "alternatives"),
)
_FACTS = ("self", "cpuinfo", "meminfo", "stat", "loadavg", "filesystems", "version", "sys")
_DEVICES = ("null", "zero", "full", "random", "urandom", "shm")
_PLACES = (
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "PATH",
    "GDAL_DATA",
    "PROJ_DATA",
    "PROJ_LIB",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


def restrict(reach: Reach) -> None:
    """Restrict this process to `reach`, as far as the kernel can: by Landlock and an empty network namespace."""
    if not reach.network:
        system.cut_network()
    landlock.restrict(
        (*_readable(), *reach.readable),
        (reach.scratch, *reach.writable, *(Path("/dev", name) for name in _DEVICES)),
        network=reach.network,
    )


def _readable() -> Iterator[Path]:
    yield from map(Path, _SYSTEM)
    yield from (Path("/etc", name) for name in _CONFIGURATION)
    yield from (Path("/proc", name) for name in _FACTS)
    yield from map(Path, {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix})
    yield Path(sys.executable).resolve().parent
    package = Path(__file__).parents[1]
    yield package
    for name in sys.path:
        # A checkout also holds the home of a deployment and the operator's files.
        if name and Path(name) != package.parent:
            yield Path(name)
    for variable in _PLACES:
        yield from (Path(name) for name in os.environ.get(variable, "").split(os.pathsep) if name)
