"""Renders the pages: templates, words and views become the bytes of HTML files. Writing them belongs to `site`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined
from jinja2.bccache import Bucket
from markupsafe import Markup

from d4c_pipeline.catalogue.feeds import Feed
from d4c_pipeline.metadata.published import TONGUES, Tongue
from d4c_pipeline.metadata.records.documents import json_document, shortened
from d4c_pipeline.portal import addresses
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.portal.facts import DatasetFacts, ReleaseFacts, SiteFacts
from d4c_pipeline.portal.policy import policy
from d4c_pipeline.portal.views import overview
from d4c_pipeline.portal.views.about import about_page
from d4c_pipeline.portal.views.overview import Card, Listed, TorrentsOfDataset
from d4c_pipeline.portal.views.release import ReleasePage, headline, records, release_page, summary, version_row
from d4c_pipeline.portal.words import FOLDER, Words

TEMPLATES = Path(__file__).parent / "templates"
_LONGEST_HEAD = 70  # characters that a search engine shows
Page = tuple[str, bytes]
"""The file of a page below the portal's folder, and its bytes."""


@dataclass(frozen=True)
class Unrendered:
    """A page that is rendered only if what it shows has changed. `shows`: all facts that `render` gets."""

    file: str
    shows: object
    render: Callable[[], bytes]


class _Environment(Environment):
    """In templates, `t.copy` is the text of that key, not the method of the mapping."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


class _CompiledTemplates(BytecodeCache):
    """The compiled templates of this process, for the environments of all languages and builds (0.4 s each)."""

    def __init__(self) -> None:
        self._code: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._code[bucket.key, bucket.checksum] = bucket.code


_COMPILED = _CompiledTemplates()


def compile_templates() -> None:
    """Compile all templates and read the texts of each language, so that forks of this process need not (0.5 s)."""
    for language in TONGUES:
        Words.of(language)
    environment = _new_environment()
    for name in environment.list_templates():
        environment.get_template(name)


def _new_environment() -> Environment:
    environment = _Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        bytecode_cache=_COMPILED,
    )
    environment.filters["json"] = lambda value: Markup(json_document(value).decode().rstrip())  # noqa: S704
    return environment


class Pages:
    """The pages of a site in both languages."""

    def __init__(self, site: SiteFacts, bundle: Bundle) -> None:
        self._site, self._bundle = site, bundle
        self._last: tuple[ReleaseFacts, dict[Tongue, ReleasePage]] | None = None
        self._words: dict[Tongue, Words] = {language: Words.of(language) for language in TONGUES}
        # One for each language, so that the macros see its texts and are made once instead of for each page.
        self._environments = {language: self._environment(words) for language, words in self._words.items()}

    def _environment(self, words: Words) -> Environment:
        environment = _new_environment()
        environment.globals |= {
            "lang": words.language,
            "t": words.texts,
            "asset": self._asset,
            "has": lambda name: name in self._bundle.names,
            "stored": self._site.stored,
            "root": self._site.root,
            "url": self._site.url,
            "suggest": self._site.suggest,
            "publisher": self._site.publisher_in(words.language),
            "policy": policy(map(addresses.origin, self._site.store_urls)),
        }
        return environment

    @cached_property
    def form(self) -> str:
        """A digest of all that pages are made with, except facts: templates, words, bundle, site, code of the views."""
        digest = hashlib.sha256(repr((self._site, sorted(self._bundle.names.items()))).encode())
        code = Path(__file__).parent
        for path in sorted(
            [*TEMPLATES.iterdir(), *FOLDER.glob("*.yaml"), *code.glob("*.py"), *code.glob("views/*.py")]
        ):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def release(self, facts: ReleaseFacts, about: DatasetFacts | None = None) -> Iterator[Page]:
        """Yield a release's page in both languages; with `about` at the address of its dataset, with these facts."""
        published = facts.published
        for language, view in self._views(facts).items():
            own: dict[Tongue, str] = {
                each: addresses.release(each, published.dataset, published.vintage, published.version)
                for each in TONGUES
            }
            if about is not None:
                own = {each: addresses.dataset(each, published.dataset) for each in TONGUES}
            feed = Feed("releases", language, "", dataset=published.dataset)
            script = {
                **view.script,
                "base": self._asset("base.pmtiles"),
                "mapSheet": self._asset("maplibre-gl.css"),
                "mapWorker": self._asset("maplibre-gl-worker.js"),
                "sqlWorker": self._asset("sql-worker.js"),
            }
            yield self._page(
                "release.html",
                language,
                own,
                section="datasets",
                title=view.title,
                summary=view.summary,
                r=view,
                about=about and about_page(about, self._site, self._words[language]),
                release_script=script,
                dataset_feed=self._site.stored(feed.address(".atom")),
                versions_path=addresses.versions(language, published.dataset),
            )

    def _views(self, facts: ReleaseFacts) -> dict[Tongue, ReleasePage]:
        """Return the views of a release; those of the last one are kept, since a dataset shows its newest release."""
        if self._last is not None and self._last[0] is facts:
            return self._last[1]
        known, views = records(facts), dict[Tongue, ReleasePage]()
        for language, words in self._words.items():
            views[language] = release_page(facts, self._site, words, known)
        self._last = facts, views
        return views

    def versions(self, facts: ReleaseFacts) -> Iterator[Page]:
        """Yield the comparison of a dataset's versions; `facts` are those of its newest release."""
        name = facts.published.dataset
        for language, words in self._words.items():
            title, text = headline(facts, words)
            yield self._page(
                "versions.html",
                language,
                {each: addresses.versions(each, name) for each in TONGUES},
                section="datasets",
                title=words["versions"]["title"].format(title=title),
                summary=summary(text),
                name=title,
                dataset_path=addresses.dataset(language, name),
                versions=[version_row(each, self._site, words, current=False) for each in facts.versions],
            )

    def long_lists(self, cards: Sequence[Card]) -> Iterator[Unrendered]:
        """Yield the pages that grow with the number of datasets: the list, and the torrents."""
        listed, shared = tuple(card.listed for card in cards), tuple(card.shared for card in cards)
        last = max(1, -(-len(listed) // overview.PAGE))
        for language in TONGUES:
            for number in range(1, last + 1):
                some = listed[(number - 1) * overview.PAGE : number * overview.PAGE]
                file = addresses.file_of(addresses.datasets(language, number))
                shows = (some, number, last, len(listed))
                yield Unrendered(file, shows, partial(self._datasets, language, *shows))
            file = addresses.file_of(f"{language}/torrents/")
            yield Unrendered(file, shared, partial(self._torrents, language, shared))

    def lists(self, cards: Sequence[Card]) -> Iterator[Page]:
        """Yield the other pages over all datasets except home and the choice of language, which come last."""
        for language, words in self._words.items():
            path: dict[Tongue, str] = {each: f"{each}/status/" for each in TONGUES}
            status = overview.status(cards, words)
            lead = words["status_page"]["lead"]
            yield self._page(
                "status.html", language, path, section="status", title=words["status"], summary=lead, status=status
            )
            uses = words["use_page"]
            yield self._page(
                "text.html",
                language,
                {each: f"{each}/use/" for each in TONGUES},
                section="use",
                title=words["use"],
                summary=uses["lead"],
                parts=uses["parts"],
                query=self._query,
                link=None,
            )
            lost = words["not_found"]
            yield self._page(
                "text.html",
                language,
                {each: f"{each}/404.html" for each in TONGUES},
                section="none",
                title=lost["title"],
                summary=lost["text"],
                parts=(),
                query=None,
                link=(addresses.datasets(language), lost["link"]),
            )

    def documents(self, cards: Sequence[Card]) -> Page:
        """Return the documents of the search."""
        found = overview.documents(cards, list(self._words.values()))
        return addresses.DOCUMENTS, json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()

    def home(self, cards: Sequence[Card]) -> Iterator[Page]:
        """Yield the home pages and the choice of language."""
        for language, words in self._words.items():
            yield self._page(
                "home.html",
                language,
                {each: addresses.home(each) for each in TONGUES},
                section="home",
                title=self._site.publisher_in(language),
                summary=words["lead"],
                numbers=overview.numbers(cards, words),
                cards=[overview.shown(each.listed, self._site, words) for each in overview.newest(cards)],
                query=self._query,
            )
        names = {self._site.publisher_in(each): each for each in reversed(TONGUES)}
        template = self._environments["en"].get_template("choice.html")
        text = template.render(both=list(self._words.values()), publishers=names)
        yield "index.html", text.encode()

    def _datasets(self, language: Tongue, some: Sequence[Listed], number: int, last: int, count: int) -> bytes:
        """Return page `number` of `last` of the list of `count` datasets, which shows `some`."""
        words = self._words[language]
        _, content = self._page(
            "datasets.html",
            language,
            {each: addresses.datasets(each, number) for each in TONGUES},
            section="datasets",
            title=words["datasets"],
            summary=words["lead"],
            count=words.count("datasets", count),
            cards=[overview.shown(each, self._site, words) for each in some],
            page=number,
            pages=[(each, addresses.datasets(language, each)) for each in range(1, last + 1)],
        )
        return content

    def _torrents(self, language: Tongue, shared: Sequence[TorrentsOfDataset]) -> bytes:
        words = self._words[language]
        rows = [
            (
                overview.titled(card, words),
                self._site.root + addresses.dataset(language, card.dataset),
                each.file,
                each.href,
                each.magnet,
                words.size(each.size),
            )
            for card in shared
            for each in card.torrents
        ]
        _, content = self._page(
            "torrents.html",
            language,
            {each: f"{each}/torrents/" for each in TONGUES},
            section="torrents",
            title=words["torrents"],
            summary=words["torrent_page"]["lead"],
            rows=rows,
        )
        return content

    @property
    def _query(self) -> str:
        table = self._site.stored("catalogue/stac.parquet")
        return f"SELECT title, version, doi, data_urls\nFROM '{table}'\nWHERE is_latest;"

    def _asset(self, name: str) -> str:
        return f"{self._site.root}{addresses.ASSETS}/{self._bundle.names.get(name, name)}"

    def _page(self, template: str, language: Tongue, paths: dict[Tongue, str], *, title: str, **view: Any) -> Page:
        words, other = self._words[language], self._words[self._words[language].other]
        root, name = self._site.root, f" · {self._site.publisher_in(language)}"
        script = {
            "lang": language,
            "root": root,
            "documents": root + addresses.DOCUMENTS,
            "pictures": f"{root}{addresses.PICTURES}/",
            "searchWorker": self._asset("search-worker.js"),
            "copied": words["copied"],
            "results": words["results"],
            "nothing": words["nothing"],
            "searchFailed": words["search_failed"],
        }
        text = (
            self._environments[language]
            .get_template(template)
            .render(
                other={"language": other.language, "language_name": other["language"]},
                paths=paths,
                path=paths[language],
                canonical=paths[language],
                feed=self._site.stored(Feed("releases", language, "").address(".atom")),
                script=script,
                head=shortened(title, _LONGEST_HEAD) if len(title + name) > _LONGEST_HEAD else title + name,
                title=title,
                **view,
            )
        )
        return addresses.file_of(paths[language]), text.encode()
