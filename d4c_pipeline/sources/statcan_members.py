"""Listings of Statistics Canada's Web Data Service: all tables in one request, a day's releases in another.

Data and metadata of a table belong to `statcan_table.py`.
Reference: https://www.statcan.gc.ca/en/developers/wds/user-guide
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from typing import Any, cast

from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.model.sources import StatCanTableSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.fetch.web import web_of
from d4c_pipeline.sources.members import Listed
from d4c_pipeline.sources.statcan_table import release_vintage
from d4c_pipeline.transport.patience import Patience

_NOTHING_RELEASED = (404, 409)  # statuses for a day without releases
_ARCHIVED = "1"


class StatCanMembers:
    """The tables of the service (`Members`, see `members.py`); a key is a product id, eight digits."""

    def __init__(self, service: str, *, origins: Mapping[str, str], patience: Patience | None = None) -> None:
        self._service = service.rstrip("/")
        shape = StatCanTableSource(kind="statcan_table", table="10100001", service=self._service)
        self._web = web_of((self._service,), shape, origins=origins, patience=patience)

    def listed(self) -> tuple[Listed, ...]:
        """Return all tables, by getAllCubesListLite. See `Members.listed`."""
        url = f"{self._service}/getAllCubesListLite"
        answer = self._web.json(url)
        if not isinstance(answer, list):
            raise _changed_shape(url)
        return tuple(_listed(cube, url) for cube in cast("list[dict[str, Any]]", answer))

    def changed(self, day: date) -> dict[str, Vintage]:
        """Return the tables released on a day, Eastern time, by getChangedCubeList. See `Members.changed`.

        Empty for a day without releases, and for a day whose releases are still withheld.
        """
        url = f"{self._service}/getChangedCubeList/{day.isoformat()}"
        answer = self._web.json(url, passing=_NOTHING_RELEASED)
        found = cast("dict[str, Any]", answer).get("object") if isinstance(answer, dict) else None
        if isinstance(found, str):
            return {}  # a sentence instead of a list
        if not isinstance(found, list):
            raise _changed_shape(url)
        released = [_listed(cube, url) for cube in cast("list[dict[str, Any]]", found)]
        return {each.key: each.vintage for each in released}


def _listed(cube: Mapping[str, Any], url: str) -> Listed:
    try:
        # A number in one call, a text in another; the last two of ten digits number a view.
        key = str(cube["productId"]).strip()[:8]
        released = str(cube["releaseTime"])
    except (KeyError, TypeError) as error:
        raise _changed_shape(url) from error
    vintage = release_vintage(released)
    return Listed(
        key=key,
        vintage=vintage,
        facts={"title_en": str(cube.get("cubeTitleEn") or ""), "title_fr": str(cube.get("cubeTitleFr") or "")},
        archived=str(cube.get("archived") or cube.get("archiveStatusCode") or "") == _ARCHIVED,
        corrections=_corrections(cube, vintage),
    )


def _corrections(cube: Mapping[str, Any], released: Vintage) -> str | None:
    """Return a digest of the corrections since the release, which includes earlier corrections."""
    listed = cast("list[dict[str, Any]]", cube.get("corrections") or cube.get("correction") or [])
    since = [each for each in listed if str(each.get("correctionDate") or "")[:10] >= f"{released.start:%Y-%m-%d}"]
    return hashlib.sha256(json.dumps(since, sort_keys=True).encode()).hexdigest() if since else None


def _changed_shape(url: str) -> SourceError:
    return SourceError(f"{url} returned no list of tables", "Try again later")
