"""The provenance of a build for the manifest: code, lock file, libraries.

Host names, paths and times stay out: the same code with the same lock has the same provenance on every machine.
"""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from d4c_pipeline.model.manifest import Code, Provenance


@cache
def provenance() -> Provenance:
    """Return code version and commit, the sha256 of the lock file and the versions of the libraries that matter."""
    commit, modified = _checkout()
    # GDAL, GEOS and PROJ load 80 MB of libraries, and the definitions of assets need only `library_versions`.
    import pyproj  # noqa: PLC0415
    import shapely  # noqa: PLC0415

    from d4c_pipeline.tables.gdal import pyogrio  # noqa: PLC0415

    wheels = library_versions()
    return Provenance(
        code=Code(package="d4c-pipeline", version=version("d4c-pipeline"), commit=commit, modified=modified),
        lock_sha256=_lock_sha256(),
        libraries={
            "python": wheels["python"],
            "duckdb": wheels["duckdb"],
            "gdal": pyogrio.__gdal_version_string__,
            "geos": shapely.geos_version_string,
            "proj": pyproj.proj_version_str,
            **{name: wheels[name] for name in ("pyarrow", "pyogrio", "pyproj", "shapely")},
        },
    )


@cache
def library_versions() -> Mapping[str, str]:
    """Return the versions of Python and of the distributions that make the data, without loading them.

    Their wheels contain GDAL, GEOS and PROJ.
    """
    wheels = ("duckdb", "pyarrow", "pyogrio", "pyproj", "shapely")
    return {"python": platform.python_version(), **{name: version(name) for name in wheels}}


def package_folder() -> Path:
    """Return the folder of this package."""
    return Path(__file__).parent.parent


def lock_file() -> Path | None:
    """Return the lock of the libraries: packaged in a wheel, at the top of a checkout; None where there is neither."""
    places = (package_folder() / "requirements.lock", package_folder().parent / "requirements.lock")
    return next((lock for lock in places if lock.is_file()), None)


def _lock_sha256() -> str | None:
    lock = lock_file()
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock else None


def _checkout() -> tuple[str | None, bool]:
    root = package_folder().parent
    if not (root / ".git").exists():
        return None, False
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit, bool(_git(root, "status", "--porcelain", "--", "d4c_pipeline", "requirements.lock"))
    except (OSError, subprocess.CalledProcessError):
        # Without git, or outside our checkout, the package version identifies the code.
        return None, False


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
