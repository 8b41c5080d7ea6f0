"""A dataset as its YAML declares it: typed, frozen, every wrong field refused by name.

The YAML file itself is found and read by `orchestration.definitions_folder`; how the declared source is fetched, the
data processed and the record described belongs to the rooms of those names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from d4c_pipeline.model import naming
from d4c_pipeline.model.declared import (
    Bilingual,
    Declared,
    HttpUrl,
    Identifier,
    VintageText,
    full_match,
    text_of_number,
)
from d4c_pipeline.model.dguid import is_well_formed_dguid
from d4c_pipeline.model.errors import D4CError, UnknownNameError
from d4c_pipeline.model.licences import licence
from d4c_pipeline.model.sources import Source
from d4c_pipeline.model.stores import PRIMARY, StoreName
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage


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


def _how_many(value: object) -> object:
    if value == "all" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError(f"'{value}' is neither a number of releases from 1 on nor 'all'")


HowMany = Annotated[int | Literal["all"], BeforeValidator(_how_many)]


class BilingualKeywords(Declared):
    """Keywords in English and French."""

    en: tuple[str, ...] = ()
    fr: tuple[str, ...] = ()


class Name(Declared):
    """The naming parts of a dataset, see docs/versions.md for the file names they make."""

    region: Annotated[str, full_match(naming.REGION_PATTERN, "a region (ca or ca-ab)")]
    source: Annotated[str, full_match(naming.PART_PATTERN, "a naming part")]
    dguid: str
    package: Annotated[str, full_match(r"d4c-datapkg-[a-z0-9]+", "a package (d4c-datapkg-...)")]
    theme: Annotated[str, full_match(naming.PART_PATTERN, "a naming part")] | None = None
    variant: Annotated[str, full_match(naming.VARIANT_PATTERN, "a variant")] | None = None

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
    ror: Annotated[str, full_match(r"(https://ror\.org/)?0[a-hj-km-np-tv-z0-9]{6}\d{2}", "a ROR id")] | None = None
    orcid: Annotated[str, full_match(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", "an ORCID")] | None = None
    url: HttpUrl | None = None


class Column(Declared):
    """What is declared of an output column: its name at the source, its type, what it means.

    `nulls`: texts that mean "no value" in this column, beside those of the whole dataset.
    """

    source: str | None = None
    nulls: tuple[str, ...] = ()
    type: Literal["string", "integer", "float", "boolean", "date", "timestamp"] | None = None
    description: Bilingual | None = None


class Dguid(Declared):
    """A column of DGUIDs, Statistics Canada's identifiers of geographies: derived and checked, or only checked.

    `column`: its output name. With `from` it is made of that column's codes as vintage + `type` + `schema` + code
    (`{from: pruid, type: A, schema: "0002"}`: 35 becomes 2021A000235); without, it is there already. `vintage`: four
    digits, by default the year of the dataset's vintage. `width`: digits of the code, where the source delivers it as
    a number. `gazetteer`: a CSV, Parquet or SQL file beside the YAML, or a name of `inputs`, with all that exist.
    Malformed and unknown ones are reported, never dropped.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    column: Identifier = "dguid"
    from_: str | None = Field(default=None, alias="from")
    type_: Literal["A", "S", "C", "Z"] | None = Field(default=None, alias="type")
    schema_: Annotated[str, full_match(r"\d{4}", "a DGUID schema (four digits)")] | None = Field(
        default=None, alias="schema"
    )
    vintage: Annotated[str, BeforeValidator(text_of_number), full_match(r"\d{4}", "a year")] | None = None
    width: int | None = Field(default=None, ge=1, le=11)
    gazetteer: str | None = None

    @model_validator(mode="after")
    def _parts_are_complete(self) -> Self:
        parts = [self.from_, self.type_, self.schema_]
        if any(part is not None for part in parts) and None in parts:
            raise ValueError("a derived DGUID wants from, type and schema")
        return self


class Wds(Declared):
    """Marks a table as a full table of Statistics Canada's Web Data Service (`33100036-eng.zip`).

    REF_DATE gets `ref_start_date` and `ref_end_date`, dimensions become `<dimension>_en` and `<dimension>_fr`, VALUE a
    number, STATUS and SYMBOL get their meaning in both languages. `metadata`: the file with the answer of
    getCubeMetadata, in the delivery or beside the YAML; not needed when the delivery has just one (or none: then names
    are English only). `fiscal_year_start`: the month in which a year written 2023/2024 begins (4 government, 8 crops,
    9 schools; 1: it is two calendar years); by default 4 for an annual table, 1 for others.
    """

    metadata: str | None = None
    fiscal_year_start: int | None = Field(default=None, ge=1, le=12)


class Census(Declared):
    """Marks a table as one of Statistics Canada's census files, in which every value has a symbol beside it.

    `layout`: `profile` (one row per geography and characteristic, columns C1_COUNT_TOTAL, SYMBOL, ...) or `semi_wide`
    (one row per geography, columns `Dimension (13): Member [1]`, Symbols, ...). Values become numbers, the symbol of
    column `c` stands in `c_symbol`.
    """

    layout: Literal["profile", "semi_wide"]


class _Processing(Declared):
    key: tuple[str, ...] = ()
    sql: str | None = None
    member: str | None = None
    layer: str | None = None
    append: bool = False
    origin_column: Identifier | None = None
    encoding: str | None = None
    delimiter: str | None = None
    decimal: Literal[".", ","] = "."
    thousands: Literal[",", ".", " ", "'"] | None = None
    header: tuple[str, ...] = ()
    header_row: int | None = Field(default=None, ge=1)
    ragged: Literal["refuse", "pad"] = "refuse"
    nulls: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    types: Literal["narrow", "keep"] | None = None
    columns: dict[str, Column] = Field(default_factory=dict)
    notebook: str | None = None
    inputs: dict[Identifier, Identifier] = Field(default_factory=dict[str, str])
    dguids: tuple[Dguid, ...] = ()

    @field_validator("sql", "notebook")
    @classmethod
    def _code_is_beside(cls, name: str | None) -> str | None:
        if name is not None and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise ValueError("name a file in the dataset's own folder")
        return name

    @model_validator(mode="after")
    def _marks_and_header_agree(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError(f"'{self.decimal}' can't be both the decimal and the thousands mark")
        if self.header and self.header_row is not None:
            raise ValueError("declare header (names for a file without a header line) or header_row, not both")
        return self

    @model_validator(mode="after")
    def _one_transform(self) -> Self:
        if self.sql is not None and self.notebook is not None:
            raise ValueError("declare sql or notebook, not both")
        if self.inputs and self.sql is None and self.notebook is None:
            raise ValueError("inputs are for sql or notebook, and neither is declared")
        if "source" in self.inputs:
            raise ValueError("inputs: 'source' is the name of the dataset's own rows")
        return self


class VectorProcessing(_Processing):
    """Features with geometry, to GeoParquet.

    `crs`: of the source where it states none (or a wrong one, with `override_crs`). `longitude`/`latitude`: columns of
    a table with coordinates. `geometry_wkt`: a table's column with Well-Known Text. `geometry_column`: of a source with
    several geometry columns, the one to take (default: what the file calls its primary one). `crs_out`: of what is
    published. `z`: whether heights are dropped or kept (measures are always dropped). `antimeridian`: whether lines and
    areas across it are cut in two there (longitudes and latitudes only). `geoparquet`: version to write; 2.0 has
    Parquet's own geometry type, which fewer readers know yet. The rest is as in `TableProcessing`.
    """

    kind: Literal["vector"]
    crs: str | None = None
    override_crs: bool = False
    longitude: str | None = None
    latitude: str | None = None
    geometry_wkt: str | None = None
    geometry_column: str | None = None
    crs_out: Annotated[str, full_match(r"EPSG:\d{4,6}", "an EPSG code (EPSG:4326)")] = "EPSG:4326"
    z: Literal["drop", "keep"] = "drop"
    antimeridian: Literal["split", "keep"] = "split"
    geoparquet: Literal["1.1", "2.0"] = "1.1"

    @model_validator(mode="after")
    def _coordinates_come_in_pairs(self) -> Self:
        ways = [name for name in ("longitude", "geometry_wkt", "geometry_column") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise ValueError(f"declare one way to the geometry, not {' and '.join(ways)}")
        if (self.longitude is None) != (self.latitude is None):
            raise ValueError("declare both longitude and latitude, or neither")
        if self.override_crs and self.crs is None:
            raise ValueError("override_crs wants crs")
        return self


class TableProcessing(_Processing):
    """Rows without geometry, to Parquet sorted by `key`.

    `key`: output columns that identify a row. `sql`: a file beside the YAML with DuckDB SQL over the table `source`.
    `nulls`: texts that mean "no value"; "" stands for blank ones. `drop`: columns of the source (or of what
    SQL makes of it) to leave out. `types`: `narrow` gives columns of text the
    narrowest type that loses nothing (7 an int8, 2021-05-07 a date, 007 stays text), `keep` leaves them; by default
    delimited text is narrowed, other formats know their types. What `columns` declare goes first.
    `notebook`: a Jupyter notebook beside the YAML instead of `sql`. `inputs`: name -> id of another dataset, whose
    latest release SQL and notebook find under that name. `dguids`: columns of DGUIDs to derive and to check.
    `wds`, `census`: the table is one of Statistics Canada's in that layout.
    `member`: glob over the paths in an archive, or over file names; `layer`: name of a layer or sheet, or a glob.
    Either is needed where there are several, of which one is read. With `append` all that match are read, one after the
    other, into one dataset (columns by name, missing ones null); `origin_column` names an additional column
    with the file or layer that a row comes from.
    Of a text file, where it can't be detected: `encoding`, `delimiter`, `header_row` (number of the line or row with
    the names, from 1), `header` (names for a file that has no such line). `decimal`, `thousands`: the marks
    in its numbers; a value that is a number by them is rewritten plainly (`1 234,5` to `1234.5`), but not in columns
    declared as strings. `ragged`: whether lines with too few fields are refused or padded with nulls.
    """

    kind: Literal["table"]
    wds: Wds | None = None
    census: Census | None = None

    @model_validator(mode="after")
    def _one_layout(self) -> Self:
        if self.wds is not None and self.census is not None:
            raise ValueError("declare wds or census, not both")
        if (self.wds or self.census) and set(self.nulls) - {""}:
            raise ValueError("nulls: the symbols of a wds or census table say why a value is missing: leave them out")
        return self


Processing = Annotated[VectorProcessing | TableProcessing, Field(discriminator="kind")]


class Tiles(Declared):
    """Vector tiles for web maps: one PMTiles file with one layer.

    `attributes`: the output columns that the tiles carry; all of them when left out, none for an empty list. `layer`:
    its name, by default the dataset's id. `min_zoom`, `max_zoom`: Web Mercator zoom levels; a `max_zoom` that is left
    out is chosen by how close the features lie, and is 8 at least.
    """

    attributes: tuple[Annotated[str, Field(min_length=1)], ...] | None = None
    layer: Annotated[str, Field(min_length=1)] | None = None
    min_zoom: int = Field(default=0, ge=0, le=22)
    max_zoom: Annotated[int, Field(ge=0, le=22)] | None = None

    @model_validator(mode="after")
    def _zooms_are_in_order(self) -> Self:
        if self.max_zoom is not None and self.max_zoom < self.min_zoom:
            raise ValueError("max_zoom is smaller than min_zoom")
        return self


class Partition(Declared):
    """How data that would be one too large file is cut into several, its parts; what is smaller stays one file.

    `by`: an output column of text, whole numbers, dates or booleans (a part for each of its values), or `spatial`:
    neighbours along the Hilbert curve stay together in parts of about `part` megabytes. `over`: the size in megabytes
    (of 10^6 bytes) that one file may have; 0 cuts always.
    """

    by: Annotated[str, Field(min_length=1)]
    over: float = Field(default=1000.0, ge=0)
    part: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _parts_of_a_size_are_spatial(self) -> Self:
        if self.part is not None and not self.spatial:
            raise ValueError("part: a column's values decide how large its parts are; the size is for 'by: spatial'")
        if self.by in ("geometry", "bbox"):
            raise ValueError("by: write 'spatial' to cut by location")
        return self

    @property
    def spatial(self) -> bool:
        """Whether the data is cut by location."""
        return self.by == "spatial"

    @property
    def part_megabytes(self) -> float:
        """About how large a part is that is cut by location: as declared, else half of what one file may have."""
        return self.part or (self.over / 2 if self.over else 500.0)

    @property
    def words(self) -> str:
        """How the data is cut, for people and to tell one way from another."""
        return f"by location into parts of about {self.part_megabytes:g} MB" if self.spatial else f"by {self.by}"


class Outputs(Declared):
    """What files the data becomes, and what is made of it beside them; every file becomes an artifact of the release.

    `partition`: of large data, how it is cut into several (Geo)Parquet files. `tiles`: PMTiles. `desktop`: files for
    desktop GIS. `style`: a QGIS style (`.qml`) beside the YAML, the default style of the GeoPackage. `csv`: a gzipped
    CSV for spreadsheets, of data that a spreadsheet can open. `thumbnail`: a PNG map.
    """

    partition: Partition | None = None
    tiles: Tiles | None = None
    desktop: tuple[Literal["geopackage", "flatgeobuf"], ...] = ()
    style: str | None = None
    csv: bool = False
    thumbnail: bool = False

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if len(set(self.desktop)) != len(self.desktop):
            raise ValueError("desktop: a format is listed twice")
        if self.style is not None:
            if Path(self.style).is_absolute() or ".." in Path(self.style).parts or Path(self.style).suffix != ".qml":
                raise ValueError("style: name a .qml file in the dataset's own folder")
            if "geopackage" not in self.desktop:
                raise ValueError("style: the GeoPackage carries it, so list 'geopackage' under desktop")
        return self


class ReviewThresholds(Declared):
    """How far a release may differ from the one before it and still be published without a person.

    `rows`, `size`: shares of its rows and of the bytes of its data (0.05 is 5 %). `bounds`: how far a side may move, as
    a share of their longer side. `schema`: whether columns may come, go or change their type. `warnings`: how many
    checks may warn.
    """

    rows: float = Field(default=0.05, ge=0)
    size: float = Field(default=0.25, ge=0)
    bounds: float = Field(default=0.01, ge=0)
    schema_: Literal["same", "any"] = Field(default="same", alias="schema")
    warnings: int = Field(default=0, ge=0)

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)


class Publication(Declared):
    """How releases of a dataset are published. `stage` is the pre-release tag of its versions until it is stable.

    `policy`: `automatic`, `review` (every release waits for a person), or `thresholds` (one beyond them does).
    `first_release`, `major`: whether the first release and every MAJOR wait for a person all the same; left out, they
    do, but for the local archive, whose test DOIs bind nobody. `copies`: in how many places each release should lie,
    the archive being one; left out, what the deployment says.
    `retention`: how many of the newest releases a mirror keeps, by its name, or `all`, which others do; see `keeps`.
    """

    policy: Literal["automatic", "review", "thresholds"] = "automatic"
    first_release: Literal["automatic", "review"] | None = None
    major: Literal["automatic", "review"] | None = None
    thresholds: ReviewThresholds = ReviewThresholds()
    stage: Literal["alpha", "beta", "rc", "stable"] = "beta"
    initial_version: Annotated[str, AfterValidator(_version_text)] = "0.1.0"
    copies: Annotated[int, Field(ge=1)] | None = None
    retention: Mapping[StoreName, HowMany] = Field(default_factory=dict[str, HowMany])

    @field_validator("retention", mode="after")
    @classmethod
    def _primary_keeps_all(cls, retention: Mapping[str, int | str]) -> Mapping[str, int | str]:
        if PRIMARY in retention:
            raise ValueError("the primary store keeps every release: name mirrors")
        return retention

    def keeps(self, mirror: str) -> int | None:
        """Return how many releases of a product `mirror` keeps, None for all of them.

        A product has its own latest address: each vintage of a dataset whose series is `editions`, a `rolling` one as
        a whole.
        """
        wanted = self.retention.get(mirror, "all")
        return None if wanted == "all" else wanted


class Noticing(Declared):
    """How often the source is looked at for what is new, and whether that goes on by itself.

    `enabled`: the sensors are on from the start; left out, an operator turns them on in the UI. `discover_hours`: at
    least so long between two listings of the vintages, `observe_hours` between two looks at each vintage.
    `shrink_allowed`: the share of the vintages last listed that may be missing; a listing that lost more is refused.
    """

    enabled: bool = False
    discover_hours: float = Field(default=24, gt=0)
    observe_hours: float = Field(default=6, gt=0)
    shrink_allowed: float = Field(default=0.0, ge=0, lt=1)


class RowChecks(Declared):
    """How far the number of rows may move from the newest published release, as shares of its rows (0.05 is 5 %).

    Above a `_warning` the check warns, above a `_failure` it fails and nothing is published.
    """

    shrink_warning: float = Field(default=0.05, ge=0, le=1)
    shrink_failure: float = Field(default=0.20, ge=0, le=1)
    growth_warning: float = Field(default=0.25, ge=0)
    growth_failure: float = Field(default=1.0, ge=0)

    @model_validator(mode="after")
    def _failure_is_beyond_warning(self) -> Self:
        if self.shrink_failure < self.shrink_warning or self.growth_failure < self.growth_warning:
            raise ValueError("a failure threshold is smaller than its warning threshold")
        return self


class BoundsChecks(Declared):
    """How far a side of the bounds may move from the newest published release, as a share of their longer side.

    Above `move_warning` the check warns, above `move_failure` it fails and nothing is published.
    """

    move_warning: float = Field(default=0.01, ge=0)
    move_failure: float = Field(default=0.10, ge=0)

    @model_validator(mode="after")
    def _failure_is_beyond_warning(self) -> Self:
        if self.move_failure < self.move_warning:
            raise ValueError("move_failure is smaller than move_warning")
        return self


class DguidChecks(Declared):
    """Which share of the DGUIDs of a column may be malformed, or unknown to its gazetteer, before the check fails.

    Up to the share, but above zero, the check warns: publishers' own mistakes are published as they are.
    """

    malformed_failure: float = Field(default=0.0, ge=0, le=1)
    unknown_failure: float = Field(default=0.05, ge=0, le=1)


class Total(Declared):
    """A figure that the publisher of the data states and the data must give: one of `rows`, `sum`, `count`, `distinct`.

    `column`: the output column of a `sum`, of a `count` (values that are not null) or of `distinct` ones. `tolerance`:
    how far the actual figure may lie from it, in its own unit; sums of floating-point numbers besides to nine digits.
    `vintage`: the only one that the figure is of; left out, it holds for all.
    """

    column: str | None = None
    rows: Annotated[int, Field(ge=0)] | None = None
    sum: float | None = None
    count: Annotated[int, Field(ge=0)] | None = None
    distinct: Annotated[int, Field(ge=0)] | None = None
    tolerance: float = Field(default=0.0, ge=0)
    vintage: VintageText | None = None

    @model_validator(mode="after")
    def _one_figure(self) -> Self:
        stated = [name for name in ("rows", "sum", "count", "distinct") if getattr(self, name) is not None]
        if len(stated) != 1:
            raise ValueError("a total is one of rows, sum, count and distinct")
        if (self.column is None) != (stated == ["rows"]):
            raise ValueError("a total of rows has no column, any other has one")
        return self


class Checks(Declared):
    """What is asked of the data before it is published; a check that fails, or can't run, stops the publication.

    `rows`, `bounds`: against the newest published release (of the vintage; in a rolling series, else of the vintage
    before). `totals`: figures that the data must give. `dguids`: of the columns under `processing.dguids`.
    `mojibake_allowed`: so many values are known to be garbled at the source; up to it the check on encoding warns.
    `invalid_allowed`: so many geometries may be invalid (what the repair could not mend); up to it that check warns.
    `skip`: checks that make no sense for this data.
    """

    rows: RowChecks = RowChecks()
    bounds: BoundsChecks = BoundsChecks()
    totals: tuple[Total, ...] = ()
    dguids: DguidChecks = DguidChecks()
    mojibake_allowed: int = Field(default=0, ge=0)
    invalid_allowed: int = Field(default=0, ge=0)
    skip: tuple[
        Literal[
            "rows_against_previous", "bounds_against_previous", "geometry_valid", "encoding_sane", "dguids_well_formed"
        ],
        ...,
    ] = ()


class Extent(Declared):
    """A box in degrees (EPSG:4326): where data without geometry lies, and what geometry must not leave.

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
    """One product: where it comes from, how it is processed, who is credited.

    `vintages` is a list, or `discovered` where the source tells which exist. `series`: with `editions` every vintage
    stays a product of its own, with `rolling` a newer vintage supersedes the older ones. `extent` says where
    the data lies when it has no geometry; geometry must lie within. `folder` is set by whoever read the YAML.
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
            asked = {
                "partition by spatial": partition is not None and partition.spatial,
                "tiles": self.outputs.tiles is not None,
                "thumbnail": self.outputs.thumbnail,
                "style": self.outputs.style is not None,
                "desktop flatgeobuf": "flatgeobuf" in self.outputs.desktop,
            }
            if wrong := [name for name, wanted in asked.items() if wanted]:
                raise ValueError(f"outputs: {', '.join(wrong)} can't be made of a table, which has no geometry")
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
