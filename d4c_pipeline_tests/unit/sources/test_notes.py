"""Notes of an unfinished fetch: what the next process reads of them, whatever the one before was in the middle of."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.sources.fetch.notes import Notes

FILE = ".fetch.jsonl"


def test_the_last_note_of_a_name_counts_and_outlives_the_process(tmp_path: Path) -> None:
    with Notes(tmp_path) as notes:
        notes.put("a b.zip", {"total": 1})
        notes.put("é.csv", {"total": 2})
        notes.put("a b.zip", {"total": 3})
        notes.drop("é.csv")
    with Notes(tmp_path) as notes:
        assert (notes.get("a b.zip"), notes.get("é.csv"), notes.get("other")) == ({"total": 3}, None, None)


def test_a_line_that_was_cut_off_is_no_note_and_spoils_none(tmp_path: Path) -> None:
    with Notes(tmp_path) as notes:
        notes.put("a", {"total": 1})
        notes.put("b", {"total": 2})
    path = tmp_path / FILE
    path.write_bytes(path.read_bytes()[:-5])
    with Notes(tmp_path) as notes:
        assert (notes.get("a"), notes.get("b")) == ({"total": 1}, None)
        notes.put("c", {"total": 3})
    with Notes(tmp_path) as notes:
        assert (notes.get("a"), notes.get("b"), notes.get("c")) == ({"total": 1}, None, {"total": 3})


@pytest.mark.parametrize("line", [b"[]", b"1", b'{"name": 1, "note": {}}', b"\xff\xfe", b'{"note": {"total": 9}}'])
def test_what_is_no_note_is_passed_over(tmp_path: Path, line: bytes) -> None:
    (tmp_path / FILE).write_bytes(b'{"name": "a", "note": {"total": 1}}\n' + line + b"\n")
    with Notes(tmp_path) as notes:
        assert notes.get("a") == {"total": 1}


def test_with_the_last_note_its_file_goes_and_a_folder_without_notes_gets_none(tmp_path: Path) -> None:
    with Notes(tmp_path) as notes:
        notes.drop("never noted")
        assert list(tmp_path.iterdir()) == []
        notes.put("a", {})
        notes.drop("a")
        assert list(tmp_path.iterdir()) == []
        notes.put("b", {"total": 1})
    with Notes(tmp_path) as notes:
        assert notes.get("b") == {"total": 1}


def test_a_folder_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    with Notes(tmp_path / "gone") as notes, pytest.raises(StorageError, match="gone"):
        notes.put("a", {})
