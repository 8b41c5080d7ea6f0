"""Every fault of an origin, for every source that fetches over HTTP: the right bytes, or an explained error."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline_tests.support.source_matrix import Case, cells, run


@pytest.mark.parametrize(("case", "source"), cells(), ids=lambda one: one if isinstance(one, str) else one.name)
def test_a_fault_is_survived_or_explained(case: Case, source: str, tmp_path: Path) -> None:
    outcome = run(case, source, tmp_path / "into")
    assert outcome.survived, outcome.words


def test_the_matrix_is_as_large_as_it_says() -> None:
    assert len(cells()) == 119
