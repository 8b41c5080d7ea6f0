"""CKAN portals: the resources of a package, chosen by format, language and name, and the portal's description of it.

Reference: https://docs.ckan.org/en/2.10/api/ ; the bilingual fields are those of ckanext-fluent, as open.canada.ca has
them. Receiving the files belongs to `fetch.download`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

from d4c_pipeline.model.described import Described
from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import CkanSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources import files
from d4c_pipeline.sources.ckan_resources import NO_LANGUAGE, Resource, file_format, language, resources_of
from d4c_pipeline.sources.content import content_of_marks
from d4c_pipeline.sources.dating import minute_of
from d4c_pipeline.sources.declared import WebSource
from d4c_pipeline.sources.fetch.download import Wanted, known_of
from d4c_pipeline.sources.fetch.heads import mark_of
from d4c_pipeline.sources.fetch.transfers import fetch_all
from d4c_pipeline.sources.port import Fetched, FileMark, Fingerprint, Progress

_AT_ONCE = 8
PACKAGE_DOCUMENT = "ckan_package.json"
_Document = dict[str, Any]


class CkanPackage(WebSource[CkanSource]):
    """The chosen resources of one package (a `Source`, see `port.py`)."""

    def _addresses(self) -> tuple[str, ...]:
        return (self._declared.portal,)

    @property
    def _url(self) -> str:
        return f"{self._declared.portal.rstrip('/')}/api/3/action/package_show?id={quote(self._declared.package)}"

    def _discovered(self) -> tuple[Vintage, ...]:
        return (modified_vintage(self._package()),)

    @property
    def document(self) -> str | None:
        """Return the address of the portal's description of the package. See `Source.document`."""
        return self._url

    def observe(self, vintage: Vintage) -> Fingerprint:
        """Return the portal's record of each chosen resource, and the file server's headers. See `Source.observe`.

        Most resources are links: the linked file changes while the portal's record stays the same.
        """
        chosen = self._chosen(self._package(), vintage)
        names = files.file_names([resource.url for resource in chosen], self._declared.format)
        web = self._web

        def mark(resource: Resource, name: str) -> FileMark:
            return replace(mark_of(web, resource.url, name, (resource.url,), self._pause), listed=resource.listed)

        # Concurrently: a package may have hundreds of links, and a sensor's tick has a minute.
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="observe") as pool:
            return Fingerprint(tuple(pool.map(mark, chosen, names)))

    def content(self, vintage: Vintage) -> str | None:
        """Return a hash over the members of zips. See `Source.content`."""
        chosen = self._chosen(self._package(), vintage)
        urls = [resource.url for resource in chosen]
        return content_of_marks(self._web, list(zip(files.file_names(urls, self._declared.format), urls, strict=True)))

    def describe(self, vintage: Vintage) -> Described | None:
        """Return title, description and keywords of the package, in both languages."""
        return described(self._package())

    def fetch(
        self, vintage: Vintage, into: Path, known: Sequence[NativeFile] = (), progress: Progress | None = None
    ) -> tuple[Fetched, ...]:
        """Fetch the chosen resources, and the portal's description of the package. See `Source.fetch`."""
        package = self._package()
        place = f"The package {self._declared.package}"
        self._require_served(vintage, lambda: modified_vintage(package), place)
        chosen = self._chosen(package, vintage)
        names = files.file_names([resource.url for resource in chosen], self._declared.format)
        wanted = [
            Wanted(resource.url, name, (resource.url,), known=known_of(resource.url, known, self._declared.format))
            for resource, name in zip(chosen, names, strict=True)
        ]
        fetched = fetch_all(self._web, wanted, into, progress, pause=self._pause)
        # The portal may have published another version since the first request.
        self._require_served(vintage, lambda: modified_vintage(self._package()), place)
        content = json.dumps(package, ensure_ascii=False, sort_keys=True).encode()
        modified = str(package.get("metadata_modified") or "") or None
        return (
            *fetched,
            files.write_document(into, PACKAGE_DOCUMENT, self._url, content, last_modified=modified),
        )

    def _package(self) -> _Document:
        answer = self._web.json(self._url)
        found = cast("_Document", answer) if isinstance(answer, dict) else {}
        if found.get("success") is not True or not isinstance(found.get("result"), dict):
            raise SourceError(f"{self._url} returned no package", "Correct the package or the portal")
        return cast("_Document", found["result"])

    def _chosen(self, package: _Document, vintage: Vintage) -> tuple[Resource, ...]:
        if str(package.get("state") or "active") != "active":
            raise SourceError(
                f"The package {self._declared.package} was withdrawn (its state is '{package['state']}')",
                "Ask the publisher; published releases stay",
            )
        resources = resources_of(package, self._declared.portal)
        requested = [resource for resource in resources if resource.active and self._is_requested(resource, vintage)]
        if not requested:
            there = ", ".join(resource.label for resource in resources) or "none"
            raise SourceError(
                f"No resource of the package {self._declared.package} matches the declaration; there are {there}",
                "Correct formats, languages or name",
            )
        if nowhere := [resource.label for resource in requested if not resource.url]:
            raise SourceError(f"The portal states no address of {nowhere[0]}", "Choose others by format or name")
        # A bilingual file is listed once per language, at the same address: it is one file.
        chosen = tuple({resource.url: resource for resource in reversed(requested)}.values())[::-1]
        if foreign := [resource.url for resource in chosen if urlsplit(resource.url).scheme not in ("http", "https")]:
            raise SourceError(f"A resource is at {foreign[0]}, which is not http", "Choose others by format or name")
        return chosen

    def _is_requested(self, resource: Resource, vintage: Vintage) -> bool:
        declared = self._declared
        if declared.formats and not resource.formats & {file_format(each) for each in declared.formats}:
            return False
        wanted = {language(each) for each in declared.languages}
        if wanted and NO_LANGUAGE not in resource.languages and not resource.languages & wanted:
            return False
        if declared.name is None:
            return True
        glob = declared.name.format(vintage=vintage).casefold()
        file_name = unquote(urlsplit(resource.url).path.rstrip("/").rpartition("/")[2])
        return any(fnmatchcase(each.casefold(), glob) for each in (*resource.names, file_name, resource.id))


def modified_vintage(package: Mapping[str, Any]) -> Vintage:
    """Return the vintage of a package: `metadata_modified`, UTC, to the minute.

    Raises SourceError without that field, and the errors of `dating.require_dated`.
    """
    text = str(package.get("metadata_modified") or "")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise SourceError(
            f"The package states no time of modification ('{text}')", "List the vintages in the definition"
        ) from error
    zoned = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)  # CKAN writes UTC without a zone
    return minute_of(zoned, f"The package {package.get('name') or package.get('id') or ''}".strip())


def described(package: Mapping[str, Any]) -> Described:
    """Return the package's own description. Without a translated field, the plain field is the English text."""
    keywords = cast("Mapping[str, list[str]]", package.get("keywords") or {})
    if not keywords:
        tags = cast("list[_Document]", package.get("tags") or [])
        keywords = {"en": [str(tag.get("display_name") or tag.get("name")) for tag in tags]}
    return Described(
        title=_translated(package, "title"),
        description=_translated(package, "notes"),
        keywords=(tuple(keywords.get("en") or ()), tuple(keywords.get("fr") or ())),
    )


def _translated(document: Mapping[str, Any], field: str) -> tuple[str, str]:
    texts = cast("Mapping[str, str]", document.get(f"{field}_translated") or {})
    # `fr-t-en` is a machine's translation from English, by the same extension.
    english = texts.get("en") or texts.get("en-t-fr") or document.get(field) or ""
    return str(english), str(texts.get("fr") or texts.get("fr-t-en") or "")
