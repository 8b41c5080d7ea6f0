"""Where the native files of a dataset come from, as its YAML declares it: one class per protocol, selected by `kind`.

The base of all declarations belongs to `declared.py`, speaking the protocols to the room `sources`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from d4c_pipeline.model.declared import Declared, HttpUrl, VintageText, full_match, text_of_number
from d4c_pipeline.model.vintage import Vintage


def _template(text: str) -> str:
    try:
        text.format(vintage=Vintage.parse("2021-01-01"))
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise ValueError(f"'{text}' is not a template over {{vintage}}: {error}") from error
    return text


def _table_number(value: object) -> object:
    text = str(text_of_number(value))
    digits = text.replace("-", "")
    return digits[:8] if len(digits) == 10 and digits.endswith("01") else digits


Template = Annotated[str, AfterValidator(_template)]
Glob = Annotated[str, Field(min_length=1), AfterValidator(_template)]
# People paste addresses with the spaces that a browser displays.
FileUrl = Annotated[
    HttpUrl, BeforeValidator(lambda text: text.strip().replace(" ", "%20") if isinstance(text, str) else text)
]
UrlTemplate = Annotated[FileUrl, AfterValidator(_template)]
# The form is selected before validation, so that errors concern only the written form. The tags have brackets,
# because they are not keys of the YAML.
Mirrors = Annotated[
    Annotated[UrlTemplate, Tag("[address]")]
    | Annotated[tuple[UrlTemplate, ...], Field(min_length=1), Tag("[mirrors]")],
    Discriminator(lambda value: "[mirrors]" if isinstance(value, list | tuple) else "[address]"),
]
Format = Literal[
    "csv", "tsv", "txt", "json", "jsonl", "ndjson", "geojson", "geojsonl", "gml", "kml", "kmz", "gpkg", "fgb",
    "parquet", "xlsx", "xlsm", "xlsb", "xls", "ods", "dbf", "zip", "7z", "tar", "tar.gz", "csv.gz", "gz",
]  # fmt: skip
Sha256 = Annotated[str, full_match(r"[0-9a-f]{64}", "a sha256 (64 hexadecimal digits)")]


class Timeouts(Declared):
    """Time limits in seconds: for a connection, for the next byte, and for a complete file with all its attempts."""

    connect: float = Field(default=15.0, gt=0)
    read: float = Field(default=60.0, gt=0)
    whole: float = Field(default=6 * 3600.0, gt=0)


class _Declared(Declared):
    """`homepage`: the page about the data, for readers."""

    homepage: HttpUrl | None = None

    @property
    def names_vintage(self) -> bool:
        """Whether the request differs by vintage; if not, the source serves only its current vintage."""
        return False

    @property
    def lists_vintages(self) -> bool:
        """Whether the source can list its vintages although the declaration names a {vintage}."""
        return False

    @property
    def own_vintages(self) -> frozenset[str]:
        """The vintages that have declarations of their own."""
        return frozenset()

    @property
    def service_address(self) -> str | None:
        """The address of the server that most requests go to; None if the declaration names none."""
        return None

    @property
    def host(self) -> str | None:
        """The host of that server, in lower case."""
        return urlsplit(self.service_address).hostname if self.service_address else None

    def addresses(self, vintage: Vintage) -> tuple[str, ...] | None:
        """Return the addresses of one vintage's native files; None if only the source knows them."""
        return None

    def derived_from(self, vintage: Vintage) -> tuple[str, ...]:
        """Return the public addresses that a record of the vintage names as its origin."""
        return self.addresses(vintage) or ()


class _Web(_Declared):
    """`per_host`: simultaneous requests to one host. `timeouts`: in seconds.

    `authorization`: the name of an environment variable with the value of the Authorization header. Only the declared
    hosts receive it, never the targets of redirects. `user_agent`: text before ours in that header, for a server that
    refuses ours. `private_addresses`: whether redirects and documents of the source may lead to private or loopback
    addresses; declared addresses may lie anywhere.
    """

    per_host: int = Field(default=4, ge=1, le=16)
    timeouts: Timeouts = Timeouts()
    user_agent: Annotated[str, full_match(r"[!-~]+( [!-~]+)*", "a User-Agent (plain ASCII)")] | None = None
    private_addresses: bool = False
    authorization: Annotated[str, full_match(r"[A-Z][A-Z0-9_]*", "a name of an environment variable")] | None = None


class _Files(_Web):
    """`format`: the format of the files, as its suffix, if their addresses have no suffix that shows it."""

    format: Format | None = None


class HttpSource(_Files):
    """Native files behind HTTP(S) addresses.

    `urls` are templates: `{vintage}` is the vintage, `{vintage:yy}`, `{vintage:yyyy-mm}` and so on are parts of it; a
    list in place of an address is one file at several mirrors. `vintage_urls` are the addresses of vintages that lie
    elsewhere. `mirror_list`: instead of `urls`, a file beside the YAML in the layout of aria2c's input files: a line
    per file, its mirrors separated by tabs, `out=` and `checksum=sha-256=` below it indented. `sha256`: file name ->
    known digest.
    """

    kind: Literal["http"]
    urls: tuple[Mirrors, ...] = ()
    vintage_urls: dict[VintageText, tuple[FileUrl, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    mirror_list: str | None = None
    sha256: dict[str, Sha256] = Field(default_factory=dict[str, str])

    @model_validator(mode="after")
    def _single_file_list(self) -> Self:
        if bool(self.urls) == (self.mirror_list is not None):
            raise ValueError("declare urls, at least one, or mirror_list")
        if self.mirror_list is not None and self.vintage_urls:
            raise ValueError("vintage_urls go with urls, not with mirror_list")
        return self

    @property
    def service_address(self) -> str | None:
        """The first declared address; None with a list of mirrors, which lies beside the YAML."""
        if not self.urls:
            return None
        first = self.urls[0]
        return first if isinstance(first, str) else first[0]

    @field_validator("mirror_list")
    @classmethod
    def _list_is_beside(cls, name: str | None) -> str | None:
        if name is not None and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise ValueError("name a file in the dataset's own folder")
        return name

    def addresses(self, vintage: Vintage) -> tuple[str, ...] | None:
        """Return the addresses of one vintage's native files (each file's first mirror); None with `mirror_list`."""
        if self.mirror_list is not None:
            return None
        return tuple(mirrors[0] for mirrors in self.mirrors(vintage))

    def mirrors(self, vintage: Vintage) -> tuple[tuple[str, ...], ...]:
        """Return the addresses of each native file of `urls`, the first declared address first."""
        if declared := self.vintage_urls.get(str(vintage)):
            return tuple((url,) for url in declared)
        files = ((url,) if isinstance(url, str) else url for url in self.urls)
        return tuple(tuple(url.format(vintage=vintage) for url in mirrors) for mirrors in files)

    @property
    def names_vintage(self) -> bool:
        """Whether an address differs by vintage; if not, the source serves only its current vintage."""
        return bool(self.vintage_urls) or any(
            "{vintage" in url for one in self.urls for url in ((one,) if isinstance(one, str) else one)
        )

    @property
    def own_vintages(self) -> frozenset[str]:
        """The vintages at addresses of their own."""
        return frozenset(self.vintage_urls)


class StatCanTableSource(_Web):
    """A table of Statistics Canada by its Web Data Service: the full CSV and the bilingual metadata.

    `table`: its number, `33-10-0036-01`, `33-10-0036` or 33100036. `languages`: the languages of the CSV; the metadata
    is in both. The vintage is the time of release in UTC (`2025-06-11T1230`): write `vintages: discovered`.
    `fewer_rows: accept` accepts a file with fewer rows than the metadata state, for a table whose file is right.
    """

    kind: Literal["statcan_table"]
    fewer_rows: Literal["wait", "accept"] = "wait"
    table: Annotated[str, BeforeValidator(_table_number), full_match(r"\d{8}", "a table number such as 33-10-0036-01")]
    languages: Annotated[tuple[Literal["en", "fr"], ...], Field(min_length=1)] = ("en",)
    service: HttpUrl = "https://www150.statcan.gc.ca/t1/wds/rest"

    @property
    def service_address(self) -> str:
        """The address of the Web Data Service."""
        return self.service

    def derived_from(self, vintage: Vintage) -> tuple[str, ...]:
        """Return the page of the table."""
        return (f"https://www150.statcan.gc.ca/t1/tbl1/en/tv.action?pid={self.table}01",)


class CkanSource(_Files):
    """Resources of a CKAN package, such as the packages of open.canada.ca.

    `portal`: the address before `/api/3/action`. `package`: id or name. The source selects resources whose format is in
    `formats`, whose language is in `languages` and whose name (in any language), file name or id matches the glob
    `name` (a template over {vintage}). Case does not matter, and an omitted field selects all. The vintage is the time
    of the package's last change: write `vintages: discovered`, or list the vintage that it stands for.
    """

    kind: Literal["ckan"]
    portal: HttpUrl = "https://open.canada.ca/data"
    package: Annotated[str, full_match(r"[\w.-]+", "an id or name of a package")]
    formats: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    name: Glob | None = None

    @property
    def service_address(self) -> str:
        """The address of the portal."""
        return self.portal

    def derived_from(self, vintage: Vintage) -> tuple[str, ...]:
        """Return the page of the package."""
        return (f"{self.portal.rstrip('/')}/dataset/{self.package}",)

    @property
    def names_vintage(self) -> bool:
        """Whether the selection of resources differs by vintage."""
        return self.name is not None and "{vintage" in self.name


class ArcGisSource(_Web):
    """A layer or table of an ArcGIS FeatureServer or MapServer, fetched by object id into one Esri JSON file.

    `layer`: its address, with the number at the end. `where`: a filter of the rows. `fields`: by default all.
    `page_size`: rows per request, up to the server's limit. A discovered vintage is the UTC day of the layer's last
    edit.
    """

    kind: Literal["arcgis"]
    layer: Annotated[
        HttpUrl,
        full_match(r".+/(FeatureServer|MapServer)/\d+/?", "an address of a layer (.../FeatureServer/0)"),
    ]
    where: str = Field(default="1=1", min_length=1)
    fields: tuple[str, ...] = ()
    page_size: int = Field(default=1000, ge=1)

    @property
    def service_address(self) -> str:
        """The address of the layer."""
        return self.layer

    def derived_from(self, vintage: Vintage) -> tuple[str, ...]:
        """Return the address of the layer."""
        return (self.layer,)


class _Listed(_Declared):
    """Files found by listing. `pattern`: a glob over the paths below the listed place."""

    pattern: str = Field(default="*", min_length=1)


class S3Source(_Files, _Listed):
    """The objects under a prefix of a bucket, in Amazon S3 or another server with its protocol.

    `prefix`: a template. With {vintage} in it, `vintages: discovered` finds every vintage in the listing; without it,
    the UTC day of the newest object. `endpoint`: the address of a service other than Amazon's. `anonymous: false` signs
    with the credentials that boto3 finds (environment, ~/.aws, instance), or with those of `profile`. `requester_pays`:
    for a bucket whose readers pay; the account of the credentials is charged.
    """

    kind: Literal["s3"]
    bucket: Annotated[str, full_match(r"[a-z0-9][a-z0-9.-]+", "a name of a bucket")]
    prefix: Template = ""
    endpoint: HttpUrl | None = None
    region: str | None = None
    anonymous: bool = True
    profile: str | None = None
    requester_pays: bool = False

    @model_validator(mode="after")
    def _signed_as_s3_does(self) -> Self:
        if self.authorization is not None:
            raise ValueError("authorization is not for S3: write anonymous: false, and profile if need be")
        if self.anonymous and self.profile is not None:
            raise ValueError("profile wants anonymous: false")
        if self.anonymous and self.requester_pays:
            raise ValueError("requester_pays wants anonymous: false: the account that signs is charged")
        return self

    @property
    def service_address(self) -> str:
        """The endpoint; that of Amazon's service by default."""
        return self.endpoint or "https://s3.amazonaws.com"

    @property
    def names_vintage(self) -> bool:
        """Whether the prefix differs by vintage."""
        return "{vintage" in self.prefix

    @property
    def lists_vintages(self) -> bool:
        """Whether the listing shows the vintages."""
        return self.names_vintage


class FolderSource(_Listed):
    """Files in a folder: a drop folder, a network disk.

    `path`: absolute, a template. With {vintage} in it, `vintages: discovered` finds every existing vintage; without it,
    the UTC day of the newest file. A file counts if nothing wrote to it for `stable_seconds`.
    """

    kind: Literal["folder"]
    path: Template
    stable_seconds: float = Field(default=60.0, ge=0)

    @field_validator("path")
    @classmethod
    def _path_is_absolute(cls, path: str) -> str:
        if not Path(path).is_absolute():
            raise ValueError(f"'{path}' is not absolute")
        return path

    @property
    def names_vintage(self) -> bool:
        """Whether the path differs by vintage."""
        return "{vintage" in self.path

    @property
    def lists_vintages(self) -> bool:
        """Whether the folders show the vintages."""
        return self.names_vintage


Source = Annotated[
    HttpSource | StatCanTableSource | CkanSource | ArcGisSource | S3Source | FolderSource, Field(discriminator="kind")
]
