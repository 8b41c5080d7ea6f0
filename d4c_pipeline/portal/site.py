"""Builds the portal's folder: renders the pages whose inputs changed, and removes pages whose release is gone.

A file is written under a temporary name and renamed, and recorded after that: a killed build continues where it
stopped. The pages of datasets come first; the lists, the documents of the search and the home page come last, so that
every link in them leads to a page.
"""

from __future__ import annotations

import filecmp
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from d4c_pipeline.files.disk import storage_errors, write_file, write_files
from d4c_pipeline.metadata.published import TONGUES
from d4c_pipeline.portal import addresses
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.portal.facts import DatasetFacts, ReleaseFacts, SiteFacts
from d4c_pipeline.portal.pages import Page, Pages
from d4c_pipeline.portal.state import Settled, State
from d4c_pipeline.portal.views.overview import Card, card

_PAGES, _BYTES = 512, 16_000_000  # that are written together


@dataclass(frozen=True)
class Built:
    """The result of a build: pages in the folder, pages written and removed by this build."""

    pages: int
    written: int
    removed: int


class Site:
    """A build of the portal in `folder`."""

    def __init__(self, folder: Path, state: State, site: SiteFacts, bundle: Bundle) -> None:
        self._folder, self._state, self._bundle = folder, state, bundle
        self._pages = Pages(site, bundle)
        self._written = self._removed = 0
        self._waiting: list[Page] = []
        self._settled: list[Settled] = []

    @property
    def form(self) -> str:
        """A digest of templates, words, code and settings: with another form every page is rendered again."""
        return self._pages.form

    def changed(self, marks: Mapping[str, str]) -> list[str]:
        """Return the datasets whose pages are not those of `marks` (dataset -> a digest of its facts), sorted."""
        built = self._state.marks()
        return sorted(name for name, mark in marks.items() if built.get(name) != self._mark(mark))

    def dataset(self, mark: str, releases: Sequence[ReleaseFacts], about: DatasetFacts | None = None) -> None:
        """Bring the pages of a dataset up to date; `releases`: all, the newest first; `about`: of the dataset.

        Pages of several datasets are written together: `flush` writes the last ones.
        """
        newest = releases[0]
        name = newest.published.dataset
        before, now = self._state.pages(name), dict[str, str]()
        changed = [*self._release(newest, before, now, about or DatasetFacts())]
        for facts in releases:
            changed += self._release(facts, before, now)
        if len(releases) > 1:
            files = [addresses.file_of(addresses.versions(language, name)) for language in TONGUES]
            changed += self._changed(files, self._fingerprint(newest), before, now, self._pages.versions(newest))
        self._waiting += changed
        gone = before.keys() - now.keys()
        self._settled.append(Settled(name, self._mark(mark), card(newest).to_json(), now, gone))
        if len(self._waiting) >= _PAGES or sum(len(content) for _, content in self._waiting) >= _BYTES:
            self.flush()

    def flush(self) -> None:
        """Write the pages that wait, then record their datasets as built."""
        write_files([(self._folder / file, content) for file, content in self._waiting])
        self._written += len(self._waiting)
        for each in self._settled:
            self._remove(each.gone)
        self._state.settle(self._settled)
        self._waiting, self._settled = [], []

    @property
    def counts(self) -> tuple[int, int]:
        """Pages written and removed so far."""
        return self._written, self._removed

    def finish(self, datasets: Iterable[str]) -> Built:
        """Remove the pages of all other datasets, then write assets, lists, the documents of the search and home."""
        self.flush()
        wanted = set(datasets)
        for name in self._state.marks().keys() - wanted:
            self._remove(self._state.pages(name))
            self._state.forget(name)
        self._assets()
        cards = [Card.from_json(each) for each in self._state.cards()]
        before, now = self._state.pages(""), dict[str, str]()
        for page in self._pages.long_lists(cards):
            now[page.file] = hashlib.sha256(f"{self.form} {page.shows!r}".encode()).hexdigest()
            self._write(page.file, page.render, before.get(page.file) != now[page.file])
        for file, content in self._overview(cards):
            now[file] = hashlib.sha256(content).hexdigest()
            self._write(file, lambda content=content: content, before.get(file) != now[file])
        gone = before.keys() - now.keys()
        self._remove(gone)
        self._state.record("", now, gone)
        return Built(self._state.count(), self._written, self._removed)

    def _write(self, file: str, render: Callable[[], bytes], changed: bool) -> None:
        """Write a page over all datasets if it changed or is lost."""
        if changed or not (self._folder / file).exists():
            write_file(self._folder / file, render())
            self._written += 1

    def _overview(self, cards: Sequence[Card]) -> Iterator[Page]:
        yield from self._pages.lists(cards)
        yield self._pages.documents(cards)
        yield from self._pages.home(cards)

    def _release(
        self, facts: ReleaseFacts, before: Mapping[str, str], now: dict[str, str], about: DatasetFacts | None = None
    ) -> Iterator[Page]:
        """Yield the pages of a release if they changed; with `about` those of its dataset, which show the release."""
        published = facts.published
        files = [
            addresses.file_of(
                addresses.dataset(language, published.dataset)
                if about is not None
                else addresses.release(language, published.dataset, published.vintage, published.version)
            )
            for language in TONGUES
        ]
        pages = self._pages.release(facts, about)
        return self._changed(files, self._fingerprint(facts, about), before, now, pages)

    def _changed(
        self,
        files: Sequence[str],
        fingerprint: str,
        before: Mapping[str, str],
        now: dict[str, str],
        pages: Iterable[Page],
    ) -> Iterator[Page]:
        """Yield the pages unless all of their files exist with this fingerprint; `pages` renders when it is read."""
        now |= dict.fromkeys(files, fingerprint)
        if all(before.get(file) == fingerprint and (self._folder / file).exists() for file in files):
            return
        yield from pages

    def _fingerprint(self, facts: ReleaseFacts, about: DatasetFacts | None = None) -> str:
        return hashlib.sha256(f"{self.form} {facts!r} {about!r}".encode()).hexdigest()

    def _mark(self, mark: str) -> str:
        return hashlib.sha256(f"{self.form} {mark}".encode()).hexdigest()

    def _remove(self, files: Iterable[str]) -> None:
        """Remove files, and the folders that they leave empty."""
        with storage_errors("remove pages"):
            for file in files:
                path = self._folder / file
                path.unlink(missing_ok=True)
                self._removed += 1
                for folder in path.parents:
                    if folder == self._folder or not folder.is_dir() or any(folder.iterdir()):
                        break
                    folder.rmdir()

    def _assets(self) -> None:
        """Copy the bundle. Old files stay for readers with an old page open, until the next build of another bundle."""
        folder = self._folder / addresses.ASSETS
        with storage_errors("write the portal's assets"):
            folder.mkdir(parents=True, exist_ok=True)
            for path in self._bundle.files:
                target = folder / path.name
                # Other files have a hash of their content in their name.
                if not target.exists() or (path.name == "licences.txt" and not filecmp.cmp(path, target)):
                    part = target.with_name(f".{path.name}.part")
                    shutil.copyfile(path, part)
                    part.replace(target)
            for name, content in self._bundle.plain.items():
                write_file(folder / name, content)
