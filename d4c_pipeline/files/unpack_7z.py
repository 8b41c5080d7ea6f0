"""7z archives, by py7zr.

`unpack.py` decides which members are refused.
"""

from __future__ import annotations

import lzma
import shutil
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.packed import Budget, Packed, broken, refused


class _SevenZip:
    def __init__(self, archive: Path, opened: Any, budget: Budget) -> None:
        self._archive = archive
        self._opened = opened
        # The members themselves: `list()` does not mark links.
        self._infos: list[Any] = list(opened.files)
        budget.member(archive, len(self._infos))
        self.members: Sequence[Packed] = [_packed(key, info) for key, info in enumerate(self._infos)]

    def write(self, targets: Mapping[int, Path]) -> list[Path]:
        if not targets:
            return []
        # py7zr writes its own names, which are checked, below a folder; then each file moves to its target.
        common = next(iter(targets.values())).parent
        folder = common / f".{self._archive.name}.unpacking"
        names = {key: str(self._infos[key].filename) for key in targets}
        with storage_errors(f"write in {common}"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                self._opened.extract(path=folder, targets=list(names.values()))
            except _broken() as error:
                raise broken(self._archive, "7z", error) from error
            for key, target in targets.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                (folder / names[key]).replace(target)
            shutil.rmtree(folder)
        return list(targets.values())


@contextmanager
def SevenZipArchive(archive: Path, budget: Budget) -> Generator[_SevenZip]:  # noqa: N802 - a `Format`
    """Open a 7z. Raises DataError when it can't be read, or is encrypted."""
    import py7zr  # noqa: PLC0415 - the import takes a third of a second, which few archives need

    try:
        opened = py7zr.SevenZipFile(archive)
    except py7zr.PasswordRequired as error:
        raise refused(archive, "is encrypted") from error
    except _broken() as error:
        raise broken(archive, "7z", error) from error
    with opened:
        if opened.needs_password():
            raise refused(archive, "is encrypted")
        yield _SevenZip(archive, opened, budget)


def _broken() -> tuple[type[Exception], ...]:
    from py7zr.exceptions import ArchiveError  # noqa: PLC0415

    return (ArchiveError, lzma.LZMAError, EOFError, ValueError, IndexError, KeyError)


def _packed(key: int, info: Any) -> Packed:
    return Packed(
        key=key,
        name=str(info.filename),
        size=int(info.uncompressed or 0),
        is_folder=bool(info.is_directory),
        special=bool(info.is_symlink or info.is_junction or info.is_socket),
    )
