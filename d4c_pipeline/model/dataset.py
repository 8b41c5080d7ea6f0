"""A dataset as its YAML declares it: typed and frozen, with an error that names each wrong field.

Finding and reading the YAML file belongs to `orchestration.definitions_folder`. Fetching the source, processing the
data and describing the record belong to `sources`, `processing` and `metadata`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from d4c_pipeline.model import naming
from d4c_pipeline.model.checks import Checks
from d4c_pipeline.model.credits import CONTACT, Contributor, Funding, Party
from d4c_pipeline.model.declared import (
    Bilingual,
    Declared,
    Identifier,
    VintageText,
    full_match,
)
from d4c_pipeline.model.dguid import is_well_formed_dguid
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.model.gaps import TO_FILL
from d4c_pipeline.model.languages import Language
from d4c_pipeline.model.licences import AnyLicence, Licence, licence
from d4c_pipeline.model.outputs import Outputs
from d4c_pipeline.model.processing import Processing
from d4c_pipeline.model.publication import Publication
from d4c_pipeline.model.sources import Source
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage


class BilingualKeywords(Declared):
    """Keywords in English and French."""

    en: tuple[str, ...] = ()
    fr: tuple[str, ...] = ()


class Name(Declared):
    """The naming parts of a dataset; docs/versions.md shows the resulting file names.

    A draft has the mark `model.gaps.TO_FILL` in place of a part that nobody has stated yet.
    """

    region: Annotated[str, full_match(f"{naming.REGION_PATTERN}|{TO_FILL}", "a region (ca or ca-ab)")]
    source: Annotated[str, full_match(f"{naming.PART_PATTERN}|{TO_FILL}", "a naming part")]
    dguid: str
    package: Annotated[str, full_match(rf"d4c-datapkg-[a-z0-9]+|{TO_FILL}", "a package (d4c-datapkg-...)")]
    theme: Annotated[str, full_match(naming.PART_PATTERN, "a naming part")] | None = None
    variant: Annotated[str, full_match(naming.VARIANT_PATTERN, "a variant")] | None = None

    @field_validator("dguid")
    @classmethod
    def _dguid_is_well_formed(cls, text: str) -> str:
        if text != TO_FILL and not is_well_formed_dguid(text):
            raise ValueError(f"'{text}' is not a well-formed DGUID (such as 2021A000011124 for Canada)")
        return text

    def as_dataset_name(self) -> naming.DatasetName:
        """Return the naming parts as a `DatasetName`."""
        return naming.DatasetName(self.region, self.source, self.dguid, self.package, self.theme, self.variant)


class Noticing(Declared):
    """How often the source is checked for new and changed vintages, and whether these checks run automatically.

    `enabled`: the sensors start switched on; by default an operator switches them on in the UI. `discover_hours`: the
    minimum time between two listings of the vintages. `observe_hours`: the minimum time between two checks of a
    vintage. `shrink_allowed`: the share of the last listed vintages that may be missing; a listing that lacks more is
    refused.
    """

    enabled: bool = False
    discover_hours: float = Field(default=24, gt=0)
    observe_hours: float = Field(default=6, gt=0)
    shrink_allowed: float = Field(default=0.0, ge=0, lt=1)


class Extent(Declared):
    """A box in degrees (EPSG:4326): the place of data without geometry, and the limits of any geometry.

    A `west` greater than `east` means a box across the antimeridian.
    """

    west: float = Field(ge=-180, le=180)
    south: float = Field(ge=-90, le=90)
    east: float = Field(ge=-180, le=180)
    north: float = Field(ge=-90, le=90)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        return self.west, self.south, self.east, self.north


class Dataset(Declared):
    """One product: its source, its processing and its credits.

    `vintages` is a list, or `discovered` if the source lists its vintages. `series`: with `editions` every vintage
    stays a separate product, with `rolling` a newer vintage supersedes the older vintages. `extent` is the place of
    data without geometry; any geometry must lie within it. `languages`: the languages of the data's own texts (ISO
    639-3), the main language first. The reader of the YAML sets `folder`.
    """

    id: Identifier
    name: Name
    title: Bilingual
    description: Bilingual
    license: AnyLicence
    attribution: Bilingual | None = None
    creators: tuple[Party, ...] = Field(min_length=1)
    providers: tuple[Party, ...] = ()
    contributors: tuple[Contributor, ...] = ()
    funding: tuple[Funding, ...] = ()
    languages: tuple[Language, ...] = ()
    keywords: BilingualKeywords = BilingualKeywords()
    series: Literal["editions", "rolling"] = "editions"
    vintages: tuple[VintageText, ...] | Literal["discovered"]
    extent: Extent | None = None
    source: Source
    processing: Processing
    noticing: Noticing = Noticing()
    publication: Publication = Publication()
    outputs: Outputs = Outputs()
    checks: Checks = Checks()
    folder: Path | None = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="after")
    def _vintages_make_sense(self) -> Self:
        if self.vintages == "discovered":
            if self.source.names_vintage and not self.source.lists_vintages:
                raise ValueError(
                    "vintages are 'discovered', but the source's addresses name a {vintage}: list the vintages"
                )
        elif self.source.kind == "statcan_table":
            raise ValueError("vintages: a table has that of its release, write 'discovered'")
        elif not self.vintages:
            raise ValueError("vintages: list at least one, or write 'discovered'")
        elif len(set(self.vintages)) != len(self.vintages):
            raise ValueError("vintages: one is listed twice")
        elif unknown := self.source.own_vintages - set(self.vintages):
            raise ValueError(f"source: vintage_urls name {', '.join(sorted(unknown))}, which vintages don't list")
        elif len(self.vintages) > 1 and not self.source.names_vintage:
            raise ValueError("source: several vintages need {vintage} in the addresses")
        return self

    @model_validator(mode="after")
    def _outputs_have_geometry(self) -> Self:
        if self.processing.kind == "table":
            partition = self.outputs.partition
            required = {
                "partition by spatial": partition is not None and partition.spatial,
                "tiles": self.outputs.tiles is not None,
                "thumbnail": self.outputs.thumbnail,
                "style": self.outputs.style is not None,
                "desktop flatgeobuf": "flatgeobuf" in self.outputs.desktop,
            }
            if wrong := [name for name, wanted in required.items() if wanted]:
                raise ValueError(f"outputs: {', '.join(wrong)} can't be made of a table, which has no geometry")
        return self

    @model_validator(mode="after")
    def _languages_are_listed_once(self) -> Self:
        if len(set(self.languages)) != len(self.languages):
            raise ValueError("languages: one is listed twice")
        return self

    @property
    def terms(self) -> Licence:
        """The licence: a known licence, or the declared licence."""
        return licence(self.license) if isinstance(self.license, str) else self.license.licence

    @property
    def licence_words(self) -> str:
        """The licence in one text: its id, or its title if the definition declares it in full."""
        return self.license if isinstance(self.license, str) else self.license.title.en

    @property
    def contacts(self) -> tuple[Contributor, ...]:
        """The parties that answer readers' questions about the data."""
        return tuple(party for party in self.contributors if party.role == CONTACT)

    @property
    def fixed_vintages(self) -> tuple[Vintage, ...] | None:
        """The declared vintages, oldest first; None for discovered vintages."""
        if self.vintages == "discovered":
            return None
        return tuple(sorted(Vintage.parse(text) for text in self.vintages))

    def vintage(self, text: str) -> Vintage:
        """Return the declared vintage that `text` names.

        Raises UnknownNameError for a vintage that is not declared. The ledger stores discovered vintages.
        """
        found = Vintage.parse(text)
        fixed = self.fixed_vintages
        if fixed is not None and found not in fixed:
            raise UnknownNameError(
                f"Dataset {self.id} has no vintage {found}", f"Choose one of {', '.join(map(str, fixed))}"
            )
        return found

    def release_name(self, vintage: Vintage, version: Version) -> naming.ReleaseName:
        """Return the name of a release of this dataset."""
        return naming.ReleaseName(self.name.as_dataset_name(), vintage, version)
