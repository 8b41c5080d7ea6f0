"""`requirements.lock` as it is written by `uv pip compile`: packages, versions, markers, hashes and who requires them.

Here belongs reading the lock. What is made of it belongs to the modules beside. The graph comes out of uv's `# via`
comments, which are the only place where a lock of this form names it; a line of another form is an error, so that no
package can be overlooked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

from d4c_pipeline.model.errors import PermanentError

REPOSITORY = Path(__file__).parents[1]
LOCK = REPOSITORY / "requirements.lock"

_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})$")
_ROOT = re.compile(r"d4c-pipeline \(pyproject\.toml(?::(?P<group>[\w-]+))?\)$")


@dataclass(frozen=True)
class Locked:
    """One pin. The same name occurs more than once where markers part it (numpy for Python 3.11 and for later ones)."""

    name: NormalizedName
    version: Version
    marker: str
    """PEP 508, empty when the pin holds everywhere."""
    hashes: tuple[str, ...]
    """`sha256:<64 hex digits>` of each file that may be installed, sorted."""
    required_by: tuple[NormalizedName, ...]
    """Other packages of the lock."""
    declared_by: tuple[str, ...]
    """Which lists of pyproject.toml name it: `project` (dependencies, extras) or a dependency group such as `dev`."""


def read(path: Path = LOCK) -> tuple[Locked, ...]:
    """Read every pin of the lock, in its order.

    Raises:
        PermanentError: a line is no pin of one version, no sha256 and no comment of uv's, or a pin has no hash.
    """
    packages = tuple(_package(entry, path.name) for entry in _entries(path.read_text("utf-8"), path.name))
    if not packages:
        raise PermanentError(f"{path.name} pins nothing", "Write it again: make lock")
    return packages


def _entries(text: str, file: str) -> Iterator[list[tuple[int, str]]]:
    """Group the lines of each pin, with their numbers: its own line, then hashes and comments, which are indented."""
    entry: list[tuple[int, str]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if not line.startswith(" "):
            if entry:
                yield entry
            entry = []
        elif not entry:
            raise _unknown(file, number, line)
        entry.append((number, line))
    if entry:
        yield entry


def _package(entry: list[tuple[int, str]], file: str) -> Locked:
    (number, head), *rest = entry
    try:
        requirement = Requirement(head.removesuffix("\\").strip())
    except InvalidRequirement as error:
        raise _unknown(file, number, head) from error
    pins = list(requirement.specifier)
    if len(pins) != 1 or pins[0].operator != "==" or "*" in pins[0].version or requirement.url:
        raise _unknown(file, number, head)
    hashes: list[str] = []
    requirers: list[str] = []
    for number, line in rest:
        words = line.strip().removesuffix("\\").strip()
        if match := _HASH.match(words):
            hashes.append(match[1])
        elif words.startswith("#"):
            requirers.append(words.removeprefix("#").strip().removeprefix("via").strip())
        else:
            raise _unknown(file, number, line)
    if not hashes:
        raise PermanentError(
            f"{file}:{entry[0][0]} pins {requirement.name} without a hash", "Write the lock again: make lock"
        )
    roots = [match for one in requirers if (match := _ROOT.match(one))]
    return Locked(
        name=canonicalize_name(requirement.name),
        version=Version(pins[0].version),
        marker=str(requirement.marker or ""),
        hashes=tuple(sorted(hashes)),
        required_by=tuple(sorted(canonicalize_name(one) for one in requirers if one and not _ROOT.match(one))),
        declared_by=tuple(sorted({match["group"] or "project" for match in roots})),
    )


def _unknown(file: str, number: int, line: str) -> PermanentError:
    return PermanentError(
        f"{file}:{number} is no pin with hashes: {line.strip()[:80]}", "Write the lock again: make lock"
    )


def reached(packages: Iterable[Locked], roots: Iterable[NormalizedName]) -> set[NormalizedName]:
    """Return `roots` and everything that they require, directly or through others."""
    requires: dict[NormalizedName, set[NormalizedName]] = {}
    for package in packages:
        for requirer in package.required_by:
            requires.setdefault(requirer, set()).add(package.name)
    found: set[NormalizedName] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(requires.get(name, ()))
    return found
