"""Finds the release of a subset in the index of the catalogue, and its files in the primary store.

The rule of `latest` and of `1.*` belongs here; reading files belongs to `source`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import duckdb

from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, release_address
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.stores.port import Store

LATEST = "latest"
_FACTS = (
    "id",
    "doi",
    "d4c:test_doi",
    "licence",
    "title",
    "rows",
    "sci:citation",
    "data_urls",
    "sha256",
    "withdrawn_reason",
    "d4c:parts",
)


@dataclass(frozen=True)
class Named:
    """A release by the facts that name it."""

    name: str
    dataset: str
    vintage: str
    version: str


@dataclass(frozen=True)
class Chosen(Named):
    """A release and its data: `files` are paths on this machine or addresses, `urls` are the public addresses.

    `sha256` is that of the file, or of the list of the parts' digests. A `test_doi` resolves nowhere.
    """

    files: tuple[str, ...]
    urls: tuple[str, ...]
    rows: int
    sha256: str
    doi: str | None = None
    test_doi: bool = False
    licence: str | None = None
    title: str | None = None
    citation: str | None = None


def named_release(cursor: duckdb.DuckDBPyConnection, dataset: str, vintage: str | None, version: str) -> Named:
    """Return the release that a request names; its files need not be there.

    Without a vintage the newest vintage that has such a version counts. `version`: `latest` (the newest), `1.*` or
    `1.2.*` (the newest of these), or an exact version. Raises ProblemError: 404 for an unknown name, 410 for an exact
    version that is withdrawn, 400 for a version that is none of these.
    """
    facts = _facts(cursor, _position(cursor, dataset, vintage, version))
    return Named(facts["id"], facts["dataset"], facts["vintage"], facts["version"])


def chosen_release(
    cursor: duckdb.DuckDBPyConnection, store: Store, dataset: str, vintage: str | None, version: str
) -> Chosen:
    """Return the release that a request names, with its files.

    Raises ProblemError as `named_release`, and 503 where a file is missing from a store on this machine.
    """
    facts = _facts(cursor, _position(cursor, dataset, vintage, version))
    urls = tuple(facts["data_urls"] or ())
    parts: Sequence[dict[str, Any]] = facts["d4c:parts"] or ()
    digests = [part["sha256"] for part in parts] or [facts["sha256"]]
    return Chosen(
        name=facts["id"],
        dataset=facts["dataset"],
        vintage=facts["vintage"],
        version=facts["version"],
        files=tuple(_place(store, facts, url) for url in urls),
        urls=urls,
        rows=facts["rows"] or 0,
        sha256=digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        doi=facts["doi"],
        test_doi=bool(facts["d4c:test_doi"]),
        licence=facts["licence"],
        title=facts["title"],
        citation=facts["sci:citation"],
    )


def _position(cursor: duckdb.DuckDBPyConnection, dataset: str, vintage: str | None, version: str) -> int:
    matches = _matcher(version)
    found = cursor.execute(
        "SELECT position, vintage, version, withdrawn_reason IS NOT NULL FROM releases WHERE dataset = ?", [dataset]
    ).fetchall()
    if not found:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"No dataset is called {dataset}", "List the datasets: /search")
    wanted = _vintage(vintage)
    rows = [
        (Vintage.parse(row[1]), Version.read(row[2]), row[0], row[3])
        for row in found
        if (wanted is None or Vintage.parse(row[1]) == wanted) and matches(Version.read(row[2]))
    ]
    exact = version != LATEST and "*" not in version
    rows = rows if exact else [row for row in rows if not row[3]]
    if not rows:
        of = f" of vintage {vintage}" if vintage else ""
        vintages = sorted({str(row[1]) for row in found})
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            f"{dataset} has no release{of} with version {version}",
            f"Its vintages are {', '.join(vintages[-20:])}; its versions are at catalogue/{dataset}/versions.json",
        )
    return max(rows, key=lambda row: row[:2])[2]


def _facts(cursor: duckdb.DuckDBPyConnection, position: int) -> dict[str, Any]:
    names = ", ".join(f'"{name}"' for name in ("dataset", "vintage", "version", *_FACTS))
    row = cursor.execute(f"SELECT {names} FROM releases WHERE position = ?", [position]).fetchone()
    if row is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "The release left the catalogue", "Ask again")
    facts: dict[str, Any] = dict(zip(("dataset", "vintage", "version", *_FACTS), row, strict=True))
    if facts["withdrawn_reason"] is not None:
        raise ProblemError(
            HTTPStatus.GONE,
            f"{facts['id']} is withdrawn: {facts['withdrawn_reason']}",
            "Ask for version latest",
        )
    return facts


def _place(store: Store, facts: dict[str, Any], url: str) -> str:
    """Return the path of a file if the store is on this machine, else its address."""
    # The store's address may have changed since the catalogue was written; addresses in a store never do.
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    vintage, version = Vintage.parse(facts["vintage"]), Version.read(facts["version"])
    return place_of(store, release_address(facts["dataset"], vintage, version, name))


def place_of(store: Store, address: str) -> str:
    """Return the path of the file at `address` if the store is on this machine, else its URL.

    Raises ProblemError (503) where a file is missing from a store on this machine.
    """
    local = store.local_path(address)
    if local is not None:
        return str(local)
    if store.local_path(CATALOGUE_PARQUET) is not None:  # a folder: no other server has the file
        name = PurePosixPath(address).name
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE, f"{name} is not in the store", "Tell the operator: d4c fixity repairs it"
        )
    return store.url(address)


def _vintage(text: str | None) -> Vintage | None:
    if text is None:
        return None
    try:
        return Vintage.parse(text)
    except PermanentError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, error.cause, error.remedy) from error


class _matcher:  # noqa: N801 - used as a function
    """Whether a version is one that the text names."""

    def __init__(self, text: str) -> None:
        self._any = text == LATEST
        self._prefix: tuple[int, ...] = ()
        self._exact: Version | None = None
        if self._any:
            return
        head, star, rest = text.partition(".*")
        try:
            if star and not rest and all(part.isdecimal() for part in head.split(".")) and head.count(".") < 2:
                self._prefix = tuple(int(part) for part in head.split("."))
            elif text == "*":
                self._any = True
            else:
                self._exact = Version.read(text)
        except PermanentError as error:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST, f"version is '{text}'", "Send latest, 1.*, 1.2.* or a version such as 1.2.0"
            ) from error

    def __call__(self, version: Version) -> bool:
        if self._prefix:
            return version.to_tuple()[: len(self._prefix)] == self._prefix
        return self._any or version == self._exact
