"""Lists of files with their mirrors, in the layout of aria2c's input files.

Choosing among the mirrors belongs to `fetch.download`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.model.secrets import secret_in_address
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources import files

_ADDRESS = re.compile(r"https?://\S+")


@dataclass(frozen=True)
class Listed:
    """A file to fetch: its name, its addresses in the declared order, its sha256 if the list states it."""

    name: str
    mirrors: tuple[str, ...]
    sha256: str | None = None


def read_mirror_list(path: Path, vintage: Vintage | None = None) -> tuple[Listed, ...]:
    """Read a list: a line per file with its mirrors between tabs, in which `{vintage}` is replaced.

    Indented lines below are options of aria2c (its manual, "Input File"): `out=` names the file and
    `checksum=sha-256=` its digest. Other options are ignored. `#` begins a comment. Raises DefinitionError with the
    number of the invalid line.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"The list {path} can't be read: {error}", "Save it beside the YAML, as UTF-8") from error
    mirrors: list[tuple[str, ...]] = []
    options: list[dict[str, str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0] in " \t":
            name, separator, value = line.strip().partition("=")
            if not separator or not options:
                raise _wrong(path, number, "is not an option of a file")
            options[-1][name] = value
            continue
        addresses = tuple(_filled(part.strip(), vintage, path, number) for part in line.split("\t") if part.strip())
        if bad := [address for address in addresses if _ADDRESS.fullmatch(address) is None]:
            raise _wrong(path, number, f"has '{bad[0]}', which is not an http(s) address (mirrors stand between tabs)")
        if secret := next(filter(None, map(secret_in_address, addresses)), None):
            raise DefinitionError(
                f"{path}:{number} has an address with {secret}, which would be published with every release",
                "Remove it, and declare the variable that holds the Authorization header as authorization in the YAML",
            )
        mirrors.append(addresses)
        options.append({})
    if not mirrors:
        raise DefinitionError(f"The list {path} names no file", "Write a line per file, its mirrors between tabs")
    named = [each.get("out", "") for each in options]
    # `out` may contain folders; here all files of a vintage are in one folder.
    urls = [f"https://x/{out.rpartition('/')[2]}" if out else each[0] for out, each in zip(named, mirrors, strict=True)]
    listed = zip(files.file_names(urls), mirrors, strict=True)
    return tuple(
        replace(Listed(name, addresses), sha256=_sha256(option))
        for (name, addresses), option in zip(listed, options, strict=True)
    )


def _filled(address: str, vintage: Vintage | None, path: Path, number: int) -> str:
    if vintage is None or "{vintage" not in address:
        return address
    try:
        return address.format(vintage=vintage)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise _wrong(path, number, f"has '{address}', which is not a template over {{vintage}}") from error


def _sha256(options: dict[str, str]) -> str | None:
    algorithm, _, digest = options.get("checksum", "").partition("=")
    return digest.lower() if algorithm.lower() == "sha-256" else None


def _wrong(path: Path, number: int, what: str) -> DefinitionError:
    return DefinitionError(f"{path}:{number} {what}", "Correct the line")
