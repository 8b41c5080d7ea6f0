"""A table of Statistics Canada's Web Data Service: its release, its full CSV, its bilingual metadata.

Listing all tables belongs to `statcan_members.py`, reading CSV and metadata to `processing.statcan`.
Reference of the calls and their codes:
https://www.statcan.gc.ca/en/developers/wds/user-guide
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast
from zoneinfo import ZoneInfo

from d4c_pipeline.model.described import Described
from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import StatCanTableSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources import files
from d4c_pipeline.sources.content import content_of_marks
from d4c_pipeline.sources.dating import minute_of
from d4c_pipeline.sources.declared import WebSource
from d4c_pipeline.sources.fetch.download import Wanted, known_of
from d4c_pipeline.sources.fetch.heads import mark_of
from d4c_pipeline.sources.fetch.transfers import fetch_all
from d4c_pipeline.sources.fetch.web import Web
from d4c_pipeline.sources.port import Fetched, FileMark, Fingerprint, Progress
from d4c_pipeline.sources.statcan_lateness import require_of_release
from d4c_pipeline.transport.patience import HttpStatusError, Patience, persist

_EASTERN = ZoneInfo("America/Toronto")
_BEING_PUBLISHED = frozenset({6, 7})  # codes of a cube that is being published or temporarily unavailable


def release_vintage(text: str) -> Vintage:
    """Return the vintage of a release time, to the minute in UTC. Raises the errors of `release_time`."""
    return Vintage.parse(f"{release_time(text).astimezone(UTC):%Y-%m-%dT%H%M}")


def release_time(text: str) -> datetime:
    """Return the moment of a release.

    The service writes UTC with a zone (`2025-06-11T12:30:00Z`), and Eastern time without (`2025-06-11T08:30`). Raises
    SourceError for any other text.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SourceError(f"'{text}' is not a release time", "Report this bug: the service changed") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=_EASTERN)


class StatCanTable(WebSource[StatCanTableSource]):
    """A table (a `Source`, see `port.py`). Its only vintage is its newest release."""

    def __init__(
        self,
        declared: StatCanTableSource,
        *,
        origins: Mapping[str, str],
        patience: Patience | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(declared, origins=origins, patience=patience, pause=pause)
        self._url = f"{declared.service}/getCubeMetadata/{declared.table}"
        self._zips: dict[str, str] = {}

    def _addresses(self) -> tuple[str, ...]:
        return (self._declared.service,)

    def _discovered(self) -> tuple[Vintage, ...]:
        return (self._released(self._metadata()),)

    @property
    def document(self) -> str | None:
        """Return the address of the metadata. See `Source.document`."""
        return self._url

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return release time and corrections, and the server's mark of each zip. See `Source.observe`.

        Corrections follow a release without a new release time: in the metadata, in the zip, or in both.
        """
        metadata = self._metadata()
        stated = FileMark(self._url, _corrections(metadata), str(metadata["releaseTime"]), None)
        zips = (
            mark_of(self._web, url, name, (url,), self._pause)
            for name, url in ((self._name(language), self._address(language)) for language in self._declared.languages)
        )
        return Fingerprint((stated, *zips))

    def content(self, vintage: Vintage) -> str | None:
        """Return a hash over the members of the zips. See `Source.content`."""
        return content_of_marks(
            self._web, [(self._name(language), self._address(language)) for language in self._declared.languages]
        )

    def describe(self, vintage: Vintage) -> Described | None:
        """Return the table's titles."""
        metadata = self._metadata()
        titles = str(metadata.get("cubeTitleEn") or ""), str(metadata.get("cubeTitleFr") or "")
        return Described(titles, ("", ""), ((), ()))

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch the full CSV in each declared language, and the metadata. See `Source.fetch`.

        Raises TransientError for a zip that is older than the release, as it is for some hours after it.
        """
        metadata = self._metadata()
        place = f"Table {self._declared.table}"
        self._require_served(vintage, lambda: self._released(metadata), place)
        wanted: list[Wanted] = []
        for language in self._declared.languages:
            url = self._address(language)
            wanted.append(Wanted(url, self._name(language), (url,), known=known_of(url, known)))
        tables = fetch_all(self._web, wanted, into, progress, pause=self._pause)
        # A release during the fetch would mix files of two releases.
        self._require_served(vintage, lambda: self._released(self._metadata()), place)
        declared = self._declared
        require_of_release(declared.table, metadata, _released_at(metadata), tables, fewer_rows=declared.fewer_rows)
        content = json.dumps(metadata, ensure_ascii=False, sort_keys=True).encode()
        document = files.write_document(
            into, f"{self._declared.table}.json", self._url, content, last_modified=str(metadata["releaseTime"])
        )
        return (*tables, replace(document, etag=_corrections(metadata)))

    def _released(self, metadata: Mapping[str, Any]) -> Vintage:
        # A release is announced before its time: until then the zip is that of the previous release.
        return minute_of(_released_at(metadata), f"The release of table {self._declared.table}")

    def _name(self, language: str) -> str:
        return f"{self._declared.table}-{_suffix(language)}.zip"

    def _metadata(self) -> dict[str, Any]:
        """Return the current metadata of the table."""
        table = self._declared.table
        body = json.dumps([{"productId": int(table)}]).encode()
        answer = self._call("getCubeMetadata", body)
        found = _unwrapped(answer[0] if isinstance(answer, list) and answer else answer, f"table {table}")
        if not isinstance(found, dict) or "releaseTime" not in found:
            raise SourceError(f"The service has no metadata of table {table}", "Correct the number of the table")
        return cast("dict[str, Any]", found)

    def _address(self, language: str) -> str:
        """Return the address of a zip, requested once: it is the same for every release."""
        if language not in self._zips:
            self._zips[language] = self._requested_address(language)
        return self._zips[language]

    def _requested_address(self, language: str) -> str:
        answer = self._call(f"getFullTableDownloadCSV/{self._declared.table}/{language}")
        address = _unwrapped(answer, f"table {self._declared.table}")
        if not isinstance(address, str) or not address.startswith(("https://", "http://")):
            raise SourceError(
                f"The service states no file of table {self._declared.table}", "Correct the number of the table"
            )
        return address

    def _call(self, path: str, body: bytes | None = None) -> Any:
        url = f"{self._declared.service}/{path}"
        web = self._web
        return persist(partial(_call, web, url, body), web.label(url), web.patience, self._pause)


def _call(web: Web, url: str, body: bytes | None) -> Any:
    try:
        answer = web.json_once(url, body=body)
    except HttpStatusError as error:
        if error.status != 409:
            raise
        raise _being_updated(url) from error
    if _code(answer) in _BEING_PUBLISHED:
        raise _being_updated(url)
    return answer


def _being_updated(url: str) -> TransientError:
    return TransientError(
        f"{url} reports that the table is being updated", "Try again later; releases are at 8:30 Eastern time"
    )


def _code(answer: Any) -> int | None:
    first = cast("list[Any]", answer)[0] if isinstance(answer, list) and answer else cast("Any", answer)
    inner = cast("dict[str, Any]", first).get("object") if isinstance(first, dict) else None
    if not isinstance(inner, dict):
        return None
    code = cast("dict[str, Any]", inner).get("responseStatusCode")
    return int(code) if code is not None else None


def _unwrapped(answer: Any, what: str) -> Any:
    """Return the `object` of the service's envelope, which also has a `status`. Raises SourceError for a refusal."""
    document = cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}
    inner = document.get("object")
    if document.get("status") != "SUCCESS" or _code(document) not in (None, 0):
        raise SourceError(
            f"The service refuses {what} ({inner if isinstance(inner, str) else 'no such table'})",
            "Correct the number of the table",
        )
    return inner


def _released_at(metadata: Mapping[str, Any]) -> datetime:
    return release_time(str(metadata["releaseTime"]))


def _corrections(metadata: Mapping[str, Any]) -> str:
    """Return a digest of the changes after a release: corrections, footnotes and the date of issue."""
    names = ("correction", "correctionFootnote", "issueDate")
    stated: dict[str, Any] = {name: metadata.get(name) or None for name in names}
    return f"corrections {hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:16]}"


def _suffix(language: str) -> str:
    return {"en": "eng", "fr": "fra"}[language]
