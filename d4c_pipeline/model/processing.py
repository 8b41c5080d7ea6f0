"""How a dataset's native files become rows, as its YAML declares it under `processing`.

The work itself belongs to the room `processing`, the files derived from the rows to `outputs`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from d4c_pipeline.model import date_format
from d4c_pipeline.model.corrections import Correction
from d4c_pipeline.model.declared import Bilingual, Declared, Identifier, full_match, text_of_number


def _text_of_marker(value: object) -> object:
    # YAML reads an unquoted -9999 or -9999.0 as a number.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Marker = Annotated[str, BeforeValidator(_text_of_marker)]


class Column(Declared):
    """The declaration of an output column: its name at the source, its type, its meaning.

    `date_format`: the format of a date or moment in text, as in strptime (`%d/%m/%Y %H:%M`); a value in another format
    is refused. `nulls`: texts (or numbers) that mean "no value" in this column, in addition to those of the dataset.
    """

    source: str | None = None
    nulls: tuple[Marker, ...] = ()
    type: Literal["string", "integer", "float", "boolean", "date", "timestamp"] | None = None
    date_format: str | None = None
    description: Bilingual | None = None

    @model_validator(mode="after")
    def _form_makes_the_type(self) -> Self:
        if self.date_format is not None:
            date_format.check(self.date_format, self.type)
        return self


class Dguid(Declared):
    """A column of DGUIDs, Statistics Canada's identifiers of geographies: derived and checked, or only checked.

    `column`: its output name. `from`: the column with the codes; the DGUID is vintage + `type` + `schema` + code
    (`{from: pruid, type: A, schema: "0002"}`: 35 becomes 2021A000235). Without `from` the column exists already.
    `vintage`: four digits, by default the year of the dataset's vintage. `width`: digits of the code, if the source
    delivers it as a number. `gazetteer`: a CSV, Parquet or SQL file beside the YAML, or a name of `inputs`, that lists
    all existing DGUIDs. Malformed and unknown DGUIDs are reported, never dropped.
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

    REF_DATE gets `ref_start_date` and `ref_end_date`. Dimensions become `<dimension>_en` and `<dimension>_fr`. VALUE
    becomes a number. STATUS and SYMBOL get their meaning in both languages. `metadata`: the file with the response of
    getCubeMetadata, in the delivery or beside the YAML; optional if the delivery has exactly one, or none (the names
    are then English only). `fiscal_year_start`: the month in which a year written 2023/2024 begins (4 government, 8
    crops, 9 schools; 1: two calendar years); by default 4 for an annual table, 1 for others.
    """

    metadata: str | None = None
    fiscal_year_start: int | None = Field(default=None, ge=1, le=12)


class Census(Declared):
    """Marks a table as a census file of Statistics Canada, which has symbols beside values or in place of values.

    `layout`: `profile` (one row per geography and characteristic; 98-401-X2021, 98-401-X2016, 98-316-XWE2011) or
    `semi_wide` (a column per member of the last dimension; 98-10-xxxx, 98-400-X2016xxx), in English or French. Values
    become numbers; the symbol of column `c` becomes `c_symbol`.
    """

    layout: Literal["profile", "semi_wide"]


class _Processing(Declared):
    key: tuple[str, ...] = ()
    sql: str | None = None
    member: str | None = None
    layer: str | None = None
    records: str | None = None
    append: bool = False
    origin_column: Identifier | None = None
    feature_id: Literal["named", "keep", "drop"] = "named"
    encoding: str | None = None
    delimiter: Annotated[str, full_match(r"[\t -~]", "one character")] | None = None
    quote: Annotated[str, full_match(r"[ -~]?", "one character, or '' for none")] | None = None
    escape: Annotated[str, full_match(r"[!-~]", "one character")] | None = None
    footer_rows: int | None = Field(default=None, ge=0)
    decimal: Literal[".", ","] = "."
    thousands: Literal[",", ".", " ", "'"] | None = None
    header: tuple[str, ...] = ()
    header_row: int | None = Field(default=None, ge=1)
    merged: Literal["refuse", "fill"] = "refuse"
    # Left out of the parameters by default, so that the manifests of other datasets keep their bytes.
    repeated_header: Literal["refuse", "drop", "keep"] = Field(
        default="refuse", exclude_if=lambda value: value == "refuse"
    )
    ragged: Literal["refuse", "pad"] = "refuse"
    nulls: tuple[Marker, ...] = ()
    drop: tuple[str, ...] = ()
    types: Literal["narrow", "keep"] | None = None
    columns: dict[str, Column] = Field(default_factory=dict)
    notebook: str | None = None
    inputs: dict[Identifier, Identifier] = Field(default_factory=dict[str, str])
    dguids: tuple[Dguid, ...] = ()
    # Left out of the parameters when empty, so that the manifests of other datasets keep their bytes.
    corrections: tuple[Correction, ...] = Field(default=(), exclude_if=lambda value: not value)

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
    def _single_transform(self) -> Self:
        if self.sql is not None and self.notebook is not None:
            raise ValueError("declare sql or notebook, not both")
        if self.inputs and self.sql is None and self.notebook is None:
            raise ValueError("inputs are for sql or notebook, and neither is declared")
        if "source" in self.inputs:
            raise ValueError("inputs: 'source' is the name of the dataset's own rows")
        return self


class VectorProcessing(_Processing):
    """Features with geometry, to GeoParquet.

    `crs`: the CRS of a source that states none (or a wrong CRS, with `override_crs`). `longitude`/`latitude`: columns
    of a table with coordinates, as numbers or as degrees, minutes and seconds; `o_means`: the meaning of the letter O
    in them (west in French, east in German). `geometry_wkt`: a table's column with Well-Known Text, hexadecimal WKB or
    GeoJSON. `geometry_column`: the geometry column to read (default: the file's primary geometry column). `crs_out`:
    the published CRS. `z`: whether heights are dropped or kept (measures are always dropped). `antimeridian`: whether
    lines and areas across the antimeridian are split there (longitudes and latitudes only). `lost_geometry`: whether a
    geometry that is empty after repair (no extent) stops the build or becomes null. `surfaces`: whether surfaces in
    space (TIN, multipatch) stop the build or become their footprints on the ground. `geoparquet`: the version to write;
    2.0 has Parquet's own geometry type, which fewer readers support. The other fields are those of `TableProcessing`.
    """

    kind: Literal["vector"]
    crs: str | None = None
    override_crs: bool = False
    longitude: str | None = None
    latitude: str | None = None
    o_means: Literal["west", "east"] | None = None
    geometry_wkt: str | None = None
    geometry_column: str | None = None
    crs_out: Annotated[str, full_match(r"EPSG:\d{4,6}", "an EPSG code (EPSG:4326)")] = "EPSG:4326"
    z: Literal["drop", "keep"] = "drop"
    antimeridian: Literal["split", "keep"] = "split"
    lost_geometry: Literal["refuse", "accept"] = "refuse"
    surfaces: Literal["refuse", "footprint"] = "refuse"
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
    `nulls`: texts that mean "no value"; "" stands for blank values; in columns of numbers and dates, the same number
    (-9999 is -9999.00 too) or date. `drop`: columns of the source (or of the result of the SQL) to leave out. `types`:
    `narrow` gives columns of text the narrowest type that loses nothing (7 an int8, 2021-05-07 a date, 007 stays text),
    `keep` leaves them unchanged; by default delimited text is narrowed, because other formats have types. `columns`
    takes precedence. `notebook`: a Jupyter notebook beside the YAML instead of `sql`. `inputs`: name -> id of another
    dataset, whose latest release SQL and notebook find under that name. `dguids`: columns of DGUIDs to derive and to
    check. `wds`, `census`: the table has that layout of Statistics Canada. `corrections`: values that are wrong at the
    source, with the values to publish.

    `member`: a glob over the paths in an archive, or over file names. `layer`: the name of a layer or sheet, or a glob.
    They select one file or layer of several. With `append` all matches are read, one after the other, into one dataset
    (columns by name, missing columns null); `origin_column` names an additional column with the file or layer of each
    row. `records`: the path to the list of rows in a JSON document (`result.records`); `.` if the document is the only
    row. `feature_id`: whether the column that numbers the features of a GeoPackage or a geodatabase is kept: `named`
    keeps it if a person chose its name (`parcel_id`, not `fid` or `OBJECTID`), `keep` always, `drop` never.

    For a text file whose form can't be detected: `encoding`, `delimiter`, `header_row` (the number of the line or row
    with the names, from 1), `header` (names for a file without a header line), `footer_rows` (the number of lines at
    the end, without blank lines, that are not rows; 0: all lines are rows), `quote` (the character around values, by
    default `"`; '' for text without quoting) and `escape` (the character that makes the next character literal).
    `decimal`, `thousands`: the marks in its numbers; a value that is a number with these marks is rewritten plainly (`1
    234,5` to `1234.5`), except in columns declared as strings. `ragged`: whether lines with too few fields are refused
    or padded with nulls. `merged`: whether merged cells in the data of a workbook stop the reading or give their value
    to each cell. `repeated_header`: whether a row that repeats all column names (files put together, a page of a
    printed table) stops the reading, is dropped, or is a row.
    """

    kind: Literal["table"]
    wds: Wds | None = None
    census: Census | None = None

    @model_validator(mode="after")
    def _single_layout(self) -> Self:
        if self.wds is not None and self.census is not None:
            raise ValueError("declare wds or census, not both")
        if (self.wds or self.census) and set(self.nulls) - {""}:
            raise ValueError("nulls: the symbols of a wds or census table say why a value is missing: leave them out")
        return self


Processing = Annotated[VectorProcessing | TableProcessing, Field(discriminator="kind")]
