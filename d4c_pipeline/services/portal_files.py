"""The portal beside a store: pages with their policy, assets that never change, both compressed where that helps.

The files are those of `portal.site`; files of the store belong to `file_server`.
"""

from __future__ import annotations

from pathlib import Path

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from d4c_pipeline.files.media_types import media_type
from d4c_pipeline.portal.bundle import icon
from d4c_pipeline.portal.policy import HEADER, PAGE_CACHE
from d4c_pipeline.services.page_links import link_header
from d4c_pipeline.stores.headers import IMMUTABLE_CACHE

FOLDERS = ("en", "fr", "assets")
"""The folders of the portal, each served at its name."""
PATHS = f"/{{{','.join(FOLDERS)}}}"
"""Stands for the paths of the portal among the paths that a server serves."""
ICON_PATH = "/favicon.ico"
"""Browsers request it beside every document that names no icon: a file, a style sheet, an answer in JSON."""
CHANGING_ASSETS = ("licences.txt",)
_OK = 200
# Compressed already, or read by ranges.
_PACKED = (".pmtiles", ".woff2", ".webp")


def routes(folder: Path) -> list[BaseRoute]:
    """Return the routes of the portal in `folder`: the choice of language at `/`, pages, assets."""

    def choice(_: Request) -> Response:
        page = folder / "index.html"
        if not page.is_file():
            raise HTTPException(status_code=404)
        return FileResponse(page, headers=headers("index.html"))

    mounts = [Mount(f"/{name}", _Compressed(_Files(folder / name, name))) for name in FOLDERS]
    return [Route("/", choice), *mounts]


def icon_route() -> Route:
    """Return the route of the icon, which is served with and without a portal."""

    def serve(_: Request) -> Response:
        named = headers("favicon.ico") | {"Cache-Control": "public, max-age=86400"}
        return Response(icon(), headers=named, media_type="image/svg+xml")

    return Route(ICON_PATH, serve)


def headers(address: str) -> dict[str, str]:
    """Return the headers of an address in the portal's folder."""
    name = address.rpartition("/")[2]
    changing = not address.startswith("assets/") or name in CHANGING_ASSETS
    return {
        "Cache-Control": PAGE_CACHE if changing else IMMUTABLE_CACHE,
        "Content-Security-Policy": HEADER,
        "X-Content-Type-Options": "nosniff",
    }


class _Files(StaticFiles):
    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(directory=folder, html=True, check_dir=False)
        self._name = name
        # A home without a portal answers 404, not an error.
        self.config_checked = True

    async def get_response(self, path: str, scope: Scope) -> Response:
        if any(part.startswith(".") for part in Path(path).parts):
            raise HTTPException(status_code=404)
        response = await super().get_response(path, scope)
        response.headers.update(headers(f"{self._name}/{path}"))
        if isinstance(response, FileResponse):
            page = Path(response.path)
            if response.status_code == _OK and page.name == "index.html":
                links = await to_thread.run_sync(link_header, page)
                if links:
                    response.headers["Link"] = links
                    response.headers["Vary"] = (
                        "Accept"  # a client that accepts no HTML gets a record (protocols.releases)
                    )
            kind = media_type(str(response.path))
            response.headers["Content-Type"] = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        return response


class _Compressed:
    """Compresses answers, except parts of files and files that are compressed already."""

    def __init__(self, application: ASGIApp) -> None:
        self._plain, self._packed = application, GZipMiddleware(application, minimum_size=1_000, compresslevel=6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_part = any(name == b"range" for name, _ in scope.get("headers", ()))
        packed = str(scope.get("path", "")).endswith(_PACKED)
        await (self._plain if is_part or packed else self._packed)(scope, receive, send)
