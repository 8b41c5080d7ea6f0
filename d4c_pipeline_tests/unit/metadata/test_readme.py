"""The README of a release: both languages, everything a reader of the bare record wants, the same bytes each time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from d4c_pipeline.metadata.readme import readme
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.release import Artifact, ArtifactRole, Column
from d4c_pipeline_tests.support.releases import PROVINCES, a_deposit, a_release, torrents

DATASET = PROVINCES
RELEASE = a_release(PROVINCES, "2021", "1.0.0")
DEPOSIT, TORRENTS = a_deposit(RELEASE), torrents(RELEASE)

FILES = (
    Artifact("places.parquet", ArtifactRole.DATA, 1234, "m", "s", "application/vnd.apache.parquet"),
    Artifact("code.zip", ArtifactRole.CODE, 99, "m", "s", "application/zip"),
    Artifact("checksums.sha256", ArtifactRole.CHECKSUMS, 7, "m", "s", "text/plain"),
    Artifact("README.md", ArtifactRole.README, 3, "m", "s", "text/markdown"),
)
COLUMNS = (
    Column("name", "string", None, "Name of the place", "Nom du lieu"),
    Column("kind", "string", None, "town | village\nor hamlet", None),
)


def made(**changes: object) -> str:
    summary = replace(RELEASE.summary, columns=COLUMNS, geometry_types=("Point",))
    release = replace(
        RELEASE, summary=summary, artifacts=FILES, planned_at=datetime(2026, 11, 1, tzinfo=UTC), **changes
    )
    return readme(
        DATASET,
        release,
        DEPOSIT,
        TORRENTS,
        contact="data@example.org",
        sources=["https://example.org/a.zip"],
    ).decode()


def test_it_says_everything_in_both_languages() -> None:
    english, _, french = made().partition("\n---\n")
    for text, title, description, column, cite, contact in (
        (english, DATASET.title.en, DATASET.description.en, "Name of the place", "How to cite it", "## Contact"),
        (french, DATASET.title.fr, DATASET.description.fr, "Nom du lieu", "Comment les citer", "## Contact"),
    ):
        assert f"# {title}\n" in text
        assert description.strip() in text
        assert f"| `name` | string | {column} |" in text
        assert f"## {cite}\n" in text
        assert str(DEPOSIT.doi) in text
        assert all(torrent.info_hash in text for torrent in TORRENTS.values())
        assert contact in text
        assert "Data for Canada: data@example.org" in text
        assert 'geopandas.read_parquet("places.parquet")' in text
        assert "duckdb -c \"SELECT * FROM 'places.parquet' LIMIT 10\"" in text
        assert "sha256sum --check --ignore-missing checksums.sha256" in text
        assert "- <https://example.org/a.zip>" in text
        assert "| `places.parquet` | 1234 |" in text
        assert "README.md" not in text, "it can't say its own size"


def test_a_meaning_stays_in_its_cell() -> None:
    assert "| `kind` | string | town \\| village or hamlet |" in made()


def test_braces_in_what_is_declared_stay() -> None:
    odd = DATASET.model_copy(update={"title": Bilingual(en="A {set}", fr="Un {ensemble}")})
    text = readme(odd, replace(RELEASE, artifacts=FILES), DEPOSIT, {}).decode()
    assert "# A {set}\n" in text
    assert "# Un {ensemble}\n" in text


def test_the_same_release_gives_the_same_bytes() -> None:
    assert made() == made()


def test_without_a_doi_there_is_none() -> None:
    with pytest.raises(PermanentError, match="has no DOI yet"):
        readme(DATASET, replace(RELEASE, artifacts=FILES), replace(DEPOSIT, doi=None), {})
