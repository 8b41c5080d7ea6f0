"""Download scripts at addresses: of a dataset, of several, of a search, or of the result of a job.

`/downloads?tool=curl&dataset=...` names releases, `/downloads?tool=curl&filter=...` finds them by CQL2 over the
columns of the catalogue. The scripts belong to `services.download_scripts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.services import cql2
from d4c_pipeline.services.download_scripts import TOOLS, Download, script
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.subset.releases import chosen_release
from d4c_pipeline.services.subset.request import MOST_FILTER
from d4c_pipeline.services.subsetting import job_queue

_MOST_DATASETS, _MOST_RELEASES, _MOST_FILES = 100, 1_000, 20_000
_KNOWN = ("tool", "dataset", "vintage", "version", "filter", "job", "latest")


def _routes(services: Services) -> Sequence[BaseRoute]:
    def answer(request: Request) -> Response:
        return _answer(services, request)

    return [Route("/downloads", answer, methods=["GET"])]


PROTOCOL = Protocol(
    name="downloads",
    title="Download scripts",
    path="downloads",
    routes=_routes,
    needs=("cql2",),
)


def _answer(services: Services, request: Request) -> Response:
    given = request.query_params
    if unknown := sorted(set(given) - set(_KNOWN)):
        raise _bad(f"Unknown parameter {unknown[0][:60]}", f"Use {', '.join(_KNOWN)}")
    tool = TOOLS.get(given.get("tool", "curl"))
    if tool is None:
        raise _bad(f"tool is '{given['tool'][:60]}'", f"Use one of {', '.join(TOOLS)}")
    chosen = [name for name in ("dataset", "filter", "job") if name in given]
    if len(chosen) != 1:
        raise _bad("The files are not named", "Send either dataset, or filter, or job")
    match chosen[0]:
        case "dataset":
            found = _of_datasets(services, request)
        case "filter":
            found = _of_filter(services, given["filter"], latest=given.get("latest", "true") != "false")
        case _:
            found = _of_job(services, services.base_url(request), given["job"])
    if not found:
        raise ProblemError(HTTPStatus.NOT_FOUND, "No release matches", "Widen the filter")
    if len(found) > _MOST_FILES:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The script would have {len(found):,} files; {_MOST_FILES:,} are allowed",
            "Name fewer datasets",
        )
    headers = {
        "Content-Disposition": f'attachment; filename="{tool.file_name}"',
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(script(tool.name, found), headers=headers, media_type="text/plain; charset=utf-8")


def _of_datasets(services: Services, request: Request) -> list[Download]:
    names = request.query_params.getlist("dataset")
    if len(names) > _MOST_DATASETS:
        raise _bad(f"{len(names)} datasets are named", f"Name at most {_MOST_DATASETS}, or use filter")
    vintage, version = request.query_params.get("vintage"), request.query_params.get("version", "latest")
    with services.index.reading() as cursor:
        positions = [
            chosen_release(cursor, services.index.store, name, vintage, version.removeprefix("v")).name
            for name in dict.fromkeys(names)
        ]
        rows = [_row(cursor, "id = ?", [name]) for name in positions]
    return [each for found in rows for row in found for each in _files(row)]


def _of_filter(services: Services, text: str, *, latest: bool) -> list[Download]:
    if len(text) > MOST_FILTER:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"filter has {len(text):,} characters",
            f"Shorten it to at most {MOST_FILTER:,}",
        )
    with services.index.reading() as cursor:
        described = cursor.execute("DESCRIBE releases").fetchall()
        columns = {str(row[0]): cql2.column_of(str(row[0]), str(row[1])) for row in described}
        known = {name: column for name, column in columns.items() if column is not None}
        condition = cql2.condition(text, known)
        newest = " AND is_latest" if latest else ""
        where = f"withdrawn_reason IS NULL{newest} AND ({condition.sql})"
        rows = _row(cursor, where, list(condition.parameters))
    if len(rows) > _MOST_RELEASES:
        raise ProblemError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"More than {_MOST_RELEASES:,} releases match",
            "Narrow the filter",
        )
    return [each for row in rows for each in _files(row)]


def _row(cursor: Any, where: str, parameters: list[Any]) -> list[dict[str, Any]]:
    found = cursor.execute(
        'SELECT dataset, vintage, version, data_urls, bytes, sha256, "d4c:parts" AS parts FROM releases '  # noqa: S608
        f"WHERE {where} ORDER BY position LIMIT {_MOST_RELEASES + 1}",
        parameters,
    )
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _files(row: dict[str, Any]) -> list[Download]:
    folder = f"{row['dataset']}/{row['vintage']}/v{row['version']}"
    parts: Sequence[dict[str, Any]] = row["parts"] or ()
    facts = [(part["href"], part["size"], part["sha256"]) for part in parts]
    facts = facts or [(url, row["bytes"], row["sha256"]) for url in row["data_urls"] or ()]
    return [Download(url, f"{folder}/{_name(url)}", size, digest) for url, size, digest in facts]


def _name(url: str) -> str:
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _of_job(services: Services, base: str, job_id: str) -> list[Download]:
    folder = job_queue(services).folder
    job = folder.job(job_id)
    outcome = folder.outcome(job.result) if job is not None else None
    if job is None or outcome is None or outcome.problem is not None:
        raise ProblemError(HTTPStatus.NOT_FOUND, "No such job has a result", f"Ask /jobs/{job_id[:40]} for its status")
    stated = folder.request(job.result) or {}
    return [Download(f"{base}/jobs/{job.id}/results", stated["file_name"], outcome.size, outcome.sha256)]


def _bad(detail: str, remedy: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, remedy)
