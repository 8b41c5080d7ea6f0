"""The assets of a release's STAC item: one for each artifact, with its key, titles, roles, size and checksum.

The fixed set of asset keys and the addresses of a file belong here: `href` at the primary store, all others under
`alternate`. Fields of the item itself belong to `stac_item`.
https://github.com/stac-extensions/alternate-assets, https://github.com/stac-extensions/file
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.parts import Part, part_of
from d4c_pipeline.model.release import AFTER_ITEM, Artifact, ArtifactRole, Deposit, Release, Torrent

ALTERNATE_ASSETS = "https://stac-extensions.github.io/alternate-assets/v1.2.0/schema.json"
FILE_INFO = "https://stac-extensions.github.io/file/v2.1.0/schema.json"


@dataclass(frozen=True)
class Kind:
    """The kind of an asset key: its titles in both languages and its roles."""

    en: str
    fr: str
    roles: tuple[str, ...]


KINDS: dict[str, Kind] = {
    "data": Kind("Data, GeoParquet", "Données, GeoParquet", ("data",)),
    "tiles": Kind("Map tiles, PMTiles", "Tuiles cartographiques, PMTiles", ("visual", "tiles")),
    "thumbnail": Kind("Preview image", "Image d'aperçu", ("thumbnail",)),
    "geopackage": Kind("Data, GeoPackage", "Données, GeoPackage", ("data", "desktop")),
    "flatgeobuf": Kind("Data, FlatGeobuf", "Données, FlatGeobuf", ("data", "desktop")),
    "csv": Kind("Data, CSV (gzip)", "Données, CSV (gzip)", ("data", "desktop")),
    "changes": Kind("Changes since the release before", "Changements depuis la version précédente", ("changes",)),
    "torrent": Kind("Torrent of the data", "Torrent des données", ("torrent",)),
    "profile": Kind("Profile of the columns", "Profil des colonnes", ("metadata", "profile")),
    "manifest": Kind("Build manifest", "Manifeste de production", ("metadata", "manifest")),
    "checksums": Kind("Checksums, SHA-256", "Sommes de contrôle, SHA-256", ("metadata", "checksums")),
    "readme": Kind("Read me", "Lisez-moi", ("metadata", "readme")),
    "code": Kind("Source code of the build", "Code source de la production", ("metadata", "code")),
    "notebook": Kind("Executed notebook", "Carnet exécuté", ("metadata", "notebook")),
    "license": Kind("Text of the licence", "Texte de la licence", ("metadata", "license")),
    "source": Kind("File of the source", "Fichier de la source", ("source",)),
}
"""All asset keys, in the order of the columns. Partitioned data has `data-<part>` and `torrent-<part>` instead."""

_TABLE_TITLES = ("Data, Parquet", "Données, Parquet")
_DESKTOP_KEYS = {".gpkg": "geopackage", ".fgb": "flatgeobuf", ".csv.gz": "csv"}
ARCHIVE = "archive"
MIRRORS = ("mirror", "mirror-2")
"""Keys of the alternate addresses with columns in the Parquet; the JSON lists further mirrors as well."""


class Listed(Protocol):
    """A file of a release as assets describe it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def role(self) -> ArtifactRole: ...  # noqa: D102
    @property
    def media_type(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102


class Seeded(Protocol):
    """A torrent as assets and items describe it."""

    @property
    def info_hash(self) -> str: ...  # noqa: D102
    @property
    def info_hash_v2(self) -> str | None: ...  # noqa: D102
    @property
    def magnet(self) -> str: ...  # noqa: D102


_File = TypeVar("_File", bound=Listed)


@dataclass(frozen=True)
class Addresses:
    """The addresses of a release's files by file name: in the primary store, in mirrors, and of the present torrents.

    `torrents`: data file name -> address. `mirrors`: file name -> addresses in the mirrors that hold it now.
    """

    primary: Mapping[str, str]
    mirrors: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    torrents: Mapping[str, str] = field(default_factory=dict[str, str])

    def of(self, name: str) -> str:
        """Return the address of a file in the primary store. Raises DataError when it is unknown."""
        if (href := self.primary.get(name)) is None:
            raise DataError(f"No address is known for {name}", "Copy the release to the primary store first")
        return href


def assets_of(
    release: Release, deposit: Deposit, torrents: Mapping[str, Torrent], addresses: Addresses
) -> dict[str, dict[str, Any]]:
    """Return an asset for every artifact of `release` by its key. Raises DataError when an address is missing."""
    return listed_assets(
        release.name,
        release.artifacts,
        spatial=bool(release.summary.geometry_types or release.summary.bounds),
        parts={part.name: part for part in release.summary.parts},
        archived=deposit.files,
        torrents=torrents,
        addresses=addresses,
    )


def listed_assets(
    release_name: str,
    files: Iterable[Listed],
    *,
    spatial: bool,
    parts: Mapping[str, Part],
    archived: Mapping[str, str],
    torrents: Mapping[str, Seeded],
    addresses: Addresses,
) -> dict[str, dict[str, Any]]:
    """Return an asset for every file of a release by its key.

    `spatial`: the data has places. `parts`: those of the data by name. `archived`: file name -> address at the archive.
    `torrents`: data file name -> torrent. Raises DataError when an address in the primary store is missing.
    """
    assets: dict[str, dict[str, Any]] = {}
    for key, base, file in _keyed(release_name, files):
        kind = KINDS.get(base)
        en, fr = (kind.en, kind.fr) if kind else (base, base)
        if base == "data" and not spatial:
            en, fr = _TABLE_TITLES
        part = key.removeprefix(f"{base}-") if key != base else None
        asset: dict[str, Any] = {
            "href": addresses.of(file.name),
            "type": file.media_type,
            "title": f"{en}: {part}" if part else en,
            "d4c:title_fr": f"{fr} : {part}" if part else fr,
            "roles": list(kind.roles) if kind else ["metadata"],
            "file:size": file.size,
            "file:checksum": multihash_sha256(file.sha256),
        }
        if alternate := _alternate(file.name, archived, addresses):
            asset["alternate"] = alternate
        if file.role is ArtifactRole.DATA and part is not None:
            asset |= _part_fields(part, parts.get(part), torrents.get(file.name))
        if file.role is ArtifactRole.TORRENT:
            current = addresses.torrents.get(file.name.removesuffix(".torrent"))
            if current is not None:
                asset["d4c:current_href"] = current
        assets[key] = asset
    return assets


def multihash_sha256(digest: str) -> str:
    """Return a sha256 (hex) as the hexadecimal multihash of `file:checksum`: code 0x12, length 0x20."""
    return f"1220{digest}"


def listed_checksums(item: Mapping[str, Any]) -> dict[str, str]:
    """Return the checksums of the files that an item lists, by file name, as multihashes."""
    return {file_of(asset["href"]): asset["file:checksum"] for asset in item["assets"].values()}


def file_of(href: str) -> str:
    """Return the file name in the address of an asset."""
    return unquote(urlsplit(href).path).rpartition("/")[2]


def torrent_fields(torrent: Seeded) -> dict[str, Any]:
    """Return the `d4c:` fields of a torrent, for the item or a data asset."""
    fields = {
        "d4c:info_hash": torrent.info_hash,
        "d4c:info_hash_v2": torrent.info_hash_v2,
        "d4c:magnet": torrent.magnet,
    }
    return {name: value for name, value in fields.items() if value is not None}


def keyed(release: Release) -> Sequence[tuple[str, str, Artifact]]:
    """Return the artifacts with their asset keys and the keys of `KINDS`, by file name.

    A key does not depend on other files of the release. It is the role (`data`, `tiles`, `profile`), for partitioned
    data and its torrents with the part (`data-pruid-24`, `torrent-pruid-24`), for desktop GIS the format
    (`geopackage`). Further files of one role have numbers from 2 on. The item itself and the list with its checksum
    have no asset.
    """
    return _keyed(release.name, release.artifacts)


def _keyed(release_name: str, files: Iterable[_File]) -> list[tuple[str, str, _File]]:
    found: list[tuple[str, str, _File]] = []
    taken: dict[str, int] = {}
    for file in sorted(files, key=lambda each: each.name):
        if file.role in AFTER_ITEM:
            continue
        base, key = str(file.role), str(file.role)
        if file.role in (ArtifactRole.DATA, ArtifactRole.TORRENT):
            part = part_of(file.name, release_name)
            key = f"{base}-{part}" if part else base
        elif file.role is ArtifactRole.DESKTOP:
            suffix = file.name.removeprefix(release_name)
            base = key = _DESKTOP_KEYS.get(suffix, suffix.strip("._"))
        number = taken[key] = taken.get(key, 0) + 1
        found.append((key if number == 1 else f"{key}-{number}", base, file))
    return found


def _alternate(name: str, archived: Mapping[str, str], addresses: Addresses) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    if (href := archived.get(name)) is not None:
        found[ARCHIVE] = {"href": href}
    for number, href in enumerate(addresses.mirrors.get(name, ()), 1):
        found["mirror" if number == 1 else f"mirror-{number}"] = {"href": href}
    return found


def _part_fields(name: str, part: Part | None, torrent: Seeded | None) -> dict[str, Any]:
    """Return the fields of a part of the data; the item has the fields of a single data file."""
    fields = torrent_fields(torrent) if torrent is not None else {}
    fields["d4c:part"] = name
    if part is not None:
        fields["d4c:rows"] = part.rows
        if part.bounds:
            fields["d4c:bounds"] = [float(side) for side in part.bounds]
    return fields
