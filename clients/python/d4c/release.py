"""A release: its facts, its verified files, and what they are read as.

Which release a name means belongs to `catalogue`, the fetching of files to `cache`.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from d4c import cache
from d4c.cache import File
from d4c.errors import D4CWarning, IntegrityError, MissingError, UnknownNameError, UnreachableError
from d4c.mirrors import Mirror, MirrorFailure, read
from d4c.stated_files import asset_file, files_of, folder_of

if TYPE_CHECKING:
    import geopandas

_CITATIONS = {"bibtex": "citation.bib", "ris": "citation.ris", "csl": "citation.csl.json", "cff": "CITATION.cff"}


@dataclass(frozen=True)
class Verified:
    """A file whose bytes were hashed just now: its name, bytes, sha256 and path."""

    name: str
    size: int
    sha256: str
    path: Path


@dataclass(frozen=True)
class Place:
    """Where files come from and go to: the mirrors, the folder of the cache, seconds until a mirror has stalled."""

    mirrors: tuple[Mirror, ...]
    cache: Path
    timeout: float


@dataclass(frozen=True)
class Release:
    """A published release. Nothing is fetched before data is asked for."""

    dataset: str
    vintage: str
    version: str
    title: str | None
    doi: str | None
    test_doi: bool
    is_latest: bool
    published: datetime | None
    withdrawn_at: datetime | None
    withdrawn_reason: str | None
    rows: int | None
    files: tuple[File, ...]
    _row: Mapping[str, Any] = field(repr=False, compare=False)
    _place: Place = field(repr=False, compare=False)

    @classmethod
    def of_row(cls, row: Mapping[str, Any], place: Place) -> Release:
        """Return the release of a row of the catalogue. Raises FormError when the row lacks what is needed."""
        folder_of(row)
        return cls(
            dataset=row["dataset"],
            vintage=row["vintage"],
            version=row["version"],
            title=row["title"],
            doi=row["doi"],
            test_doi=bool(row["d4c:test_doi"]),
            is_latest=bool(row["is_latest"]),
            published=row["published"],
            withdrawn_at=row["withdrawn_at"],
            withdrawn_reason=row["withdrawn_reason"],
            rows=row["rows"],
            files=files_of(row),
            _row=row,
            _place=place,
        )

    @property
    def name(self) -> str:
        """Dataset, vintage and version as one text."""
        return f"{self.dataset} {self.vintage} v{self.version}"

    @property
    def stated_by(self) -> tuple[str, ...]:
        """The mirrors whose catalogue states this release: addresses or folders."""
        return tuple(self._row["stated_by"])

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the parts of the data; empty for data in one file."""
        return tuple(file.part for file in self.files if file.part is not None)

    def paths(self, parts: Sequence[str] | None = None) -> tuple[Path, ...]:
        """Return the data files, verified, in the cache: all of them, or those of the named parts.

        The files are read-only. Raises UnknownNameError, UnreachableError or IntegrityError.
        """
        if parts is not None and (unknown := [part for part in parts if part not in self.parts]):
            raise UnknownNameError(
                f"{self.name} has no part {', '.join(unknown)}",
                f"There are: {', '.join(self.parts)}" if self.parts else "Its data lies in one file: leave parts out",
            )
        return tuple(self._get(file) for file in self.files if parts is None or file.part in parts)

    def path(self) -> Path:
        """Return the only data file. Raises MissingError for data in parts."""
        if len(self.files) > 1:
            raise MissingError(f"The data of {self.name} lies in {len(self.files)} parts", "Use paths()")
        return self.paths()[0]

    def relation(
        self, connection: duckdb.DuckDBPyConnection | None = None, parts: Sequence[str] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Return the rows as a DuckDB relation, in a database in memory unless `connection` is given."""
        return _relation(self.paths(parts), connection)

    def arrow(self, columns: Sequence[str] | None = None, parts: Sequence[str] | None = None) -> pa.Table:
        """Return the rows as an Arrow table; geometry is WKB, and `geo` in its metadata describes all parts."""
        wanted = list(columns) if columns is not None else None
        tables = [pq.ParquetFile(path).read(columns=wanted) for path in self.paths(parts)]
        described = [(table.schema.metadata or {}).get(b"geo") for table in tables]
        try:
            whole = pa.concat_tables([table.replace_schema_metadata(tables[0].schema.metadata) for table in tables])
        except pa.ArrowInvalid as error:
            raise IntegrityError(
                f"The parts of {self.name} have other columns: {error}", "Tell the publisher"
            ) from error
        if len(tables) > 1 and all(described):
            merged = _merged([json.loads(text) for text in described if text])
            whole = whole.replace_schema_metadata(
                {**(whole.schema.metadata or {}), b"geo": json.dumps(merged).encode()}
            )
        return whole

    def geodataframe(
        self, columns: Sequence[str] | None = None, parts: Sequence[str] | None = None
    ) -> geopandas.GeoDataFrame:
        """Return the rows as a GeoDataFrame. Raises MissingError for a table without geometry."""
        try:
            import geopandas  # noqa: PLC0415 - optional
            import pandas as pd  # noqa: PLC0415 - comes with geopandas
        except ImportError as error:
            raise MissingError("geopandas is not installed", "Install d4c-client[geo], or use relation()") from error
        paths = self.paths(parts)
        if b"geo" not in (pq.read_schema(paths[0]).metadata or {}):
            raise MissingError(f"{self.name} is a table without geometry", "Use arrow().to_pandas() or relation()")
        wanted = list(columns) if columns is not None else None
        frames = [geopandas.read_parquet(path, columns=wanted) for path in paths]
        return frames[0] if len(frames) == 1 else geopandas.GeoDataFrame(pd.concat(frames, ignore_index=True))

    def changes(self, connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
        """Return the rows that differ from the release before: kind, columns, key, old and new values.

        Raises MissingError that says why a release has none.
        """
        if asset := self._row["assets"].get("changes"):
            return _relation((self._get(asset_file(asset)),), connection)
        if not any(link["rel"] == "predecessor-version" for link in self._row["links"] or ()):
            raise MissingError(
                f"{self.name} is the first release of its vintage", "There is nothing it could differ from"
            )
        raise MissingError(
            f"{self.name} was published without a file of changes",
            "The pipeline's command makes it from both releases: d4c changes --from EARLIER --to LATER FILE",
        )

    def cite(self, form: str = "text") -> str:
        """Return the citation as `text`, `bibtex`, `ris`, `csl` (JSON) or `cff`, as the catalogue has it.

        A document that cites another release is refused. Warns of a test DOI, which never resolves, and of a withdrawn
        release.
        """
        if self.test_doi:
            warnings.warn(f"{self.doi} is a test DOI, which does not resolve: no citation of use.", D4CWarning, 2)
        if self.withdrawn_at is not None:
            warnings.warn(f"{self.name} was withdrawn: {self.withdrawn_reason}.", D4CWarning, stacklevel=2)
        if form == "text":
            if not self._row["sci:citation"]:
                raise MissingError(f"The catalogue has no citation of {self.name}", "Use another form, such as bibtex")
            return self._row["sci:citation"]
        if form not in _CITATIONS:
            raise MissingError(f"There is no citation '{form}'", f"There are: text, {', '.join(_CITATIONS)}")
        return self._document(f"{_CITATIONS[form]}")

    def verify(self) -> tuple[Verified, ...]:
        """Hash every data file now, and compare with the catalogue and with the release's own list of checksums.

        Files that the cache lacks are fetched. Raises IntegrityError that names every file that differs; a copy of the
        cache that rotted is removed, so that the next use fetches it again.
        """
        differing: list[str] = []
        for file in self.files:
            path = cache.place(self._place.cache, file)
            if path.is_file() and not cache.whole(path, file, again=True):
                path.unlink()
                differing.append(f"the copy in the cache of {file.name} (removed)")
        listed = self._checksums()
        differing += [
            f"{file.name}: {listed.get(file.name, 'not listed')} in checksums.sha256, {file.sha256} in the catalogue"
            for file in self.files
            if listed is not None and listed.get(file.name) != file.sha256
        ]
        if differing:
            raise IntegrityError(f"{self.name} is not as published: {'; '.join(differing)}", "Run verify() again")
        found = [(file, self._get(file)) for file in self.files]
        return tuple(Verified(file.name, path.stat().st_size, cache.digest(path), path) for file, path in found)

    def _checksums(self) -> dict[str, str] | None:
        asset = self._row["assets"].get("checksums")
        if not asset:
            return None
        lines = self._get(asset_file(asset)).read_text("utf-8").splitlines()
        return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    def addresses(self, file: File) -> list[str]:
        """Return every known address of a file of this release: in the mirrors, at the publisher's and at archives."""
        folder = folder_of(self._row)
        own = [mirror.address(f"{folder}/{file.name}") for mirror in self._place.mirrors]
        elsewhere = [address for address in file.addresses if address.startswith(("https://", "http://"))]
        return list(dict.fromkeys([*own, *elsewhere]))

    def hash_uris(self) -> dict[str, str]:
        """Return the content address of each data file by its name, for citations of exact bytes: `hash://sha256/...`."""
        return {file.name: f"hash://sha256/{file.sha256}" for file in self.files}

    def _get(self, file: File) -> Path:
        return cache.get(self._place.cache, file, self.addresses(file), self._place.timeout)

    def _document(self, name: str) -> str:
        failures: list[str] = []
        for mirror in self._place.mirrors:
            address = mirror.address(f"catalogue/{self.dataset}/{self.vintage}/{self.version}/{name}")
            try:
                text = read(address, self._place.timeout).decode("utf-8")
            except (MirrorFailure, UnicodeDecodeError) as failure:
                failures.append(f"{address}: {failure}")
                continue
            # The catalogue states no sha256 of these documents: the facts in them must be those of the row.
            stated = [self.version, *([self.doi] if self.doi and not self.test_doi else [])]
            absent = [fact for fact in stated if not re.search(rf"(?<![\w.]){re.escape(fact)}(?![\w.-])", text)]
            if not absent:
                return text
            failures.append(f"{address}: it does not cite {', '.join(absent)}")
        raise UnreachableError(f"No mirror has {name} of {self.name}: {'; '.join(failures)}", "Use cite('text')")


def _relation(paths: Sequence[Path], connection: duckdb.DuckDBPyConnection | None) -> duckdb.DuckDBPyRelation:
    database = connection or duckdb.connect()
    # Without hive_partitioning=False a folder named a=b above the cache would become a column.
    return database.read_parquet([str(path) for path in paths], hive_partitioning=False)


def _merged(described: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the `geo` metadata of all parts: the box around them, and every type of geometry."""
    whole: dict[str, Any] = json.loads(json.dumps(described[0]))
    for name, column in whole["columns"].items():
        others = [each["columns"][name] for each in described]
        column["geometry_types"] = sorted({kind for other in others for kind in other.get("geometry_types", ())})
        boxes = [other.get("bbox") for other in others]
        if all(boxes) and not any(box[0] > box[len(box) // 2] for box in boxes):
            half = len(boxes[0]) // 2
            column["bbox"] = [
                *(min(box[place] for box in boxes) for place in range(half)),
                *(max(box[place] for box in boxes) for place in range(half, 2 * half)),
            ]
        else:
            column.pop("bbox", None)
    return whole
