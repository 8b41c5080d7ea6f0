"""Native files over HTTP(S): discovered by Last-Modified, observed by HEAD, fetched from the declared mirrors.

Requests are sent by `fetch.web`, files received by `fetch.download` and `fetch.transfers`, lists of mirrors read by
`mirror_list.py`; other protocols have modules of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from d4c_pipeline.model.described import Described
from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import HttpSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.content import content_of_marks
from d4c_pipeline.sources.dating import require_dated
from d4c_pipeline.sources.fetch import arrived_files
from d4c_pipeline.sources.fetch.download import HEALTH, Wanted
from d4c_pipeline.sources.fetch.formats import with_format
from d4c_pipeline.sources.fetch.heads import read_mark
from d4c_pipeline.sources.fetch.transfers import fetch_all
from d4c_pipeline.sources.fetch.web import Web, web_of
from d4c_pipeline.sources.mirror_list import Listed, read_mirror_list
from d4c_pipeline.sources.port import Fetched, FileMark, Fingerprint, Progress
from d4c_pipeline.transport.patience import Patience, http_date, persist


class HttpFiles:
    """The files behind declared HTTP(S) addresses (a `Source`, see `port.py`).

    `origins`: origin -> origin that serves it instead. `vintages`: the declared ones; None when they are discovered,
    which means that the addresses only ever serve one vintage, the UTC day of their newest Last-Modified. `folder`:
    of the YAML. `pause` is called with the seconds to wait between attempts.
    """

    def __init__(
        self,
        declared: HttpSource,
        *,
        origins: Mapping[str, str],
        vintages: Sequence[Vintage] | None = None,
        folder: Path | None = None,
        patience: Patience | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._declared = declared
        self._origins = origins
        self._vintages = None if vintages is None else tuple(vintages)
        self._folder = folder
        self._patience = patience
        self._pause = pause

    @property
    def document(self) -> str | None:
        """Return None. See `Source.document`."""
        return None

    def discover(self) -> tuple[Vintage, ...]:
        """Return the declared vintages, or the one that the source serves now. See `Source.discover`."""
        if self._vintages is not None:
            return self._vintages
        return (served_vintage(self._marks(None)),)

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return ETag, Last-Modified and length of each file. See `Source.observe`."""
        return Fingerprint(self._marks(vintage))

    def content(self, vintage: Vintage) -> str | None:
        """Return a hash over the members of each zip. See `Source.content`."""
        listed = self._files(vintage)
        return content_of_marks(self._web(listed), [(each.name, each.mirrors[0]) for each in listed])

    def describe(self, vintage: Vintage) -> Described | None:
        """Return None: an address says nothing about what it serves."""
        return None

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch the files of a vintage into `into`. See `Source.fetch`.

        Where vintages are discovered, raises SourceError when the source serves another one than `vintage`.
        """
        listed = self._files(vintage)
        if self._vintages is None:
            self._require_served(vintage, self._marks(vintage))
        declared = self._declared.format
        wanted = [
            Wanted(each.mirrors[0], each.name, each.mirrors, each.sha256, known_of(each.mirrors[0], known, declared))
            for each in listed
        ]
        fetched = fetch_all(self._web(listed), wanted, into, progress, pause=self._pause)
        if self._vintages is None:  # the source may have moved on since it was asked
            marks = [FileMark(one.url, None, one.last_modified, None) for one in fetched]
            self._require_served(vintage, marks)
        return fetched

    def _files(self, vintage: Vintage | None) -> tuple[Listed, ...]:
        """The files of a vintage; of None where no address names one."""
        if self._declared.mirror_list is not None:
            listed = read_mirror_list((self._folder or Path()) / self._declared.mirror_list, vintage)
        else:
            mirrors = self._declared.mirrors(vintage or Vintage.parse("1970"))
            names = arrived_files.file_names([each[0] for each in mirrors])
            listed = tuple(Listed(name, each) for name, each in zip(names, mirrors, strict=True))
        known = self._declared.sha256
        if unknown := set(known) - {each.name for each in listed}:
            raise SourceError(
                f"sha256 names {', '.join(sorted(unknown))}, which no address delivers",
                f"The files are {', '.join(each.name for each in listed)}",
            )
        return tuple(
            Listed(with_format(each.name, self._declared.format), each.mirrors, each.sha256 or known.get(each.name))
            for each in listed
        )

    def _web(self, listed: Sequence[Listed]) -> Web:
        return web_of(
            tuple(mirror for each in listed for mirror in each.mirrors),
            origins=self._origins,
            patience=self._patience,
            per_host=self._declared.per_host,
            timeouts=self._declared.timeouts,
            authorization=self._declared.authorization,
            user_agent=self._declared.user_agent,
            public_only=not self._declared.private_addresses,
        )

    def _require_served(self, vintage: Vintage, marks: Sequence[FileMark]) -> None:
        served = served_vintage(marks)
        if served != vintage:
            raise SourceError(
                f"The source serves vintage {served} now, not {vintage}: {marks[0].url}",
                f"Publish vintage {served}; an earlier one is only left where its native files were retained",
            )

    def _marks(self, vintage: Vintage | None) -> tuple[FileMark, ...]:
        listed = self._files(vintage)
        web = self._web(listed)
        return tuple(mark_of(web, each.mirrors[0], each.name, each.mirrors, self._pause) for each in listed)


def mark_of(
    web: Web, url: str, name: str, mirrors: tuple[str, ...], pause: Callable[[float], None] = time.sleep
) -> FileMark:
    """Return what the healthiest of `mirrors` says of a file, without its body; raises what `persist` raises."""
    asked = HEALTH.order(mirrors)[0]
    mark = persist(partial(read_mark, web, asked, name), web.label(asked), web.patience, pause)
    return FileMark(url, mark.etag, mark.last_modified, mark.length)


def known_of(url: str, known: Sequence[NativeFile], declared: str | None = None) -> NativeFile | None:
    """Return the file of an address that was retained last and can be recognised.

    `declared`: the format, if it is; what was retained under a name that does not say it is fetched again.
    """
    found = [
        file
        for file in known
        if file.url == url and (file.etag or file.last_modified) and with_format(file.name, declared) == file.name
    ]
    return found[-1] if found else None


def served_vintage(marks: Sequence[FileMark]) -> Vintage:
    """Return the UTC day of the newest Last-Modified. Raises SourceError when a file has none, or none to believe."""
    moments: list[datetime] = []
    for mark in marks:
        moment = http_date(mark.last_modified)
        if moment is None:
            raise SourceError(
                f"{mark.url} does not say when it was last modified, so its vintage can't be discovered",
                "List the vintages in the dataset's definition",
            )
        moments.append(require_dated(moment, mark.url))
    return Vintage.of_day(max(moments))
