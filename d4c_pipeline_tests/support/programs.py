"""Programs that benchmarks start: where they are, and the Debian package of one that is missing.

Starting them belongs to the benchmarks.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

_PACKAGES = {"initdb": "postgresql", "postgres": "postgresql", "redis-server": "redis-server"}
# Debian keeps PostgreSQL's programs out of PATH, since several versions may be installed.
_POSTGRESQL = Path("/usr/lib/postgresql")


def find_program(name: str) -> Path | None:
    """Return the path of a program: in PATH, else of the newest PostgreSQL; None if it is not installed."""
    if found := shutil.which(name):
        return Path(found)
    versions = [path for path in _POSTGRESQL.glob(f"*/bin/{name}") if path.parts[-3].isdecimal()]
    return max(versions, key=lambda path: int(path.parts[-3]), default=None)


def require_programs(*names: str) -> list[Path]:
    """Return the paths of programs; end the process with status 2 and a sentence on stderr if one is not installed."""
    found = {name: find_program(name) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        packages = " ".join(sorted({_PACKAGES[name] for name in missing}))
        verb = "is" if len(missing) == 1 else "are"
        sys.stderr.write(
            f"{Path(sys.argv[0]).name}: {', '.join(missing)} {verb} not installed. "
            f"On Debian: apt-get install {packages}\n"
        )
        raise SystemExit(2)
    return [path for path in found.values() if path is not None]
