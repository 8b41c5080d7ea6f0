"""The metadata manager at `/metadata`: a dataset's metadata in a form, checked, previewed, compared, committed to git.

For specialists and managers. Off unless `D4C_METADATA_MANAGER` is set. The YAML stays the only truth: a form is read
from it and changes it. Editing and committing belong to `drafting`, the fields to `services.submissions`.
"""

from __future__ import annotations

import difflib
import hmac
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from d4c_pipeline.appraisal.words import Language, words
from d4c_pipeline.drafting import committing
from d4c_pipeline.drafting.previews import previews
from d4c_pipeline.drafting.vocabularies import dropped_keywords
from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.completeness import completeness_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, DefinitionError, UnknownNameError
from d4c_pipeline.model.gaps import gaps_of
from d4c_pipeline.model.licences import licences
from d4c_pipeline.model.vocabulary import Term
from d4c_pipeline.services.access import Role, Visitor
from d4c_pipeline.services.bodies import FORM, with_body
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.services.protocol import Protocol, Services
from d4c_pipeline.services.submissions import definition_forms as forms
from d4c_pipeline.services.submissions.forms import decoded
from d4c_pipeline.services.submissions.pages import language_of, page, style
from d4c_pipeline.workspace.datasets import (
    WrongFieldsError,
    definition_file,
    definition_files,
    read_definition_text,
)
from d4c_pipeline.workspace.deployment import opened_ledger
from d4c_pipeline.workspace.package_rules import load_package_rules, unmet

_MOST_FIELDS = 10_000  # two for each column
_MOST_SUGGESTED = 3_000  # labels that a page offers while one types; the search finds the others
_MOST_FOUND = 50
_STYLE = "/metadata/style.css"
_CARRIED = ("seen", "was")


def _routes(services: Services) -> Sequence[BaseRoute]:
    appraisal = AppraisalSettings.from_environment()
    if not appraisal.manages_metadata:
        return []
    server = _Manager(services, services.shared("ledger", lambda: opened_ledger(services.settings)), appraisal)
    return [
        Route(_STYLE, lambda _: style(), methods=["GET"]),
        Route("/metadata", server.listing, methods=["GET"]),
        Route("/metadata/{dataset}", server.show, methods=["GET"]),
        Route("/metadata/{dataset}", with_body(server.work, FORM), methods=["POST"]),
    ]


PROTOCOL = Protocol(name="metadata", title="Metadata manager", path="metadata", routes=_routes)


class _Manager:
    def __init__(self, services: Services, ledger: Ledger, appraisal: AppraisalSettings) -> None:
        self._services, self._ledger = services, ledger
        self._settings, self._without_git = services.settings, appraisal.without_git
        self._terms = _Terms(ledger)

    def listing(self, request: Request) -> Response:
        if isinstance(refused := self._staff(request), Response):
            return refused
        rows: list[dict[str, Any]] = []
        for identifier, file in sorted(definition_files(self._settings.definitions).items()):
            row: dict[str, Any] = {"id": identifier, "title": "", "score": "", "problem": ""}
            try:
                declared = read_definition_text(committing.read_definition(file), file)
            except D4CError as error:
                row["problem"] = error.cause
            else:
                if not isinstance(declared, Dataset):
                    continue
                row["title"] = declared.title.fr if language_of(request) == "fr" else declared.title.en
                row["score"] = f"{completeness_of(declared).score * 100:.0f} %"
            rows.append(row)
        return page("definitions.html", language_of(request), "/metadata", rows=rows, sheet=_STYLE)

    def show(self, request: Request) -> Response:
        visitor = self._staff(request)
        if isinstance(visitor, Response):
            return visitor
        file = self._file(request)
        notice = ""
        texts = words(language_of(request))["metadata"]
        try:
            if committing.resume(self._ledger, self._settings.home, file) is not None:
                notice = texts["resumed"]
        except D4CError as error:
            notice = str(error)
        text = committing.read_definition(file)
        if (done := request.query_params.get("commit", "")) and done.isalnum() and len(done) <= 64:
            notice = texts["written"] if done == "none" else texts["committed"].format(commit=done[:12])
        values = forms.values_of(text)
        return self._form(request, visitor, text, _carrying(values, text, values), notice=notice)

    def work(self, request: Request, body: bytes) -> Response:
        """Take the form: search for keywords, check and preview, go on editing, or commit."""
        visitor = self._staff(request)
        if isinstance(visitor, Response):
            raise ProblemError(HTTPStatus.UNAUTHORIZED, "Metadata are for specialists and managers", "Sign in")
        values = self._checked(request, body, visitor)
        file = self._file(request)
        text = committing.read_definition(file)
        step = values.get("step", "check")
        was = _was(values, text)
        if committing.digest(text) != values.get("seen"):
            values, both = _merged(values, was, text)
            texts = words(language_of(request))["metadata"]
            notice = texts["changed"]
            if both:
                notice = f"{notice} {texts['both']} {', '.join(both)}"
            return self._checked_page(request, visitor, file, text, values, notice=notice, status=HTTPStatus.CONFLICT)
        if step in ("search", "edit") or (step == "check" and (values.get("add") or values.get("chosen"))):
            return self._keyworded(request, visitor, text, values)
        if step == "commit":
            return self._commit(request, visitor, file, text, values)
        return self._checked_page(request, visitor, file, text, values)

    def _keyworded(self, request: Request, visitor: Visitor, text: str, values: dict[str, str]) -> Response:
        """Show the form again with keywords added, and with the terms that were searched for."""
        wrong: dict[str, str] = {}
        wanted = [line for name in ("add", "chosen") for line in values.pop(name, "").splitlines() if line.strip()]
        for label in wanted:
            term = self._terms.labelled(label)
            if term is None:
                wrong["add"] = label
                values["add"] = label
            else:
                values = forms.with_keyword(values, {"en": term.en, "fr": term.fr})
        looked = values.get("find", "").strip()
        found = self._terms.search(looked) if looked and values.get("step") == "search" else None
        status = HTTPStatus.UNPROCESSABLE_ENTITY if wrong else HTTPStatus.OK
        return self._form(request, visitor, text, values, wrong=wrong, found=found, status=status)

    def _checked_page(
        self, request: Request, visitor: Visitor, file: Path, text: str, values: dict[str, str], *,
        notice: str = "", status: HTTPStatus = HTTPStatus.OK,
    ) -> Response:  # fmt: skip
        made = self._made(request, visitor, file, text, values)
        if isinstance(made, Response):
            return made
        changed, dataset = made
        records: Sequence[Any] = ()
        is_example = False
        try:
            records, is_example = previews(dataset, self._ledger, self._settings)
        except D4CError as error:
            notice = f"{notice} {error}".strip()
        gaps = [*gaps_of(dataset), *unmet(dataset, load_package_rules(self._settings.definitions), self._ledger)]
        difference = list(
            difflib.unified_diff(text.splitlines(), changed.splitlines(), "defs.yaml", "defs.yaml", lineterm="")
        )
        carried = {
            name: each for name, each in values.items() if name not in ("csrf", "step", "lang", "find", "message")
        }
        return page(
            "definition_check.html",
            language_of(request),
            f"/metadata/{dataset.id}",
            status,
            dataset=dataset.id,
            notice=notice,
            difference=difference,
            records=records,
            is_example=is_example,
            gaps=gaps,
            free=self._terms.free((*dataset.keywords.en, *dataset.keywords.fr)),
            dropped=dropped_keywords(self._ledger, [dataset]),
            carried=carried | {"seen": committing.digest(text)},
            message=values.get("message", ""),
            csrf=self._csrf(visitor),
            sheet=_STYLE,
        )

    def _commit(self, request: Request, visitor: Visitor, file: Path, text: str, values: dict[str, str]) -> Response:
        made = self._made(request, visitor, file, text, values)
        if isinstance(made, Response):
            return made
        who = committing.Author(visitor.user or visitor.email or "", visitor.email)
        try:
            done = committing.commit(
                self._ledger, self._settings.home, file, values["seen"], made[0], who, values.get("message", ""),
                without_git=self._without_git,
            )  # fmt: skip
        except D4CError as error:
            current = committing.read_definition(file)
            merged, _ = _merged(values, _was(values, text), current)
            return self._checked_page(
                request, visitor, file, current, merged, notice=str(error), status=HTTPStatus.CONFLICT
            )
        where = f"/metadata/{file.parent.name}?lang={language_of(request)}&commit={done or 'none'}"
        return RedirectResponse(where, HTTPStatus.SEE_OTHER)

    def _made(
        self, request: Request, visitor: Visitor, file: Path, text: str, values: dict[str, str]
    ) -> tuple[str, Dataset] | Response:
        """Return the YAML of a form and its dataset, or the form again with the wrong fields."""
        try:
            changed = forms.applied(text, values)
        except DefinitionError as error:
            return self._form(
                request, visitor, text, values, refused=str(error), status=HTTPStatus.UNPROCESSABLE_ENTITY
            )
        try:
            declared = read_definition_text(changed, file)
        except WrongFieldsError as error:
            wrong: dict[str, str] = {}
            others: list[str] = []
            for path, cause in error.fields:
                field = forms.field_of(path, changed)
                if field in values:
                    wrong.setdefault(field, cause)
                else:
                    others.append(f"{path}: {cause}")
            return self._form(
                request, visitor, text, values, wrong=wrong, refused="; ".join(others),
                status=HTTPStatus.UNPROCESSABLE_ENTITY,
            )  # fmt: skip
        except DefinitionError as error:
            return self._form(
                request, visitor, text, values, refused=str(error), status=HTTPStatus.UNPROCESSABLE_ENTITY
            )
        if not isinstance(declared, Dataset):
            raise ProblemError(HTTPStatus.NOT_FOUND, "It is a family, not a dataset", "Edit its YAML")
        return changed, declared

    def _form(
        self, request: Request, visitor: Visitor, text: str, values: Mapping[str, str], *,
        wrong: Mapping[str, str] | None = None, found: Sequence[Term] | None = None, notice: str = "",
        refused: str = "", status: HTTPStatus = HTTPStatus.OK,
    ) -> Response:  # fmt: skip
        language = language_of(request)
        identifier = request.path_params["dataset"]
        return page(
            "definition_form.html",
            language,
            f"/metadata/{identifier}",
            status,
            dataset=identifier,
            values=values,
            causes={name: _cause(name, cause, language) for name, cause in (wrong or {}).items()},
            refused=refused,
            notice=notice,
            parties={key: forms.numbered(values, key) for key in forms.PARTIES},
            fields=forms.PARTIES,
            columns=forms.columns_of(text),
            found=found,
            suggested=self._terms.suggested(language),
            licences=licences(),
            sheet=_STYLE,
            csrf=self._csrf(visitor),
        )

    def _file(self, request: Request) -> Path:
        try:
            return definition_file(self._settings.definitions, request.path_params["dataset"])
        except UnknownNameError as error:
            raise ProblemError(HTTPStatus.NOT_FOUND, error.cause, "Open /metadata for the list") from error

    def _staff(self, request: Request) -> Visitor | Response:
        visitor = Visitor.of(request)
        if visitor.role >= Role.SPECIALIST:
            return visitor
        if visitor.user is None and self._services.access.issuer is not None and request.method == "GET":
            return RedirectResponse(f"/user/login?next={request.url.path}", HTTPStatus.SEE_OTHER)
        status = HTTPStatus.UNAUTHORIZED if visitor.user is None else HTTPStatus.FORBIDDEN
        raise ProblemError(status, "Metadata are for specialists and managers", "Sign in with such a role")

    def _checked(self, request: Request, body: bytes, visitor: Visitor) -> dict[str, str]:
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            raise ProblemError(HTTPStatus.FORBIDDEN, "The form was sent by another site", "Open our page, then send it")
        try:
            values = decoded(body, _MOST_FIELDS)
        except (ValueError, UnicodeError) as error:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "The form can't be read", "Send it URL-encoded") from error
        if not hmac.compare_digest(values.get("csrf", "").encode(), self._csrf(visitor).encode()):
            raise ProblemError(HTTPStatus.FORBIDDEN, "The form was not made for this user", "Open the page again")
        return values

    def _csrf(self, visitor: Visitor) -> str:
        key = self._services.key.encode()
        return hmac.new(key, f"metadata\0{visitor.user}".encode(), "sha256").hexdigest()


class _Terms:
    """The terms of the newest versions of all vocabularies, read again when a version is imported. Safe in threads."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger, self._lock = ledger, threading.Lock()
        self._versions: dict[str, str] = {}
        self._all: list[Term] = []
        self._by_label: dict[str, Term] = {}

    def _read(self) -> None:
        vocabularies = self._ledger.vocabularies
        versions = {name: vocabularies.newest(name) for name in vocabularies.names()}
        with self._lock:
            if versions == self._versions:
                return
            terms = [term for name in versions for term in vocabularies.search(name, "", most=1_000_000)]
            # A term with both languages wins: choosing it adds both.
            ordered = sorted(terms, key=lambda term: bool(term.en and term.fr))
            self._by_label = {label.casefold(): term for term in ordered for label in (term.en, term.fr) if label}
            self._all, self._versions = terms, versions

    def labelled(self, label: str) -> Term | None:
        self._read()
        return self._by_label.get(label.strip().casefold())

    def search(self, text: str) -> list[Term]:
        self._read()
        part = text.casefold()
        hits = (term for term in self._all if any(part in label.casefold() for label in (term.en, term.fr) if label))
        return sorted(hits, key=lambda term: len(term.en or term.fr or ""))[:_MOST_FOUND]

    def suggested(self, language: Language) -> list[str]:
        self._read()
        labels = (term.fr or term.en if language == "fr" else term.en or term.fr for term in self._all)
        return sorted({label for label in labels if label}, key=str.casefold)[:_MOST_SUGGESTED]

    def free(self, keywords: Sequence[str]) -> list[str]:
        """Return the keywords that no vocabulary has; none if no vocabulary is imported."""
        self._read()
        return [each for each in keywords if self._all and each.casefold() not in self._by_label]


def _carrying(values: Mapping[str, str], text: str, was: Mapping[str, str]) -> dict[str, str]:
    """Return the fields with what the form carries: the digest of the text it was made of, and its fields then."""
    return {**values, "seen": committing.digest(text), "was": orjson.dumps(dict(was)).decode()}


def _was(values: Mapping[str, str], text: str) -> dict[str, str]:
    try:
        found = orjson.loads(values.get("was", "{}"))
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ProblemError(HTTPStatus.BAD_REQUEST, "The form can't be read", "Open the page again")
    return found or forms.values_of(text)


def _merged(values: Mapping[str, str], was: Mapping[str, str], text: str) -> tuple[dict[str, str], list[str]]:
    """Return the fields of the present text with what this form changed, and the fields that both changed."""
    now = forms.values_of(text)
    mine = forms.changed_fields(values, was)
    both = [name for name in mine if name in now and now[name].strip() not in (was[name].strip(), values[name].strip())]
    others = {name: each for name, each in values.items() if name not in was and name not in _CARRIED}
    merged = {**others, **now, **{name: values[name] for name in mine if name in now}}
    return _carrying(merged, text, now), both


def _cause(name: str, cause: str, language: Language) -> str:
    """Return the sentence of a wrong field: its own in French, in English the cause that the model states."""
    texts = words(language)["metadata"]["errors"]
    if name == "add":
        return str(texts["add"]).format(label=cause)
    if language == "en":
        return f"{cause[:1].upper()}{cause[1:]}."
    last = name.rpartition(".")[2]
    kind = next((each for each in (last, name.partition(".")[0]) if each in texts), "other")
    if cause.startswith("the text has"):
        kind = "unfit"
    elif cause.startswith(("Field required", "String should have at least")):
        kind = "required"
    return texts[kind]
