"""A dataset as its YAML declares it: typed, frozen, every wrong field refused by name.

The YAML file itself is found and read by `orchestration.definitions_folder`; how the declared source is fetched, the
data processed and the record described belongs to the rooms of those names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from d4c_pipeline.model import naming
from d4c_pipeline.model.dguid import is_well_formed_dguid
from d4c_pipeline.model.errors import D4CError, UnknownNameError
from d4c_pipeline.model.licences import licence
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage


def _full_match(pattern: str, meaning: str) -> AfterValidator:
    def check(text: str) -> str:
        if re.fullmatch(pattern, text, re.ASCII) is None:
            raise ValueError(f"'{text}' is not {meaning}")
        return text

    return AfterValidator(check)


def _text_of_number(value: object) -> object:
    # YAML reads an unquoted 2021 as a number; a vintage written so is still that vintage.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _vintage_text(text: str) -> str:
    try:
        return str(Vintage.parse(text))
    except D4CError as error:
        raise ValueError(str(error)) from error


def _licence_id(text: str) -> str:
    try:
        return licence(text).id
    except D4CError as error:
        raise ValueError(str(error)) from error


def _version_text(text: str) -> str:
    try:
        version = Version.read(text)
    except D4CError as error:
        raise ValueError(str(error)) from error
    if version.prerelease or version.build:
        raise ValueError(f"'{text}' carries a tag: the stage adds it")
    return str(version)


VintageText = Annotated[str, BeforeValidator(_text_of_number), AfterValidator(_vintage_text)]
Identifier = Annotated[
    str, _full_match(r"[a-z][a-z0-9_]*", "an identifier (lower-case letters, digits and underscores)")
]
HttpUrl = Annotated[str, _full_match(r"https?://[^\s]+", "an http(s) address")]


class Declared(BaseModel):
    """The base of everything that is declared in YAML: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Bilingual(Declared):
    """A text in English and French."""

    en: str = Field(min_length=1)
    fr: str = Field(min_length=1)


class BilingualKeywords(Declared):
    """Keywords in English and French."""

    en: tuple[str, ...] = ()
    fr: tuple[str, ...] = ()


class Name(Declared):
    """The naming parts of a dataset, see docs/versions.md for the file names they make."""

    region: Annotated[str, _full_match(naming.REGION_PATTERN, "a region (ca or ca-ab)")]
    source: Annotated[str, _full_match(naming.PART_PATTERN, "a naming part")]
    dguid: str
    package: Annotated[str, _full_match(r"d4c-datapkg-[a-z0-9]+", "a package (d4c-datapkg-...)")]
    theme: Annotated[str, _full_match(naming.PART_PATTERN, "a naming part")] | None = None
    variant: Annotated[str, _full_match(naming.VARIANT_PATTERN, "a variant")] | None = None

    @field_validator("dguid")
    @classmethod
    def _dguid_is_well_formed(cls, text: str) -> str:
        if not is_well_formed_dguid(text):
            raise ValueError(f"'{text}' is not a well-formed DGUID (such as 2021A000011124 for Canada)")
        return text

    def as_dataset_name(self) -> naming.DatasetName:
        """Return the naming parts as the writer of names wants them."""
        return naming.DatasetName(self.region, self.source, self.dguid, self.package, self.theme, self.variant)


class Party(Declared):
    """A person or organisation that made or provides the data. `ror` is the id or address at ror.org."""

    name: str = Field(min_length=1)
    ror: Annotated[str, _full_match(r"(https://ror\.org/)?0[a-z0-9]{8}", "a ROR id")] | None = None
    orcid: Annotated[str, _full_match(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", "an ORCID")] | None = None
    url: HttpUrl | None = None


class HttpSource(Declared):
    """Native files behind HTTP(S) addresses.

    `urls` are templates: `{vintage}` is the vintage, `{vintage:yy}`, `{vintage:yyyy-mm}` and so on are parts of it.
    `vintage_urls` are the addresses of those vintages that lie elsewhere than the templates say.
    """

    kind: Literal["http"]
    urls: tuple[HttpUrl, ...] = Field(min_length=1)
    vintage_urls: dict[VintageText, tuple[HttpUrl, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    homepage: HttpUrl | None = None

    @field_validator("urls")
    @classmethod
    def _templates_format(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            try:
                url.format(vintage=Vintage.parse("2021-01-01"))
            except (KeyError, IndexError, ValueError, AttributeError) as error:
                raise ValueError(f"'{url}' is not a template over {{vintage}}: {error}") from error
        return urls

    def addresses(self, vintage: Vintage) -> tuple[str, ...]:
        """Return the addresses of one vintage's native files."""
        return self.vintage_urls.get(str(vintage)) or tuple(url.format(vintage=vintage) for url in self.urls)

    @property
    def names_vintage(self) -> bool:
        """Whether an address differs by vintage; if not, the source only ever serves its current one."""
        return bool(self.vintage_urls) or any("{vintage" in url for url in self.urls)


Source = HttpSource


class Column(Declared):
    """What is declared of an output column: its name at the source, its type, what it means."""

    source: str | None = None
    type: Literal["string", "integer", "float", "boolean", "date", "timestamp"] | None = None
    description: Bilingual | None = None


class _Processing(Declared):
    key: tuple[str, ...] = ()
    sql: str | None = None
    member: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    header: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()
    columns: dict[str, Column] = Field(default_factory=dict)

    @field_validator("sql")
    @classmethod
    def _sql_is_beside(cls, name: str | None) -> str | None:
        if name is not None and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise ValueError("name a file in the dataset's own folder")
        return name


class VectorProcessing(_Processing):
    """Features with geometry, to GeoParquet.

    `layer`: needed when a file has several. `crs`: of the source where it states none (or a wrong one, with
    `override_crs`). `longitude`/`latitude`: columns of a CSV. `key`: output columns
    that identify a row. `sql`: a file beside the YAML with DuckDB SQL over the table `source`. `member`: glob
    over the paths in an archive. `encoding`, `delimiter`, `header`: of a text file, where they can't be detected
    (`header` names the columns of a file that has no header line). `nulls`: texts that mean "no value".
    """

    kind: Literal["vector"]
    layer: str | None = None
    crs: str | None = None
    override_crs: bool = False
    longitude: str | None = None
    latitude: str | None = None

    @model_validator(mode="after")
    def _coordinates_come_in_pairs(self) -> Self:
        if (self.longitude is None) != (self.latitude is None):
            raise ValueError("declare both longitude and latitude, or neither")
        if self.override_crs and self.crs is None:
            raise ValueError("override_crs wants crs")
        return self


class TableProcessing(_Processing):
    """Rows without geometry, to Parquet sorted by `key`."""

    kind: Literal["table"]


Processing = Annotated[VectorProcessing | TableProcessing, Field(discriminator="kind")]


class Publication(Declared):
    """How releases of a dataset are published. `stage` is the pre-release tag of its versions until it is stable."""

    policy: Literal["automatic"] = "automatic"
    stage: Literal["alpha", "beta", "rc", "stable"] = "beta"
    initial_version: Annotated[str, AfterValidator(_version_text)] = "0.1.0"


class Extent(Declared):
    """Where data without geometry lies, in degrees (EPSG:4326)."""

    west: float = Field(ge=-180, le=180)
    south: float = Field(ge=-90, le=90)
    east: float = Field(ge=-180, le=180)
    north: float = Field(ge=-90, le=90)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        return self.west, self.south, self.east, self.north


class Dataset(Declared):
    """One product: where it comes from, how it is processed, who is credited.

    `vintages` is a list, or `discovered` where the source tells which exist. `series`: with `editions` every vintage
    stays a product of its own, with `rolling` a newer vintage supersedes the older ones. `extent` says where
    the data lies when it has no geometry. `folder` is set by whoever read the YAML.
    """

    id: Identifier
    name: Name
    title: Bilingual
    description: Bilingual
    license: Annotated[str, AfterValidator(_licence_id)]
    attribution: Bilingual | None = None
    creators: tuple[Party, ...] = Field(min_length=1)
    providers: tuple[Party, ...] = ()
    keywords: BilingualKeywords = BilingualKeywords()
    series: Literal["editions", "rolling"] = "editions"
    vintages: tuple[VintageText, ...] | Literal["discovered"]
    extent: Extent | None = None
    source: Source
    processing: Processing
    publication: Publication = Publication()
    folder: Path | None = Field(default=None, exclude=True, repr=False)

    @model_validator(mode="after")
    def _vintages_make_sense(self) -> Self:
        if self.vintages == "discovered":
            if self.source.names_vintage:
                raise ValueError(
                    "vintages are 'discovered', but the source's addresses name a {vintage}: list the vintages"
                )
        elif not self.vintages:
            raise ValueError("vintages: list at least one, or write 'discovered'")
        elif len(set(self.vintages)) != len(self.vintages):
            raise ValueError("vintages: one is listed twice")
        elif unknown := set(self.source.vintage_urls) - set(self.vintages):
            raise ValueError(f"source: vintage_urls name {', '.join(sorted(unknown))}, which vintages don't list")
        elif len(self.vintages) > 1 and not self.source.names_vintage:
            raise ValueError("source: several vintages need {vintage} in the addresses")
        return self

    @property
    def fixed_vintages(self) -> tuple[Vintage, ...] | None:
        """The declared vintages, oldest first; None when they are discovered."""
        if self.vintages == "discovered":
            return None
        return tuple(sorted(Vintage.parse(text) for text in self.vintages))

    def vintage(self, text: str) -> Vintage:
        """Return the declared vintage that `text` names.

        Raises UnknownNameError for one that is not declared; of discovered vintages the ledger knows more.
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
