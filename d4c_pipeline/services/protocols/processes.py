"""OGC API - Processes for subsets: `/processes`, `/processes/subset/execution`, `/jobs`.

A small subset is the answer of its request; a larger one, or one with `Prefer: respond-async`, is a job. Subsets belong
to `services.subset`, jobs to `services.jobs`. https://docs.ogc.org/is/18-062r2/18-062r2.html
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.services.access import Role, Visitor
from d4c_pipeline.services.bodies import JSON, json_object, read_body
from d4c_pipeline.services.discovery.answers import has_current
from d4c_pipeline.services.jobs import Job, JobQueue, State
from d4c_pipeline.services.jobs.notices import checked_callback, checked_mail
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.process_documents import CONFORMANCE, description, process_list
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.streaming import Streamed
from d4c_pipeline.services.subset.plan import Plan
from d4c_pipeline.services.subset.service import Answer, SubsetService, pinned
from d4c_pipeline.services.subsetting import job_queue, planning_lane, subset_lane, subset_service

_MOST_QUERY = 32
_TIMES_FOR_SPECIALISTS = 5
_CALLBACKS = {"successUri": State.SUCCESSFUL, "failedUri": State.FAILED}
_PROVENANCE_BYTES = 4_000


def _routes(services: Services) -> Sequence[BaseRoute]:
    subsets = subset_service(services)
    jobs = job_queue(services)
    server = _Processes(services, subsets, jobs)
    return [
        Route("/processes", server.processes, methods=["GET"]),
        Route("/processes/conformance", server.conformance, methods=["GET"]),
        Route("/processes/subset", server.description, methods=["GET"]),
        Route("/processes/subset/execution", server.execute_query, methods=["GET"]),
        Route("/processes/subset/execution", server.execute, methods=["POST"]),
        Route("/jobs", server.jobs, methods=["GET"]),
        Route("/jobs/{job}", server.status, methods=["GET"]),
        Route("/jobs/{job}", server.dismiss, methods=["DELETE"]),
        Route("/jobs/{job}/results", server.results, methods=["GET"]),
        Route("/jobs/{job}/provenance", server.provenance, methods=["GET"]),
    ]


PROTOCOL = Protocol(
    name="processes",
    title="Subsets and conversions (OGC API - Processes)",
    path="processes",
    others=("jobs",),
    routes=_routes,
    needs=("cql2",),
)


@dataclass(frozen=True)
class _Asked:
    """What a request asks for: a plan, its inputs, callbacks and mail of a job, the tag of an answer to GET."""

    plan: Plan
    inputs: dict[str, Any]
    callbacks: dict[str, str] = field(default_factory=dict[str, str])
    tag: str | None = None
    mail: str | None = None


class _Processes:
    def __init__(self, services: Services, subsets: SubsetService, jobs: JobQueue) -> None:
        self._services, self._subsets, self._jobs = services, subsets, jobs
        self._lane = subset_lane(services)
        # Not in the threads that all protocols share: reading a filter or a large geometry takes a while.
        self._reading = planning_lane(services)

    # These three read nothing: a thread for them would only wait.
    async def processes(self, request: Request) -> Response:
        return _json(process_list(self._services.base_url(request)))

    async def conformance(self, _request: Request) -> Response:
        return _json({"conformsTo": list(CONFORMANCE)})

    async def description(self, request: Request) -> Response:
        return _json(description(self._services.base_url(request)))

    async def execute_query(self, request: Request) -> Response:
        """Execute with the inputs as parameters of the address; equal bytes have equal tags."""
        return await self._answered(request, await self._reading.run(self._asked_by_query, request))

    async def execute(self, request: Request) -> Response:
        """Execute with the inputs as a JSON document."""
        body = await read_body(request, JSON)
        return await self._answered(request, await self._reading.run(self._asked_by_document, request, body))

    async def _answered(self, request: Request, asked: _Asked) -> Response:
        # Only the result is made in the lane: what is wrong with a request, or known already, is told at once.
        if asked.tag is not None and has_current(request, asked.tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": asked.tag})
        preferred = request.headers.get("Prefer", "")
        if "respond-async" in preferred or asked.callbacks or asked.mail or not self._subsets.is_small(asked.plan):
            return await run_in_threadpool(self._submitted, request, asked)
        return await self._lane.run(self._made, asked, Visitor.of(request).address)

    def _made(self, asked: _Asked, client: str) -> Response:
        headers = {} if asked.tag is None else {"ETag": asked.tag}
        return _sent(self._subsets.answer(asked.plan, client), headers | result_headers(asked.plan))

    def _asked_by_query(self, request: Request) -> _Asked:
        pairs = request.query_params.multi_items()
        if len(pairs) > _MOST_QUERY or len({name for name, _ in pairs}) != len(pairs):
            raise _bad("A parameter is given twice, or there are too many", "Give each input once")
        inputs: dict[str, Any] = dict(pairs)
        if inputs.get("filter-lang") == "cql2-json" and "filter" in inputs:
            inputs["filter"] = json_object(inputs["filter"].encode())
        if "geometry" in inputs:
            inputs["geometry"] = json_object(inputs["geometry"].encode())
        planned = self._subsets.plan(inputs)
        return _Asked(planned, inputs, tag=f'"{planned.identity}"')

    def _asked_by_document(self, request: Request, body: bytes) -> _Asked:
        document = json_object(body)
        if unknown := sorted(set(document) - {"inputs", "outputs", "response", "subscriber"}):
            raise _bad(f"Unknown member {unknown[0][:60]}", "Send inputs, and maybe subscriber")
        subscriber = document.get("subscriber")
        callbacks, mail = self._callbacks(subscriber), self._mail(request, subscriber)
        inputs = document.get("inputs")
        planned = self._subsets.plan(inputs)
        return _Asked(planned, inputs or {}, callbacks, mail=mail)

    def _submitted(self, request: Request, asked: _Asked) -> Response:
        planned = asked.plan
        visitor, settings = Visitor.of(request), self._jobs.settings
        visitor.require("a job of a subset")
        folder = self._jobs.folder
        waiting = [job for job in folder.jobs() if job.owner == visitor.name and folder.outcome(job.result) is None]
        known = any(job.result == planned.identity for job in waiting)
        allowed = settings.each * (_TIMES_FOR_SPECIALISTS if visitor.role >= Role.SPECIALIST else 1)
        if not known and len(waiting) >= allowed:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"You have {len(waiting)} unfinished jobs, and {allowed} are allowed",
                f"Wait for one of them, or dismiss one: DELETE /jobs/{waiting[0].id}",
                headers={"Retry-After": "60"},
            )
        if not known and folder.size() > settings.disk:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "The results of other jobs fill the space for results",
                "Ask again tomorrow, or download the files of the release",
                headers={"Retry-After": "3600"},
            )
        job = folder.submit(
            visitor.name,
            planned.identity,
            pinned(planned, asked.inputs),
            asked.callbacks,
            mail=asked.mail,
            base=self._services.base_url(request),
        )
        self._jobs.wake()
        address = f"{self._services.base_url(request)}/jobs/{job.id}"
        headers = {"Location": address, "Preference-Applied": "respond-async"}
        return _json(self._document(job, address), HTTPStatus.CREATED, headers)

    def jobs(self, request: Request) -> Response:
        visitor, base = Visitor.of(request), self._services.base_url(request)
        found = [job for job in self._jobs.folder.jobs() if job.owner == visitor.name or visitor.is_manager]
        documents = [self._document(job, f"{base}/jobs/{job.id}") for job in found[:1_000]]
        return _json({"jobs": documents, "links": [_link(f"{base}/jobs", "self", "application/json")]})

    def status(self, request: Request) -> Response:
        job = self._job(request)
        return _json(self._document(job, f"{self._services.base_url(request)}/jobs/{job.id}"))

    def dismiss(self, request: Request) -> Response:
        job, visitor = self._job(request), Visitor.of(request)
        if job.owner != visitor.name and not visitor.is_manager:
            raise ProblemError(HTTPStatus.FORBIDDEN, "The job is not yours", "Ask its owner to dismiss it")
        document = self._document(job, f"{self._services.base_url(request)}/jobs/{job.id}")
        self._jobs.folder.dismiss(job)
        self._jobs.wake()
        return _json(document | {"status": State.DISMISSED.value})

    def results(self, request: Request) -> Response:
        job = self._job(request)
        folder = self._jobs.folder
        outcome = folder.outcome(job.result)
        if outcome is None:
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                f"The job is {folder.state(job.result).value}: it has no result yet",
                f"Ask /jobs/{job.id} until its status is successful",
                headers={"Retry-After": "2"},
            )
        if outcome.problem is not None:
            raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, outcome.problem, outcome.remedy)
        stated = folder.request(job.result) or {}
        headers = {
            "ETag": f'"{outcome.sha256}"',
            "Digest": f"sha-256={_base64(outcome.sha256)}",
            "Repr-Digest": f"sha-256=:{_base64(outcome.sha256)}:",
            "Cache-Control": "private, max-age=3600",
            "Link": f'<{self._services.base_url(request)}/jobs/{job.id}/provenance>; rel="describedby"',
        }
        return FileResponse(
            folder.data(job.result), headers=headers, media_type=stated["media_type"], filename=stated["file_name"]
        )

    def provenance(self, request: Request) -> Response:
        job = self._job(request)
        stated = self._jobs.folder.request(job.result) or {}
        outcome = self._jobs.folder.outcome(job.result)
        facts = {"sha256_of_result": outcome.sha256, "rows": outcome.rows} if outcome and not outcome.problem else {}
        return _json({**stated.get("provenance", {}), **facts})

    def _job(self, request: Request) -> Job:
        job = self._jobs.folder.job(request.path_params["job"])
        if job is None:
            raise ProblemError(
                HTTPStatus.NOT_FOUND,
                "No such job",
                f"Jobs are kept for {self._jobs.settings.days} days; ask again for the subset",
            )
        return job

    def _document(self, job: Job, address: str) -> dict[str, Any]:
        folder = self._jobs.folder
        outcome, state = folder.outcome(job.result), folder.state(job.result)
        stated = folder.request(job.result) or {}
        document: dict[str, Any] = {
            "processID": "subset",
            "type": "process",
            "jobID": job.id,
            "status": state.value,
            "created": _time(job.created),
            "links": [_link(address, "self", "application/json")],
        }
        if outcome is None:
            rows = max(int(stated.get("rows") or 1), 1)
            document["progress"] = min(99, 100 * folder.progress(job.result) // rows)
            return document
        document |= {"finished": _time(outcome.finished), "updated": _time(outcome.finished), "progress": 100}
        if outcome.problem is not None:
            return document | {"message": f"{outcome.problem}. {outcome.remedy}".strip()}
        expires = max(outcome.finished, job.created) + self._jobs.settings.days * 86_400
        result = _link(f"{address}/results", "http://www.opengis.net/def/rel/ogc/1.0/results", stated["media_type"])
        document["links"] += [result, _link(f"{address}/provenance", "describedby", "application/json")]
        return document | {
            "rows": outcome.rows,
            "rowsLeftOut": outcome.left_out,
            "size": outcome.size,
            "sha256": outcome.sha256,
            "expires": _time(expires),
        }

    def _callbacks(self, subscriber: Any) -> dict[str, str]:
        if subscriber is None:
            return {}
        if not isinstance(subscriber, dict) or not set(subscriber) <= {*_CALLBACKS, "mail"}:
            raise _bad("subscriber is not an object of addresses", f"Use {', '.join(_CALLBACKS)} and mail")
        return {
            _CALLBACKS[name].value: checked_callback(address, name)
            for name, address in subscriber.items()
            if name in _CALLBACKS
        }

    def _mail(self, request: Request, subscriber: Any) -> str | None:
        if not isinstance(subscriber, dict) or "mail" not in subscriber:
            return None
        address = checked_mail(subscriber["mail"], Visitor.of(request))
        if not self._jobs.sends_mail:
            raise _bad("This server sends no mail", "Send successUri, or ask GET /jobs/{id} for the status")
        return address


def result_headers(planned: Plan) -> dict[str, str]:
    """Return the headers of a result: its name, and the provenance for formats that hold none."""
    release = planned.release
    brief = {name: value for name, value in planned.provenance.items() if name not in ("files", "title", "citation")}
    text = json.dumps(brief, ensure_ascii=True, separators=(",", ":"))
    stated = {
        "Content-Disposition": f'attachment; filename="{planned.file_name}"',
        "D4C-Release": release.name,
        "D4C-DOI": release.doi or "",
        "D4C-Licence": release.licence if release.licence and release.licence.isascii() else "",
        "D4C-Provenance": text if len(text) <= _PROVENANCE_BYTES else "",
        "Link": f'<https://doi.org/{release.doi}>; rel="cite-as"' if release.doi and not release.test_doi else "",
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return {name: value for name, value in stated.items() if value}


def _sent(answer: Answer, headers: dict[str, str]) -> Response:
    kind = answer.plan.request.format.media_type
    if answer.stream is None:
        return Response(answer.whole, headers=headers, media_type=kind)
    return Streamed(answer.stream, headers, kind)


def _json(document: Any, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(document), status, {"Cache-Control": "no-cache", **(headers or {})}, "application/json"
    )


def _link(address: str, relation: str, kind: str) -> dict[str, str]:
    return {"href": address, "rel": relation, "type": kind}


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _bad(detail: str, remedy: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, detail, remedy)
