"""The facts of a release as JSON: what is read is what was written, for every kind of release."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.published_json import dumped, loaded, loaded_files
from d4c_pipeline.metadata.records.registry import record_formats
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.errors import D4CError, DataError
from d4c_pipeline.model.release import Withdrawal
from d4c_pipeline_tests.support.published import HOSTILE_TEXT, a_published
from d4c_pipeline_tests.support.releases import RATES

KINDS = {
    "plain": a_published(),
    "a table": a_published(RATES, "2024-06"),
    "parts": a_published(parts=3),
    "among versions": a_published(previous="0.9.0", superseded_by="1.1.0", newest="2.0.0"),
    "hostile": a_published(title=Bilingual(en=HOSTILE_TEXT, fr=HOSTILE_TEXT)),
    "across 180 degrees": a_published(bounds=(170.0, -50.0, -170.0, -40.0)),
    "test": a_published(test=True),
}


def _records(published: PublishedMetadata) -> dict[str, bytes | str]:
    found: dict[str, bytes | str] = {}
    for name, form in record_formats().items():
        try:
            found[name] = form.render(published)
        except D4CError as error:
            found[name] = str(error)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_facts_survive_json_and_give_the_same_records(kind: str) -> None:
    published = KINDS[kind]
    content = dumped(published)
    again = loaded(content)
    assert again == published
    assert dumped(again) == content
    assert loaded_files(content) == published.files
    assert _records(again) == _records(published)


def test_a_withdrawal_survives_json() -> None:
    published = a_published()
    withdrawal = Withdrawal(datetime(2026, 12, 1, 4, 5, 6, tzinfo=UTC), "The boundaries were wrong")
    object.__setattr__(published, "withdrawn", withdrawal)
    assert loaded(dumped(published)).withdrawn == withdrawal


@pytest.mark.parametrize("content", ["", "[]", "{", '{"version": "one"}', '{"vintage": 3.5}', '{"nothing": 1}'])
def test_other_content_is_an_error_with_a_remedy(content: str) -> None:
    with pytest.raises((DataError, D4CError), match=r"."):
        loaded(content)
    with pytest.raises(DataError, match="facts in the catalogue can't be read"):
        loaded_files(content)
