"""Native files over HTTP(S): discovered by Last-Modified, observed by HEAD, fetched from the declared mirrors.

Requests are sent by `fetch.web`, files received by `fetch.download` and `fetch.transfers`, lists of mirrors read by
`mirror_list.py`; other protocols have modules of their own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import HttpSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources import files
from d4c_pipeline.sources.content import content_of_marks
from d4c_pipeline.sources.dating import require_dated
from d4c_pipeline.sources.declared import WebSource
from d4c_pipeline.sources.fetch.download import Wanted, known_of
from d4c_pipeline.sources.fetch.formats import with_format
from d4c_pipeline.sources.fetch.heads import mark_of
from d4c_pipeline.sources.fetch.transfers import fetch_all
from d4c_pipeline.sources.mirror_list import Listed, read_mirror_list
from d4c_pipeline.sources.port import Fetched, FileMark, Fingerprint, Progress
from d4c_pipeline.transport.patience import Patience, http_date


class HttpFiles(WebSource[HttpSource]):
    """The files behind declared HTTP(S) addresses (a `Source`, see `port.py`).

    `origins`: origin -> origin that serves it instead. `vintages`: the declared vintages; None if they are discovered:
    then the addresses serve only one vintage, the UTC day of their newest Last-Modified. `folder`: the folder of the
    YAML. `pause` is called with the seconds to wait between attempts.
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
        super().__init__(declared, origins=origins, vintages=vintages, patience=patience, pause=pause)
        self._folder = folder

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return ETag, Last-Modified and length of each file. See `Source.observe`."""
        return Fingerprint(self._marks(vintage))

    def content(self, vintage: Vintage) -> str | None:
        """Return a hash over the members of each zip. See `Source.content`."""
        listed = self._files(vintage)
        return content_of_marks(self._web_of(_mirrors(listed)), [(each.name, each.mirrors[0]) for each in listed])

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch the files of a vintage into `into`. See `Source.fetch`.

        If vintages are discovered, raises SourceError when the source serves a vintage other than `vintage`.
        """
        listed = self._files(vintage)
        place = listed[0].mirrors[0]
        self._require_served(vintage, lambda: served_vintage(self._marks(vintage)), place)
        declared = self._declared.format
        wanted = [
            Wanted(each.mirrors[0], each.name, each.mirrors, each.sha256, known_of(each.mirrors[0], known, declared))
            for each in listed
        ]
        fetched = fetch_all(self._web_of(_mirrors(listed)), wanted, into, progress, pause=self._pause)
        # The source may have published another vintage since the first request.
        marks = [FileMark(file.url, None, file.last_modified, None) for file in fetched]
        self._require_served(vintage, lambda: served_vintage(marks), place)
        return fetched

    def _files(self, vintage: Vintage | None) -> tuple[Listed, ...]:
        """Return the files of a vintage, or the files of all vintages for None."""
        if self._declared.mirror_list is not None:
            listed = read_mirror_list((self._folder or Path()) / self._declared.mirror_list, vintage)
        else:
            mirrors = self._declared.mirrors(vintage or Vintage.parse("1970"))
            names = files.file_names([each[0] for each in mirrors])
            listed = tuple(Listed(name, each) for name, each in zip(names, mirrors, strict=True))
        known = self._declared.sha256
        if unknown := set(known) - {each.name for each in listed}:
            raise SourceError(
                f"sha256 names {', '.join(sorted(unknown))}, which no address serves",
                f"The files are {', '.join(each.name for each in listed)}",
            )
        return tuple(
            Listed(with_format(each.name, self._declared.format), each.mirrors, each.sha256 or known.get(each.name))
            for each in listed
        )

    def _discovered(self) -> tuple[Vintage, ...]:
        return (served_vintage(self._marks(None)),)

    def _addresses(self) -> tuple[str, ...]:
        return _mirrors(self._files(None))

    def _marks(self, vintage: Vintage | None) -> tuple[FileMark, ...]:
        listed = self._files(vintage)
        web = self._web_of(_mirrors(listed))
        return tuple(mark_of(web, each.mirrors[0], each.name, each.mirrors, self._pause) for each in listed)


def _mirrors(listed: Sequence[Listed]) -> tuple[str, ...]:
    return tuple(mirror for each in listed for mirror in each.mirrors)


def served_vintage(marks: Sequence[FileMark]) -> Vintage:
    """Return the UTC day of the newest Last-Modified. Raises SourceError for a missing or implausible date."""
    moments: list[datetime] = []
    for mark in marks:
        moment = http_date(mark.last_modified)
        if moment is None:
            raise SourceError(
                f"{mark.url} states no time of its last modification, so its vintage can't be discovered",
                "List the vintages in the dataset's definition",
            )
        moments.append(require_dated(moment, mark.url))
    return Vintage.of_day(max(moments))
