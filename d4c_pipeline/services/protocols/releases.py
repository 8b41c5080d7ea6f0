"""The address of a release for people and machines: `/datasets/{dataset}/{vintage}/{version}`, by content negotiation.

A browser is sent to the page; `Accept` or `?format=` gets any record. The page itself answers a client that accepts no
HTML with a record, too. Formats belong to `metadata.records`. `/changes` below that address has the changes of the
release, which `services.release_changes` reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from urllib.parse import quote, urljoin

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from d4c_pipeline.metadata.published import TONGUES, PublishedMetadata
from d4c_pipeline.metadata.records.linkset import linkset
from d4c_pipeline.metadata.records.registry import record_format, record_formats
from d4c_pipeline.model.service_settings import JobSettings
from d4c_pipeline.services import negotiation, record_port, release_changes
from d4c_pipeline.services.access import Visitor
from d4c_pipeline.services.discovery.answers import has_current
from d4c_pipeline.services.discovery.parameters import check_names, single
from d4c_pipeline.services.page_links import as_header
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.streaming import Streamed
from d4c_pipeline.services.subset.releases import place_of
from d4c_pipeline.services.subsetting import subset_lane, subset_service

_PATH = "datasets"
_PAGE, _TEXT = "html", "citation"
_CACHE = "public, no-cache"
# Where several formats have one media type, the one that a client without a profile gets; and other names of types.
_FIRST = {
    "schema_org": "application/ld+json",
    "schema_org_fr": None,
    "datacite_xml": "application/xml",
    "datacite": "application/json",
    "bibtex": "text/x-bibtex",
}


@cache
def _offers() -> Mapping[str, tuple[str, str | None]]:
    """Return the offers by name: media type and profile. A name with `+` is a further media type of a format."""
    offers: dict[str, tuple[str, str | None]] = {_PAGE: ("text/html", None), _TEXT: ("text/x-bibliography", None)}
    first = [record_format(name) for name in _FIRST]
    others = [form for form in record_formats().values() if form.name not in _FIRST]
    for form in (*first, *others):
        kind = form.media_type.partition(";")[0].strip()
        offers[form.name] = (kind, form.profile)
        if (alias := _FIRST.get(form.name)) not in (None, kind):
            offers[f"{form.name}+"] = (str(alias), form.profile)
    return offers


def _routes(services: Services) -> Sequence[BaseRoute]:
    def answer(request: Request) -> Response:
        return _answered(services, request, _named(services, request))

    def changes(request: Request) -> Response:
        return _changes(services, request, _named(services, request))

    place = f"{_PATH}/{{dataset}}/{{vintage}}/{{version}}"
    return [
        Route(f"/{place}", answer, methods=["GET"]),
        Route(f"/{place}/changes", subset_lane(services).endpoint(changes), methods=["GET"]),
        *(_WithoutPage(f"/{language}/{place}/", answer, methods=["GET"]) for language in TONGUES),
    ]


def _named(services: Services, request: Request) -> PublishedMetadata:
    """Return the release that the address names. Raises ProblemError (404)."""
    with services.index.reading() as cursor:
        place = {name: str(request.path_params[name]) for name in ("dataset", "vintage", "version")}
        row = record_port.of_release(cursor, **place)
        if row is None:
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                f"No release {' '.join(value[:80] for value in place.values())} is published",
                "See the list of releases: /catalogue/catalog.json",
            )
        return record_port.published(cursor, [row])[row.position]


class _WithoutPage(Route):
    """The address of a page, for requests that the page does not answer: those that accept no HTML."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        found, child = super().matches(scope)
        if found is not Match.NONE and _chosen_by_accept(Request(scope)) == _PAGE:
            return Match.NONE, {}
        return found, child


def _answered(services: Services, request: Request, published: PublishedMetadata) -> Response:
    chosen = _chosen(request)
    base = services.base_url(request)
    address = _address(published)
    links = as_header(_links(published, base, address))
    headers = {"Vary": "Accept, Accept-Language", "Cache-Control": _CACHE, "Link": links}
    if chosen == _PAGE:
        tongue = negotiation.language(request.headers.get("accept-language", ""))
        return RedirectResponse(f"{base}/{tongue}{address}/", HTTPStatus.SEE_OTHER, headers)
    if chosen == _TEXT:
        tongue = negotiation.language(request.headers.get("accept-language", ""))
        content, kind = getattr(published.citation, tongue).encode(), "text/x-bibliography; charset=utf-8"
    else:
        form = record_format(chosen)
        content, kind = form.render(published), form.media_type
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers |= {"ETag": tag, "Content-Location": f"{address}?format={chosen}"}
    headers |= {"X-Content-Type-Options": "nosniff"}
    if has_current(request, tag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, headers={**headers, "Content-Type": kind})


def _changes(services: Services, request: Request, published: PublishedMetadata) -> Response:
    """Answer with the counts of changes; with rows if the request narrows them or asks for CSV or Parquet."""
    wanted, form = release_changes.read_wanted(request.query_params), _form_of_changes(request)
    document = release_changes.counts(published)
    file = release_changes.changes_file(published)
    address = f"{services.base_url(request)}{_address(published)}"
    headers = {"Vary": "Accept", "Cache-Control": _CACHE, "X-Content-Type-Options": "nosniff"}
    if form == "json" and not wanted.is_narrowed:
        links = [_link("self", f"{address}/changes", "application/json"), _link("up", address, "text/html")]
        if file is not None:
            links.append(_link("enclosure", services.index.store.url(file.address), release_changes.FORMATS["parquet"]))
            document |= {"file": {"name": file.name, "size": file.size, "sha256": file.sha256}}
        return Response(orjson.dumps(document | {"links": links}), headers=headers, media_type="application/json")
    if published.withdrawn is not None:
        raise ProblemError(
            HTTPStatus.GONE,
            f"{published.name} was withdrawn: {published.withdrawn.reason}",
            "Ask for the changes of a release that stands",
        )
    if file is None:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            f"{published.name} does not carry its changes as data",
            f"Compare its data with that of {document['since']}: d4c changes",
        )
    if form == "parquet" and not wanted.is_narrowed:
        return RedirectResponse(services.index.store.url(file.address), HTTPStatus.SEE_OTHER, headers)
    store, subsets = services.index.store, subset_service(services)
    rows = release_changes.ChangedRows(
        subsets.engine,
        place_of(store, file.address),
        wanted,
        most_cells=JobSettings.from_environment().sync_cells,
    )
    if form == "json":
        count, page = rows.page()
        document |= {"numberMatched": count, "numberReturned": len(page), "rows": page}
        return Response(orjson.dumps(document, default=str), headers=headers, media_type="application/json")
    whole, stream = subsets.sent(
        rows.written(form, services.settings.home / "services" / "results"),
        Visitor.of(request).address,
    )
    headers["Content-Disposition"] = f'attachment; filename="{published.name}_changes.{form}"'
    if stream is not None:
        return Streamed(stream, headers, release_changes.FORMATS[form])
    return Response(whole, headers=headers, media_type=release_changes.FORMATS[form])


def _form_of_changes(request: Request) -> str:
    named = single(request.query_params, "format")
    if named is not None:
        check_names([named], release_changes.FORMATS, "format")
        return named
    accept = ", ".join(request.headers.getlist("accept"))
    found = negotiation.best(accept, {name: (kind, None) for name, kind in release_changes.FORMATS.items()})
    if found is None:
        raise ProblemError(
            HTTPStatus.NOT_ACCEPTABLE,
            f"Changes have no form '{accept[:200]}'",
            f"Accept one of {', '.join(release_changes.FORMATS.values())}",
            headers={"Vary": "Accept"},
        )
    return found


def _address(published: PublishedMetadata) -> str:
    return f"/{_PATH}/{published.dataset}/{published.vintage}/{quote(str(published.version))}"


def _link(relation: str, href: str, kind: str) -> dict[str, str]:
    return {"rel": relation, "href": href, "type": kind}


def _chosen(request: Request) -> str:
    wanted = request.query_params.getlist("format")
    known = [name for name in _offers() if not name.endswith("+")]
    if wanted:
        if len(wanted) > 1 or wanted[0] not in known:
            raise ProblemError(
                HTTPStatus.BAD_REQUEST, f"format is '{' '.join(wanted)[:80]}'", f"Use one of {', '.join(known)}"
            )
        return wanted[0]
    chosen = _chosen_by_accept(request)
    if chosen is None:
        accept = ", ".join(request.headers.getlist("accept"))
        types = ", ".join(dict.fromkeys(kind for kind, _ in _offers().values()))
        raise ProblemError(
            HTTPStatus.NOT_ACCEPTABLE,
            f"A release has no form '{accept[:200]}'",
            f"Accept one of {types}; or name a format: ?format=",
            headers={"Vary": "Accept, Accept-Language"},
        )
    return chosen.removesuffix("+")


def _chosen_by_accept(request: Request) -> str | None:
    return negotiation.best(", ".join(request.headers.getlist("accept")), _offers())


def _links(published: PublishedMetadata, base: str, address: str) -> Iterator[tuple[str, str, str]]:
    """Yield relation, address and type of the links of FAIR Signposting: those of the linkset, and every format."""
    document = f"{base}/{published.record_address('linkset.json')}"  # that relative addresses begin at
    yield "linkset", f"{base}{address}?format=linkset", "application/linkset+json"
    for relation, targets in linkset(published)["linkset"][0].items():
        if relation not in ("anchor", "describedby"):
            for target in targets:
                yield relation, urljoin(document, target["href"]), target.get("type", "")
    if published.counts is not None:
        yield "related", f"{base}{address}/changes", "application/json"
    for name, (kind, _) in _offers().items():
        if name not in (_PAGE, _TEXT, "linkset") and not name.endswith("+"):
            yield "describedby", f"{base}{address}?format={name}", kind


PROTOCOL = Protocol(name="releases", title="Releases by content negotiation", path=_PATH, routes=_routes)
