"""Content addresses: `/hash/sha256/{hex}` redirects to a copy of the published file with that sha256.

A citation `hash://sha256/{hex}` (https://linker.bio, Preston) names bytes and no place; any store that has them can
answer it. The hashes are those that the catalogue states: of data files, their parts and all other assets of a release.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

import duckdb
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.services.catalogue_index import RELEASES
from d4c_pipeline.services.page_links import as_header
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.tables.sql_names import identifier

_PATH = "hash"
_TABLE = "hashes"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MULTIHASH = "1220"  # of `file:checksum`: sha2-256, 32 bytes


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table of all files with a sha256: the release that has each, and its addresses, the store's first."""
    columns = {str(row[0]): str(row[1]) for row in connection.execute(f"DESCRIBE {RELEASES}").fetchall()}
    assets: list[str] = []
    if columns["assets"].startswith("STRUCT"):  # an empty catalogue may have no fields there
        listed = connection.execute(f"DESCRIBE SELECT unnest(assets) FROM {RELEASES}").fetchall()  # noqa: S608 - names of the catalogue, quoted
        assets = [str(row[0]) for row in listed]
    found = [
        f"SELECT position, substr(json_extract_string(asset, '$.\"file:checksum\"'), {len(_MULTIHASH) + 1}), "  # noqa: S608 - names of the catalogue, quoted
        "list_concat([json_extract_string(asset, '$.href')], "
        "json_extract_string(asset, '$.alternate.*.href')) FROM ("
        f"SELECT position, to_json(assets.{identifier(name)}) AS asset FROM {RELEASES}) "
        f"WHERE starts_with(json_extract_string(asset, '$.\"file:checksum\"'), '{_MULTIHASH}')"
        for name in assets
    ]
    if "d4c:parts" in columns:
        found.append(
            f'SELECT position, part.sha256, [part.href] FROM (SELECT position, unnest("d4c:parts") AS part '  # noqa: S608 - names of the catalogue, quoted
            f'FROM {RELEASES} WHERE "d4c:parts" IS NOT NULL)'
        )
    connection.execute(
        f"CREATE TABLE {_TABLE} AS SELECT DISTINCT * FROM "  # noqa: S608 - names of the catalogue, quoted
        f"({' UNION ALL '.join(found) or 'SELECT 0, NULL, NULL WHERE false'}) AS each(position, sha256, addresses) "
        "WHERE sha256 IS NOT NULL ORDER BY sha256"
    )


def _routes(services: Services) -> Sequence[BaseRoute]:
    def answer(request: Request) -> Response:
        return _answer(services, request)

    return [Route(f"/{_PATH}/{{algorithm}}/{{digest}}", answer, methods=["GET"])]


def _answer(services: Services, request: Request) -> Response:
    algorithm, digest = request.path_params["algorithm"].lower(), request.path_params["digest"].lower()
    if algorithm != "sha256" or not _SHA256.fullmatch(digest):
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"{algorithm[:20]}/{digest[:80]} is no content address of this server",
            "Ask for /hash/sha256/ and 64 hexadecimal digits",
        )
    with services.index.reading() as cursor:
        rows = cursor.execute(
            f"SELECT addresses, dataset, vintage, version, withdrawn_reason FROM {_TABLE} JOIN {RELEASES} "  # noqa: S608 - names of the catalogue, quoted
            f"USING (position) WHERE {_TABLE}.sha256 = ? ORDER BY withdrawn_reason IS NOT NULL, position",
            [digest],
        ).fetchall()
    if not rows:
        raise ProblemError(
            HTTPStatus.NOT_FOUND,
            f"No published file has the sha256 {digest}",
            "Ask another server, or search the catalogue: /catalogue/catalog.json",
        )
    _, dataset, vintage, version, reason = rows[0]
    if reason is not None and request.query_params.get("withdrawn") != "true":
        raise ProblemError(
            HTTPStatus.GONE,
            f"The file is of {dataset} {vintage} v{version}, which was withdrawn: {reason}",
            "Add ?withdrawn=true to read it all the same",
        )
    # Every release with these bytes may name further copies.
    copies = list(dict.fromkeys(address for row in rows for address in row[0] if address))
    described = f"{services.base_url(request)}/datasets/{dataset}/{vintage}/{version}"
    links = [
        ("describedby", described, ""),
        *(("duplicate", address, "") for address in copies[1:] if address.startswith(("http://", "https://"))),
    ]
    headers = {"Link": as_header(links), "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return RedirectResponse(copies[0], HTTPStatus.FOUND, headers)


PROTOCOL = Protocol(name="hashes", title="Files by their sha256", path=_PATH, routes=_routes, prepare=prepare)
