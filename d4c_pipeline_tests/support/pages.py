"""Facts of releases as the portal shows them, plain and hostile, and its pages as parsed HTML."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lxml import html

from d4c_pipeline.ledger.judgements import CheckResult
from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.portal.facts import ColumnFacts, CopyFacts, DatasetFacts, ReleaseFacts, SiteFacts
from d4c_pipeline.portal.pages import Pages

STORE = "https://data.example.ca"
SITE = SiteFacts(publisher="Data for Canada", url="https://portal.example.ca/", store_urls=(STORE,), contact="a@b.ca")
DAY = datetime(2026, 11, 25, 4, 5, 6, tzinfo=UTC)


def some_facts(published: PublishedMetadata, **changes: Any) -> ReleaseFacts:
    """The facts of a release whose columns have values; `changes` replace fields."""
    columns = {
        column.name: ColumnFacts(nulls=1, distinct=30, least=1, greatest=20, histogram=(1, 0, 4, *(9,) * 17))
        if column.type in ("int64", "int32", "double")
        else ColumnFacts(nulls=0, distinct=3, least="a", greatest="c", top=(("<b>a</b>", 9), ("c", 1)))
        for column in published.columns
    }
    data = published.data_files[0]
    facts: dict[str, Any] = {
        "published": published,
        "versions": (published,),
        "region": "ca",
        "package": "d4c-datapkg-foundation",
        "checks": (CheckResult("geometry_valid", "pass", {"actual": "<i>0</i> invalid"}, DAY),),
        "copies": (CopyFacts(place="primary", kind="primary", files=9, intact=True, verified_at=DAY),),
        "natives": (NativeFile("a.zip", "https://example.ca/a.zip", "ab" * 32, 1234, None, None, None),),
        "commit": "0123456789abcdef",
        "libraries": {"duckdb": "1.5.5", "gdal": "3.12.4"},
        "columns": columns,
        "latest": {data.name: f"{STORE}/processed/latest.parquet"},
        "looked_at": DAY,
    }
    return ReleaseFacts(**{**facts, **changes})


def built_bundle(folder: Path) -> Bundle:
    """A bundle with every name that templates ask for, without content."""
    named = (
        "site.css theme.js icon.svg site.js search.js search-worker.js datasets.js release.js serif.woff2 canada.svg"
    )
    more = "base.pmtiles maplibre-gl.css maplibre-gl-worker.js sql-worker.js"
    names = {name: name.replace(".", "-01234567.") for name in f"{named} {more}".split()}
    for name in names.values():
        (folder / name).write_bytes(b"")
    return Bundle(folder, names)


def release_pages(
    facts: ReleaseFacts, folder: Path, about: DatasetFacts | None = None
) -> Iterator[tuple[str, Any, str]]:
    """The pages of a release: file, parsed document, text."""
    for file, content in Pages(SITE, built_bundle(folder)).release(facts, about):
        yield file, html.document_fromstring(content), content.decode()
