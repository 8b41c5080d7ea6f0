"""How releases of a dataset are published, as its YAML declares it under `publication`.

Applying the declaration to a release belongs to `chain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, field_validator

from d4c_pipeline.model.declared import Bilingual, Declared, VintageText, WebUrl, full_match
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.frequency import Frequency
from d4c_pipeline.model.stores import PRIMARY, StoreName
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage


def _version_text(text: str) -> str:
    try:
        version = Version.read(text)
    except D4CError as error:
        raise ValueError(str(error)) from error
    if version.prerelease or version.build:
        raise ValueError(f"'{text}' carries a tag: the stage adds it")
    return str(version)


def _how_many(value: object) -> object:
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"'{value}' is neither a number of releases from 1 on nor 'all'")


_MOST_NOTICE = 730  # days: a longer notice is a typing error

Owner = Annotated[
    str, full_match(r"team:[A-Za-z0-9_ .-]+|[^@\s]+@[^@\s]+\.[^@\s]+", "an address (ana@example.ca) or team:<name>")
]
ConceptDoi = Annotated[str, full_match(r"10\.\d{4,9}/\S+", "a DOI (10.5281/zenodo.123, without https://doi.org/)")]
HowMany = Annotated[int | Literal["all"], BeforeValidator(_how_many)]


class ReviewThresholds(Declared):
    """How far a release may differ from the release before it and still be published without a review.

    `rows`, `size`: shares of its rows and of the bytes of its data (0.05 is 5 %). `bounds`: the allowed move of a side,
    as a share of the longer side. `schema`: whether columns may be added, removed or retyped. `warnings`: the number of
    checks that may warn.
    """

    rows: float = Field(default=0.05, ge=0)
    size: float = Field(default=0.25, ge=0)
    bounds: float = Field(default=0.01, ge=0)
    schema_: Literal["same", "any"] = Field(default="same", alias="schema")
    warnings: int = Field(default=0, ge=0)

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class Reuse(Declared):
    """A place where the data are used: an application, an article, a map."""

    title: Bilingual
    url: WebUrl


class Publication(Declared):
    """How releases of a dataset are published. `stage` is the pre-release tag of its versions until it is stable.

    `policy`: `automatic`, `review` (every release waits for a person), or `thresholds` (a release beyond the thresholds
    waits). `first_release`, `major`: whether the first release and every MAJOR wait for a person in any case; by
    default they do, except with the local archive, whose test DOIs have no effect. `notice_days`: days between the
    announcement of a MAJOR in the dataset's feeds and its publication; by default a MAJOR is not announced. `copies`:
    the number of copies of each release, including the archive; by default the deployment's setting. `concept_doi`: the
    DOI of all versions of a record that the archive has already, which the first release joins as a new version; for
    several vintages, a DOI for each. `retention`: mirror -> the number of newest releases that it keeps, or `all` (the
    default); see `keeps`. `frequency`: how often the source brings a new vintage, for records and the freshness on the
    portal. `reuses`: where the data are used, for the portal. `owners`: the people and teams who answer for the
    dataset, shown in Dagster's UI.
    """

    policy: Literal["automatic", "review", "thresholds"] = "automatic"
    first_release: Literal["automatic", "review"] | None = None
    major: Literal["automatic", "review"] | None = None
    notice_days: Annotated[int, Field(ge=1, le=_MOST_NOTICE)] | None = None
    thresholds: ReviewThresholds = ReviewThresholds()
    stage: Literal["alpha", "beta", "rc", "stable"] = "beta"
    initial_version: Annotated[str, AfterValidator(_version_text)] = "0.1.0"
    copies: Annotated[int, Field(ge=1)] | None = None
    concept_doi: ConceptDoi | Mapping[VintageText, ConceptDoi] | None = None
    retention: Mapping[StoreName, HowMany] = Field(default_factory=dict[str, HowMany])
    frequency: Frequency | None = None
    reuses: tuple[Reuse, ...] = ()
    owners: tuple[Owner, ...] = ()

    @field_validator("retention", mode="after")
    @classmethod
    def _primary_keeps_all(cls, retention: Mapping[str, int | str]) -> Mapping[str, int | str]:
        if PRIMARY in retention:
            raise ValueError("the primary store keeps every release: name mirrors")
        return retention

    def concept_of(self, vintage: Vintage) -> str | None:
        """Return the concept DOI that releases of a vintage join, None if they begin a new record."""
        if isinstance(self.concept_doi, Mapping):
            return self.concept_doi.get(str(vintage))
        return self.concept_doi

    def keeps(self, mirror: str) -> int | None:
        """Return how many releases of a product `mirror` keeps, None for all of them.

        A product has its own latest address: each vintage of an `editions` series is a product, a `rolling` series is
        one product.
        """
        wanted = self.retention.get(mirror, "all")
        return None if wanted == "all" else wanted
