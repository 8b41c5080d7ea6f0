"""Published releases with their metadata, plain and hostile, for the tests of records, feeds and catalogues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from d4c_pipeline.metadata.mapping import published_metadata
from d4c_pipeline.metadata.published import Place, PublishedMetadata, VersionLine, VersionLink
from d4c_pipeline.metadata.site import Site
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.parts import Part, file_name
from d4c_pipeline.model.release import Artifact, ArtifactRole, Column, DepositState, PublishedRelease
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline_tests.support.releases import PROVINCES, RATES, STORE, a_deposit, a_release, torrents

PUBLISHED_AT = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
SITE = Site(base_url="https://data.example.ca", contact="data@example.ca", code_url="https://code.example.ca/d4c")
HOSTILE_TEXT = (
    "</script><script>alert(1)</script> <b>bold</b> \"quoted\" 'single' & ampersand \\ back {brace} "
    "@type ]]> \u202eright to left\u202c \u2066isolate\u2069 \x07bell \ud7ff 100 % é\u2028line ,;: # -->"
)


def a_published(
    dataset: Dataset = PROVINCES,
    vintage: str = "2021",
    version: str = "1.0.0",
    *,
    previous: str | None = None,
    superseded_by: str | None = None,
    newest: str | None = None,
    test: bool = False,
    site: Site = SITE,
    parts: int = 0,
    columns: Sequence[Column] | None = None,
    bounds: tuple[float, float, float, float] | None = (-141.02, 41.68, -52.62, 83.14),
    place: Place | None = None,
    mirrors: Mapping[str, Sequence[str]] | None = None,
    day: int = 0,
    **changes: Any,
) -> PublishedMetadata:
    """The metadata of a published release.

    `previous`, `superseded_by` and `newest`: versions of the same vintage. `parts`: the data lies in so many files.
    `day`: days after 2026-11-22 on which it was published. `changes`: fields of the dataset's declaration.
    """
    dataset = declared_with(dataset, **changes)
    name = str(dataset.release_name(Vintage.parse(vintage), Version.read(version)))
    facts: dict[str, Any] = dict(vars(a_release(_base(dataset), vintage, version, bounds=bounds)))
    renamed = tuple(replace(file, name=file.name.replace(facts["name"], name)) for file in facts["artifacts"])
    facts |= {"dataset": dataset.id, "name": name, "artifacts": renamed}
    release = PublishedRelease(**facts, published_at=PUBLISHED_AT + timedelta(days=day))
    if columns is not None:
        release = replace(release, summary=replace(release.summary, columns=tuple(columns)))
    if parts:
        release = in_parts(release, parts)
    deposit = replace(a_deposit(release, test=test), state=DepositState.PUBLISHED)
    if not test:
        deposit = replace(
            deposit,
            doi=deposit.doi and deposit.doi.replace("10.5072", "10.5281"),
            concept_doi=deposit.concept_doi and deposit.concept_doi.replace("10.5072", "10.5281"),
        )

    def link(text: str) -> VersionLink:
        other = a_release(_base(dataset), vintage, text)
        doi = None if test else f"10.5281/d4c.{vintage}.{text}"
        name = str(dataset.release_name(other.vintage, other.version))
        return VersionLink(dataset=dataset.id, vintage=other.vintage, version=other.version, name=name, doi=doi)

    line = VersionLine(
        newest=link(newest or superseded_by or version),
        previous=link(previous) if previous else None,
        superseded_by=link(superseded_by) if superseded_by else None,
    )
    return published_metadata(
        dataset, release, deposit, site, line=line, torrents=torrents(release), mirrors=mirrors, place=place
    )


def declared_with(dataset: Dataset, **changes: Any) -> Dataset:
    """The declaration with other fields, without the checks that an operator's YAML passes."""
    return dataset.model_copy(update=changes)


def in_parts(release: PublishedRelease, count: int) -> PublishedRelease:
    """The release with its data in `count` files of equal size, each with its torrent."""
    data, torrent = (release.artifact(role) for role in (ArtifactRole.DATA, ArtifactRole.TORRENT))
    assert data is not None
    assert torrent is not None
    names = [f"part-{number:02}" for number in range(1, count + 1)]
    made: list[Artifact] = [file for file in release.artifacts if file not in (data, torrent)]
    for number, part in enumerate(names):
        name = file_name(release.name, part)
        made += [
            replace(data, name=name, sha256=f"{number:064x}", md5=f"{number:032x}"),
            replace(torrent, name=f"{name}.torrent", sha256=f"{number + 1000:064x}"),
        ]
    listed = tuple(Part(name, 7, release.summary.bounds) for name in names)
    return replace(
        release, artifacts=tuple(made), summary=replace(release.summary, parts=listed, partition="by number")
    )


def many_columns(count: int) -> tuple[Column, ...]:
    """So many columns, some of whose names and meanings are hostile."""
    named = (Column("geometry", "binary"), Column("bbox", "struct"), Column('q"uo`te|', "string", None, HOSTILE_TEXT))
    return (*named, *(Column(f"c{number}", "double", None, f"Value {number}") for number in range(count - len(named))))


def hostile() -> dict[str, PublishedMetadata]:
    """Releases that a format must hold or refuse with a sentence, by what is hostile about them."""
    text = PROVINCES.title.model_copy(update={"en": HOSTILE_TEXT, "fr": HOSTILE_TEXT})
    return {
        "texts": a_published(title=text, description=text, attribution=text),
        "long": a_published(description=text.model_copy(update={"en": "word " * 2_000, "fr": "é" * 10_000})),
        "short": a_published(description=text.model_copy(update={"en": "Digital boundaries.", "fr": "Limites."})),
        "french missing": a_published(
            title=text.model_copy(update={"en": "Provinces", "fr": "Provinces"}),
            description=text.model_copy(update={"en": "Boundaries.", "fr": "Boundaries."}),
        ),
        "columns": a_published(columns=many_columns(2_000)),
        "parts": a_published(parts=45),
        "no place": a_published(RATES, "2025-06-04"),
        "across 180": a_published(bounds=(170.0, -50.0, -170.0, -30.0)),
        "no public store": a_published(site=replace(SITE, base_url=None), test=True),
        "test DOI": a_published(test=True),
        "superseded": a_published(previous="0.9.0", superseded_by="1.0.1", newest="1.1.0"),
        "mirrors": a_published(mirrors={f"{a_published().name}.parquet": [f"{STORE}/mirror/data.parquet"]}),
    }


def _base(dataset: Dataset) -> Dataset:
    """The sample whose columns the release has."""
    return dataset if dataset.id in (PROVINCES.id, RATES.id) else PROVINCES
