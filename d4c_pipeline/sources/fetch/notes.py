"""The notes of an unfinished fetch about the files in its folder, for the process that resumes it.

All notes are in one file of lines: a note file for each of thousands of files would cost more than the fetch. The
content of a note belongs to `part.py`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from d4c_pipeline.files.disk import storage_errors

_NAME = ".fetch.jsonl"


class Notes:
    """The notes of a folder by file name: lines of JSON, the last line of a name counts. Thread-safe.

    Notes are not synced: a note may be lost after a power cut, so each note states its boot. Truncated lines are
    ignored.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _NAME
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._notes: dict[str, Mapping[str, Any]] = {}
        for line in self._lines():
            match _parsed(line):
                case {"name": str(name), "note": {**note}}:
                    self._notes[name] = note
                case {"name": str(name)}:
                    self._notes.pop(name, None)
                case _:
                    continue

    def __enter__(self) -> Notes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def get(self, name: str) -> Mapping[str, Any] | None:
        """Return the note of a file."""
        return self._notes.get(name)

    def put(self, name: str, note: Mapping[str, Any]) -> None:
        """Write the note of a file. Raises StorageError."""
        with self._lock:
            self._append({"name": name, "note": note})
            self._notes[name] = note

    def drop(self, name: str) -> None:
        """Delete the note of a file, and the file of notes with its last note. Raises StorageError."""
        with self._lock:
            if self._notes.pop(name, None) is None:
                return
            self._append({"name": name})
            if not self._notes:
                with storage_errors(f"write in {self._folder}"):
                    self._path.unlink(missing_ok=True)
                self.__exit__(None, None, None)

    def _append(self, line: Mapping[str, Any]) -> None:
        with storage_errors(f"write in {self._folder}"):
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
                os.write(self._descriptor, b"\n")  # an earlier process may have been killed in the middle of a line
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def _lines(self) -> list[bytes]:
        with storage_errors(f"write in {self._folder}"):
            return self._path.read_bytes().splitlines() if self._path.exists() else []


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
