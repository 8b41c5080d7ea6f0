"""How complete a declaration is: the fields that standards of metadata ask for, and the sentence that fills each gap.

A record can be made without these fields; readers find and judge a dataset by them. Marks of a draft, which stop a
publication, belong to `gaps`.
Sources: ISO 19115 and HNAP (mandatory elements), DCAT-US 1.1 (required fields), DCAT-AP 3 (recommended properties),
DataCite 4.6 (recommended properties), GCMD DIF 10 (required elements).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.gaps import gaps_of


@dataclass(frozen=True)
class Wanted:
    """A field: its path in the YAML, the record formats that ask for it, and the sentence that fills it."""

    field: str
    formats: tuple[str, ...]
    sentence: str
    is_filled: Callable[[Dataset], bool]


@dataclass(frozen=True)
class Completeness:
    """The share of wanted fields that are filled (0 to 1, two decimals), and those that are not, in their order."""

    score: float
    missing: tuple[Wanted, ...]

    @property
    def words(self) -> str:
        """The score with the missing fields: `82 %, without contributors, publication.frequency`."""
        without = f", without {', '.join(wanted.field for wanted in self.missing)}" if self.missing else ""
        return f"{self.score * 100:.0f} %{without}"


def _has_described_columns(dataset: Dataset) -> bool:
    processing = dataset.processing
    if processing.kind == "table" and (processing.wds is not None or processing.census is not None):
        return True  # the platform describes the columns of these layouts
    columns = processing.columns.values()
    return bool(columns) and all(column.description is not None for column in columns)


WANTED: tuple[Wanted, ...] = (
    Wanted(
        "description",
        ("datacite", "dcat", "iso19139"),
        "Say in both languages what the data hold, of which area and time: at least 60 characters each",
        lambda dataset: min(len(dataset.description.en), len(dataset.description.fr)) >= 60,
    ),
    Wanted(
        "keywords",
        ("dcat", "dcat_us", "dif", "iso19139"),
        "Write keywords.en and keywords.fr: three words or more that readers search for",
        lambda dataset: min(len(dataset.keywords.en), len(dataset.keywords.fr)) >= 3,
    ),
    Wanted(
        "languages",
        ("datacite", "dcat", "iso19139"),
        "Write languages: the languages of the data as ISO 639-3, such as [eng, fra]",
        lambda dataset: bool(dataset.languages),
    ),
    Wanted(
        "contributors",
        ("dcat_us", "iso19139"),
        "Add a contributor with role contactperson and the e-mail address of an office that answers questions",
        lambda dataset: any(party.email for party in dataset.contacts),
    ),
    Wanted(
        "attribution",
        ("dcat", "iso19139"),
        "Write attribution.en and attribution.fr: the credit line that the licence requires",
        lambda dataset: dataset.attribution is not None or dataset.license == "cc0-1.0",
    ),
    Wanted(
        "creators",
        ("datacite", "croissant"),
        "Give each creator its ror (organisation), orcid (person) or url",
        lambda dataset: all(party.ror or party.orcid or party.url for party in dataset.creators),
    ),
    Wanted(
        "publication.frequency",
        ("dcat", "dcat_us", "iso19139"),
        "Write publication.frequency: how often the source brings a new vintage, such as P1M, P1Y or not_planned",
        lambda dataset: dataset.publication.frequency is not None,
    ),
    Wanted(
        "source.homepage",
        ("dcat", "dcat_us"),
        "Write source.homepage: the publisher's page about the data",
        lambda dataset: dataset.source.homepage is not None,
    ),
    Wanted(
        "extent",
        ("datacite", "dif", "iso19139"),
        "Write extent: the box of the area that the table is about",
        lambda dataset: dataset.processing.kind == "vector" or dataset.extent is not None,
    ),
    Wanted(
        "processing.key",
        ("croissant",),
        "Write processing.key: the columns that identify a row, so that changes between vintages are told row by row",
        lambda dataset: bool(dataset.processing.key),
    ),
    Wanted(
        "processing.columns",
        ("croissant", "fgdc", "iso19139"),
        "Describe the columns: processing.columns.NAME.description with en and fr",
        _has_described_columns,
    ),
)
"""All wanted fields, in the order in which they are shown. `formats`: names of `d4c catalogue export`."""


def completeness_of(dataset: Dataset) -> Completeness:
    """Return how complete a declaration is. A marked field is not filled."""
    marked = {gap.field for gap in gaps_of(dataset)}
    missing = tuple(
        wanted
        for wanted in WANTED
        if not wanted.is_filled(dataset) or any(field.startswith(wanted.field) for field in marked)
    )
    return Completeness(round(1 - len(missing) / len(WANTED), 2), missing)
