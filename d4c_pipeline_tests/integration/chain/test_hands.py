"""Lost and older ledgers, second homes and people at the archive: nothing is overwritten that we did not put there."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline_tests.fakes.hands import CASES, try_hand
from d4c_pipeline_tests.fakes.invenio import TOKEN, FakeInvenio


@pytest.mark.parametrize("name", CASES)
def test_nothing_of_anybody_is_overwritten(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_ARCHIVE_TOKEN", TOKEN)
    with FakeInvenio() as fake:
        assert try_hand(name, tmp_path, fake) is None
