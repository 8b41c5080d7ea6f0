"""The files of a record and of its release: checks before a call, upload, comparison.

The states of a deposit belong to `deposit.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from d4c_pipeline.archives.port import Archive, Draft, RemoteFile, check_files
from d4c_pipeline.model.errors import IntegrityError, PermanentError, StorageError, TransientError
from d4c_pipeline.model.release import Artifact, PlannedRelease


class RecordFiles:
    """The required files of a record of `release`: exactly the artifacts that the ledger has for it."""

    def __init__(self, archive: Archive, release: PlannedRelease) -> None:
        self._archive, self._release = archive, release
        self._artifacts = {artifact.name: artifact for artifact in release.artifacts}

    def check_staged(self, files: Mapping[str, Path]) -> None:
        """Check everything that needs no call: names, sizes, limits, the staged files.

        Raises PermanentError for files that can't be this record, IntegrityError for a file whose size differs from
        the ledger's.
        """
        if set(files) != set(self._artifacts):
            missing = sorted(set(self._artifacts) - set(files))
            unknown = sorted(set(files) - set(self._artifacts))
            raise PermanentError(
                f"The files for {self._release.name} are not its artifacts "
                f"(missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'})",
                "Run the assets that make them again",
            )
        check_files({name: artifact.size for name, artifact in self._artifacts.items()})
        for name, path in files.items():
            try:
                size = path.stat().st_size
            except OSError as error:
                raise StorageError(f"The staged file {path} can't be read: {error.strerror}", "Run again") from error
            if size != self._artifacts[name].size:
                raise self._staged_differs(name)

    def sync(self, draft: Draft, files: Mapping[str, Path], *, importing: bool) -> None:
        """Delete foreign and differing files, upload missing files: only differing bytes are sent.

        `importing`: whether the previous version has some of the files. Raises IntegrityError if a staged file differs
        from the ledger's, TransientError if an upload is incomplete.
        """
        self._archive.drop_pending(draft)
        there = {file.name: file for file in self._archive.list_files(draft)}
        if importing and not there and draft.concept_doi is not None:
            there = {file.name: file for file in self._archive.import_files(draft)}
        for name in sorted(there):
            if name not in self._artifacts or not _same(there[name], self._artifacts[name]):
                self._archive.delete_file(draft, name)
                del there[name]
        for name in sorted(set(self._artifacts) - set(there)):
            arrived = self._archive.upload(draft, name, files[name])
            if not _same(arrived, self._artifacts[name]):
                self._archive.delete_file(draft, name)
                if _md5(files[name]) != self._artifacts[name].md5:
                    raise self._staged_differs(name)
                raise TransientError(f"The file {name} is incomplete at {self._archive.name}", "Run again")

    def check(self, record_id: str, remote: tuple[RemoteFile, ...], *, exact: bool = True) -> None:
        """Raise IntegrityError if a record lacks a file or has a different file (`exact`: or further files)."""
        there = {file.name: file for file in remote}
        wrong = sorted(n for n, artifact in self._artifacts.items() if n not in there or not _same(there[n], artifact))
        extra = sorted(set(there) - set(self._artifacts)) if exact else []
        if wrong or extra:
            raise IntegrityError(
                f"Record {record_id} at {self._archive.name} does not hold the files of {self._release.name} "
                f"(missing or different: {', '.join(wrong) or 'none'}; foreign: {', '.join(extra) or 'none'})",
                "Run again; if it persists, compare the record with 'd4c status'",
            )

    def _staged_differs(self, name: str) -> IntegrityError:
        return IntegrityError(
            f"The staged file {name} differs from the ledger's record for {self._release.name}",
            f"Run 'd4c publish {self._release.dataset} --vintage {self._release.vintage}': it rebuilds the file",
        )


def _same(remote: RemoteFile, artifact: Artifact) -> bool:
    return remote.size == artifact.size and remote.md5 == artifact.md5


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
