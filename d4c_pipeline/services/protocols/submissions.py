"""Submissions: the form at `/submit`, a private page for each submission, the list and decisions of managers.

The same addresses speak HTML with browsers and JSON with clients. Off unless `D4C_SUBMISSIONS` is set. What is decided
belongs to `appraisal`, the pages to `services.submissions`.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.appraisal import decisions
from d4c_pipeline.appraisal.notices import described
from d4c_pipeline.appraisal.policy import Alternative, alternatives_of, policy_of, wrong_fields
from d4c_pipeline.appraisal.words import Language
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.submission import FINAL, Submission, SubmissionRecord, SubmissionState
from d4c_pipeline.services.access import Rates, Role, Visitor
from d4c_pipeline.services.bodies import FORM, JSON, json_object, with_body
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.submissions.forms import Filled, decoded, filled, values_of
from d4c_pipeline.services.submissions.maps import map_of
from d4c_pipeline.services.submissions.pages import STYLE, language_of, page, style
from d4c_pipeline.services.submissions.uploads import Uploads, may_upload
from d4c_pipeline.workspace.deployment import opened_ledger

_PER_MINUTE = 10  # submissions of one sender
_MOST_LISTED = 1_000
_DECISIONS = {
    SubmissionState.IN_APPRAISAL: ("accept", "changes", "decline"),
    SubmissionState.NEEDS_CHANGES: ("decline",),
}


def _routes(services: Services) -> Sequence[BaseRoute]:
    appraisal = AppraisalSettings.from_environment()
    if not appraisal.is_open:
        return []
    ledger = services.shared("ledger", lambda: opened_ledger(services.settings))
    server = _Submissions(services, ledger, appraisal)
    return [
        Route(STYLE, lambda _: style(), methods=["GET"]),
        Route("/submit", server.form, methods=["GET"]),
        Route("/submit", with_body(server.submit, FORM, JSON), methods=["POST"]),
        Route("/submission/{token}", server.status, methods=["GET"]),
        Route("/submission/{token}", with_body(server.correct, FORM, JSON), methods=["POST"]),
        Route("/submission/{token}/files", server.take_files, methods=["POST"]),
        *server.uploads.routes(),
        Route("/submission/{token}/complete", server.complete, methods=["POST"]),
        Route("/submissions", server.listing, methods=["GET"]),
        Route("/submissions/{number:int}", server.manage, methods=["GET"]),
        Route("/submissions/{number:int}/decision", with_body(server.decide, FORM, JSON), methods=["POST"]),
        Route("/submissions/{number:int}/assignment", with_body(server.assign, FORM, JSON), methods=["POST"]),
    ]


PROTOCOL = Protocol(
    name="submissions",
    title="Submissions of datasets",
    path="submissions",
    others=("submit", "submission"),
    routes=_routes,
    needs=("python_multipart",),
)


class _Submissions:
    def __init__(self, services: Services, ledger: Ledger, appraisal: AppraisalSettings) -> None:
        self._services, self._ledger, self._appraisal = services, ledger, appraisal
        self._policy, self._alternatives = policy_of(appraisal), alternatives_of(appraisal)
        self._rates = Rates(_PER_MINUTE)
        largest = self._policy.criteria.size.largest
        self.uploads = Uploads(services.settings.home, largest, appraisal.quarantine, self._of_token)

    def form(self, request: Request) -> Response:
        return self._form(request, language_of(request), Filled({}))

    def submit(self, request: Request, body: bytes) -> Response:
        self._refuse_other_sites(request)
        wait = self._rates.take(Visitor.of(request).name)
        if wait > 0:
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"More than {_PER_MINUTE} submissions came within a minute",
                "Submit more slowly",
                headers={"Retry-After": str(int(wait) + 1)},
            )
        if _is_json(request):
            return self._submitted_json(request, body)
        language, values = language_of(request), _fields(body)
        sent = filled(values, language)
        if sent.submission is None:
            return self._form(request, language, sent, HTTPStatus.UNPROCESSABLE_ENTITY)
        key = _key(values.get("key"))
        try:
            record, is_new = decisions.submit(self._ledger, self._policy, sent.submission, sent_as=key)
        except PermanentError:  # the terms changed while the form was open
            return self._form(request, language, Filled(values, wrong=("terms",)), HTTPStatus.UNPROCESSABLE_ENTITY)
        if not is_new and not _is_sender(record, key):
            return page("known.html", language, "/submit", HTTPStatus.CONFLICT)
        return RedirectResponse(f"/submission/{record.token}?lang={language}", HTTPStatus.SEE_OTHER)

    def _submitted_json(self, request: Request, body: bytes) -> Response:
        key = _key(request.headers.get("Idempotency-Key"))
        record, is_new = decisions.submit(self._ledger, self._policy, _submission(json_object(body)), sent_as=key)
        if not is_new and not _is_sender(record, key):
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "The same submission came before",
                "Use the private address that its submitter got by mail",
            )
        address = f"{self._services.base_url(request)}/submission/{record.token}"
        status = HTTPStatus.CREATED if is_new else HTTPStatus.OK
        return _json(self._document(record, address), status, {"Location": address})

    def status(self, request: Request) -> Response:
        record = self._ledger.submissions.of_token(request.path_params["token"])
        if _wants_json(request):
            if record is None:
                raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such submission", "Use the address in our mail")
            address = f"{self._services.base_url(request)}/submission/{record.token}"
            return _json(self._document(record, address))
        if record is None:
            return page("missing.html", language_of(request), "/submit", HTTPStatus.NOT_FOUND)
        return self._status(request, record, Filled(values_of(record.submission)))

    def correct(self, request: Request, body: bytes) -> Response:
        """Send a corrected submission again: by the form, or by a JSON document with `revision` beside its fields."""
        self._refuse_other_sites(request)
        record = self._of_token(request)
        if _is_json(request):
            document = json_object(body)
            revision = document.pop("revision", None)
            if not isinstance(revision, int | None):
                raise ProblemError(HTTPStatus.BAD_REQUEST, "The revision is no number", "Send the revision you read")
            changed = _submission(document)
            record = decisions.resubmit(self._ledger, self._policy, record.id, changed, revision=revision)
            return _json(self._document(record, f"{self._services.base_url(request)}/submission/{record.token}"))
        language, values = language_of(request, record.submission.language), _fields(body)
        sent = filled(values, language)
        if sent.submission is None:
            return self._status(request, record, sent, HTTPStatus.UNPROCESSABLE_ENTITY)
        try:
            seen = _number(values.get("key"))
            decisions.resubmit(self._ledger, self._policy, record.id, sent.submission, revision=seen)
        except PermanentError:
            # It changed meanwhile, or other terms apply: the page shows its present state.
            current = self._ledger.submissions.get(record.id)
            wrong = ("terms",) if sent.submission.terms != self._policy.version else ()
            return self._status(request, current, Filled(values, wrong=wrong), HTTPStatus.CONFLICT)
        return _see(f"/submission/{record.token}", language)

    async def take_files(self, request: Request) -> Response:
        self._refuse_other_sites(request)
        record = await self.uploads.take_form(request)
        return _see(f"/submission/{record.token}", language_of(request, record.submission.language))

    def complete(self, request: Request) -> Response:
        self._refuse_other_sites(request)
        record = self._ledger.submissions.complete_files(self._of_token(request).id)
        if _wants_json(request):
            return _json(self._document(record, f"{self._services.base_url(request)}/submission/{record.token}"))
        return _see(f"/submission/{record.token}", language_of(request, record.submission.language))

    def listing(self, request: Request) -> Response:
        visitor = self._staff(request)
        if isinstance(visitor, Response):
            return visitor
        name = request.query_params.get("state", "")
        states = [SubmissionState(name)] if name in [each.value for each in SubmissionState] else []
        lines = self._ledger.submissions.lines(states, most=_MOST_LISTED)
        if _wants_json(request):
            facts = [{**vars(line), "submitted_at": line.submitted_at, "updated_at": line.updated_at} for line in lines]
            return _json({"submissions": facts})
        counts = {state.value: count for state, count in self._ledger.submissions.counts().items()}
        return page("list.html", language_of(request), "/submissions", lines=lines, counts=counts, chosen=name)

    def manage(self, request: Request) -> Response:
        visitor = self._staff(request)
        if isinstance(visitor, Response):
            return visitor
        record = self._ledger.submissions.get(request.path_params["number"])
        if _wants_json(request):
            return _json(self._document(record, None) | {"content": record.submission.model_dump(mode="json")})
        return self._manage(request, visitor, record)

    def decide(self, request: Request, body: bytes) -> Response:
        visitor = self._manager(request)
        values = self._checked(request, body, visitor)
        number, reason = request.path_params["number"], str(values.get("reason") or "")
        who, revision = visitor.email or visitor.user or "", _number(values.get("revision"))
        try:
            match values.get("decision"):
                case "accept":
                    record = decisions.accept(self._ledger, number, who=who, reason=reason, revision=revision)
                case "changes":
                    record = decisions.ask_changes(self._ledger, number, who=who, reason=reason, revision=revision)
                case "decline":
                    named = _named(values)
                    record = decisions.decline(
                        self._ledger, self._alternatives, number, who=who, reason=reason, named=named, revision=revision
                    )
                case _:
                    error = PermanentError("No decision is chosen", "Choose accept, changes or decline")
                    return self._refused(request, visitor, error)
        except PermanentError as error:
            return self._refused(request, visitor, error)
        return self._done(request, record)

    def assign(self, request: Request, body: bytes) -> Response:
        visitor = self._manager(request)
        values = self._checked(request, body, visitor)
        who = visitor.email or visitor.user or ""
        specialist = str(values.get("specialist") or "")[:300]
        try:
            record = decisions.assign(self._ledger, request.path_params["number"], specialist, who=who)
        except PermanentError as error:
            return self._refused(request, visitor, error)
        return self._done(request, record)

    def _form(self, request: Request, language: Language, sent: Filled, status: HTTPStatus = HTTPStatus.OK) -> Response:
        key = _key(sent.values.get("key")) or secrets.token_urlsafe(16)
        return page(
            "form.html",
            language,
            "/submit",
            status,
            values=sent.values,
            wrong=sent.wrong,
            key=key,
            **self._terms(language),
        )

    def _status(
        self, _request: Request, record: SubmissionRecord, sent: Filled, status: HTTPStatus = HTTPStatus.OK
    ) -> Response:
        language = language_of(_request, record.submission.language)
        events = self._ledger.submissions.events(record.id)
        return page(
            "status.html",
            language,
            f"/submission/{record.token}",
            status,
            record=record,
            events=events,
            alternatives=self._named_alternatives(events[-1].detail.get("alternatives", ())),
            values=sent.values,
            wrong=sent.wrong,
            may_upload=may_upload(record),
            uploads=self.uploads.names(record.id),
            map=map_of((record.assessment or {}).get("bounds")),
            may_correct=record.state is SubmissionState.NEEDS_CHANGES,
            titles=self._titles(language),
            **self._terms(language),
        )

    def _manage(
        self, request: Request, visitor: Visitor, record: SubmissionRecord, refused: str = "",
        status: HTTPStatus = HTTPStatus.OK,
    ) -> Response:  # fmt: skip
        language = language_of(request)
        return page(
            "manage.html",
            language,
            f"/submissions/{record.id}",
            status,
            record=record,
            events=self._ledger.submissions.events(record.id),
            values=values_of(record.submission),
            titles=self._titles(language),
            map=map_of((record.assessment or {}).get("bounds")),
            may_decide=visitor.is_manager,
            may_assign=record.state not in FINAL,
            choices=_DECISIONS.get(record.state, ()),
            repositories=self._alternatives.repositories,
            suiting=self._alternatives.suiting(decisions.failed_criteria(record.assessment)),
            csrf=self._csrf(visitor),
            refused=refused,
        )

    def _refused(self, request: Request, visitor: Visitor, error: PermanentError) -> Response:
        record = self._ledger.submissions.get(request.path_params["number"])  # 404 for an unknown one
        if _is_json(request):
            raise ProblemError(HTTPStatus.CONFLICT, error.cause, error.remedy) from error
        return self._manage(request, visitor, record, str(error), HTTPStatus.CONFLICT)

    def _done(self, request: Request, record: SubmissionRecord) -> Response:
        if _is_json(request):
            return _json(self._document(record, None))
        return _see(f"/submissions/{record.id}", language_of(request))

    def _document(self, record: SubmissionRecord, address: str | None) -> dict[str, Any]:
        event = self._ledger.submissions.events(record.id)[-1]
        return described(record, event, address) | {
            "state": record.state.value,
            "revision": record.revision,
            "files_complete": record.files_complete,
            "assessment": record.assessment,
        }

    def _terms(self, language: Language) -> dict[str, str]:
        terms = self._policy.terms
        return {"terms": terms.fr if language == "fr" else terms.en, "version": self._policy.version}

    def _titles(self, language: Language) -> dict[str, str]:
        return {name: each.title.fr if language == "fr" else each.title.en for name, each in self._policy.criteria}

    def _named_alternatives(self, ids: Sequence[str]) -> list[Alternative]:
        return [each for each in self._alternatives.repositories if each.id in ids]

    def _of_token(self, request: Request) -> SubmissionRecord:
        record = self._ledger.submissions.of_token(request.path_params["token"])
        if record is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "There is no such submission", "Use the address in our mail")
        return record

    def _staff(self, request: Request) -> Visitor | Response:
        """Return a specialist or manager; a browser without a user is sent to the sign-in."""
        visitor = Visitor.of(request)
        if visitor.role >= Role.SPECIALIST:
            return visitor
        if visitor.user is None and self._services.access.issuer is not None and not _wants_json(request):
            return RedirectResponse(f"/user/login?next={request.url.path}", HTTPStatus.SEE_OTHER)
        status = HTTPStatus.UNAUTHORIZED if visitor.user is None else HTTPStatus.FORBIDDEN
        raise ProblemError(status, "Submissions are for specialists and managers", "Sign in with such a role")

    def _manager(self, request: Request) -> Visitor:
        visitor = Visitor.of(request)
        if not visitor.is_manager:
            status = HTTPStatus.UNAUTHORIZED if visitor.user is None else HTTPStatus.FORBIDDEN
            raise ProblemError(status, "Managers decide on submissions", "Sign in with the role 'manager'")
        return visitor

    def _checked(self, request: Request, body: bytes, visitor: Visitor) -> Mapping[str, Any]:
        """Return the fields of a manager's form or JSON. Raises ProblemError (403) for a request of another site.

        No other site can send JSON without a preflight, which allows no credentials; a form has a token of the user.
        """
        self._refuse_other_sites(request)
        if _is_json(request):
            return json_object(body)
        values = _fields(body)
        if not hmac.compare_digest(values.get("csrf", "").encode(), self._csrf(visitor).encode()):
            raise ProblemError(
                HTTPStatus.FORBIDDEN, "The form was not made for this user", "Open the page again, then decide"
            )
        return values

    def _csrf(self, visitor: Visitor) -> str:
        key = self._services.key.encode()
        return hmac.new(key, f"submissions\0{visitor.user}".encode(), "sha256").hexdigest()

    def _refuse_other_sites(self, request: Request) -> None:
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise ProblemError(HTTPStatus.FORBIDDEN, "The form was sent by another site", "Open our page, then send it")


def _fields(body: bytes) -> dict[str, str]:
    try:
        return decoded(body)
    except (ValueError, UnicodeError) as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The form can't be read", "Send it URL-encoded in UTF-8") from error


def _submission(document: dict[str, Any]) -> Submission:
    try:
        return Submission.model_validate(document)
    except ValidationError as error:
        wrong = "; ".join(f"{field}: {cause}" if field else cause for field, cause in wrong_fields(error))
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY, wrong, "Correct these fields; docs/appraisal.md lists all of them"
        ) from error


def _named(values: Mapping[str, Any]) -> list[str] | None:
    """Return the chosen repositories: of a form, none if no box is checked; of JSON, None if left out."""
    named = values.get("alternatives", values.get("alternative"))
    if isinstance(named, list):
        return [str(each) for each in named]
    if isinstance(named, str):
        return named.split()
    return [] if "csrf" in values else None


def _key(text: str | None) -> str | None:
    return text if text and 16 <= len(text) <= 64 and text.isascii() and text.isprintable() else None


def _number(value: object) -> int | None:
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else None


def _is_sender(record: SubmissionRecord, key: str | None) -> bool:
    return key is not None and record.sent_as is not None and hmac.compare_digest(key, record.sent_as)


def _is_json(request: Request) -> bool:
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower() == JSON


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("Accept", "")
    return JSON in accepted and "text/html" not in accepted


def _see(path: str, language: Language) -> Response:
    return RedirectResponse(f"{path}?lang={language}", HTTPStatus.SEE_OTHER)


def _json(document: Any, status: HTTPStatus = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    return Response(orjson.dumps(document), status, {"Cache-Control": "private, no-store", **(headers or {})}, JSON)
