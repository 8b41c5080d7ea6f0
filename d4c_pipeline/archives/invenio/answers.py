"""Parsing of InvenioRDM's responses: drafts, records, files, lists of errors, differences of metadata.

Pure functions over JSON, after recorded responses of a running InvenioRDM 14. Requests and their consequences belong to
`client.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from html import unescape
from typing import Any, cast

from d4c_pipeline.archives.invenio.metadata import identifier_of
from d4c_pipeline.archives.port import Draft, Listed, PublishedRecord, RemoteFile, moment
from d4c_pipeline.model.errors import D4CError, NeedsPersonError, PermanentError
from d4c_pipeline.transport.rest import Refusal

_TAG = re.compile(r"<[^>]*>")
# Quotes that `ftfy.fix_text` straightens: https://ftfy.readthedocs.io/en/latest/config.html (uncurl_quotes)
_QUOTES = {**dict.fromkeys((0x2BC, *range(0x2018, 0x201C)), "'"), **dict.fromkeys(range(0x201C, 0x2020), '"')}
_MD5 = "md5:"
# The error of a draft without files; publication would refuse the draft, so the error is not lost.
_NO_FILES_YET = "files.enabled"


def draft_of(body: Mapping[str, Any], url: str | None) -> Draft:
    """Read a draft."""
    return Draft(
        record_id=str(body["id"]),
        concept_id=str(_object(body.get("parent")).get("id", "")),
        identifier=identifier_of(body),
        doi=_doi(body),
        concept_doi=_doi(_object(body.get("parent"))),
        url=url,
    )


def record_of(body: Mapping[str, Any], url: str | None) -> PublishedRecord:
    """Read a published record. Raises NeedsPersonError if it has no DOI: the archive is not suited for releases."""
    doi, concept_doi = _doi(body), _doi(_object(body.get("parent")))
    if doi is None or concept_doi is None:
        raise NeedsPersonError(
            f"Record {body['id']} is published without {'a DOI' if doi is None else 'a DOI of all its versions'}",
            "Ask the archive's managers to enable DOIs",
        )
    entries = cast("Mapping[str, Mapping[str, Any]]", _object(_object(body.get("files")).get("entries")))
    return PublishedRecord(
        record_id=str(body["id"]),
        concept_id=str(_object(body.get("parent")).get("id", "")),
        identifier=identifier_of(body),
        doi=doi,
        concept_doi=concept_doi,
        url=url,
        files=tuple(_file({"key": name, **entries[name]}) for name in sorted(entries)),
        published_at=moment(body.get("created")),  # publication creates the record, beside its draft
    )


def listed_of(body: Mapping[str, Any]) -> Listed | None:
    """Read a published record out of a page of search results; None for one without a DOI."""
    doi, concept_doi = _doi(body), _doi(_object(body.get("parent")))
    if doi is None or concept_doi is None:
        return None
    return Listed(
        record_id=str(body["id"]),
        doi=doi,
        concept_doi=concept_doi,
        identifier=identifier_of(body),
        index=int(_object(body.get("versions")).get("index") or 0),
        names=frozenset(_object(_object(body.get("files")).get("entries"))),
    )


def has_newer_draft(body: Mapping[str, Any]) -> bool:
    """Return whether a published record is its concept's newest and a draft of the next version is open."""
    versions = _object(body.get("versions"))
    return bool(versions.get("is_latest")) and not versions.get("is_latest_draft", True)


def is_published(body: Mapping[str, Any]) -> bool:
    """Return whether a body is a published record, or the draft of an edit to one (its route answers with it too)."""
    return bool(body.get("is_published"))


def complete_files(body: Mapping[str, Any]) -> tuple[RemoteFile, ...]:
    """Return the files of a list that have arrived, by name."""
    return tuple(sorted((_file(entry) for entry in _entries(body) if is_complete(entry)), key=lambda file: file.name))


def pending_names(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a list whose content never arrived or was never committed."""
    return tuple(str(entry["key"]) for entry in _entries(body) if not is_complete(entry))


def is_complete(entry: Mapping[str, Any]) -> bool:
    """Return whether a file of a draft is complete and committed."""
    return entry.get("status") == "completed"


def file_of(entry: Mapping[str, Any]) -> RemoteFile:
    """Read one complete file."""
    return _file(entry)


def hits_of(body: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], int]:
    """Return a page of search results and the total number of results."""
    hits = _object(body.get("hits"))
    return cast("list[Mapping[str, Any]]", hits.get("hits") or []), int(hits.get("total") or 0)


def errors_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the `errors` of a response as `field: message`; InvenioRDM sends them also with 200 and 201."""
    errors: Any = body.get("errors") or []
    if isinstance(errors, str):
        return (errors,)
    found: list[str] = []
    for error in cast("list[Any]", errors):
        entry = _object(error)
        field = str(entry.get("field", ""))
        messages = cast("list[Any]", entry.get("messages") or [error])
        if field != _NO_FILES_YET:
            found += [f"{field}: {message}" if field else str(message) for message in messages]
    return tuple(found)


def refuse_errors(body: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """Return `body`, or raise PermanentError if it lists errors. `what` names the request."""
    errors = errors_of(body)
    if errors:
        raise PermanentError(
            f"The archive answered {what} with errors: {'; '.join(errors)}",
            "Correct the named fields in the dataset's YAML and run again: the draft stays and is corrected",
        )
    return body


def explain_refusal(refusal: Refusal) -> D4CError:
    """Return the explained error of a refused request."""
    details = "; ".join(errors_of(refusal.body))
    cause = f"The archive refused {refusal.method} {refusal.path}: {refusal.message.rstrip('.')} ({refusal.status})"
    if details:
        cause = f"{cause}: {details}"
    message = refusal.message.lower()
    if refusal.status in (401, 403):
        # Observed: a wrong token counts as anonymous, so the server answers 403, never 401.
        return NeedsPersonError(
            cause,
            "Check the archive's token: it may be wrong, expired, without the scopes deposit:write and "
            "deposit:actions, or of an account that does not own the record",
        )
    if "quota" in message or refusal.status == 413:
        return PermanentError(
            cause,
            "The files exceed the archive's quota: request a larger quota, then replace the draft "
            "('d4c archive restart' with the release's name: a draft keeps the quota of its creation), "
            "or split the dataset; then run again",
        )
    if "invalid value" in message:
        return PermanentError(
            cause,
            "The archive's vocabularies lack that id (licence, language, resource type, role; ids are in lower "
            "case): correct it in the dataset's YAML and run again",
        )
    if refusal.status in (404, 410):
        return PermanentError(cause, "Check the record's id and the archive's address, then run again")
    return PermanentError(cause, "Correct the cause and run again: the draft stays as it is")


def differences(sent: object, got: object, field: str = "metadata") -> Iterator[str]:
    """Yield the fields that the archive changed; additions of the archive (titles of ids) are no difference.

    Text is compared without markup, case, white space, kinds of quotes and invisible characters, in compatibility
    form: InvenioRDM passes HTML through `bleach` and every text through `ftfy.fix_text`, and normalises identifiers.
    """
    if isinstance(sent, Mapping):
        there = _object(got)
        for key, value in cast("Mapping[str, object]", sent).items():
            yield from differences(value, there.get(key), f"{field}.{key}")
    elif isinstance(sent, (list, tuple)):
        values = cast("list[object]", sent)
        other = cast("list[object]", got) if isinstance(got, list) else []
        if len(values) != len(other):
            yield field
            return
        for number, (each, counterpart) in enumerate(zip(values, other, strict=True)):
            yield from differences(each, counterpart, f"{field}.{number}")
    elif _plain(sent) != _plain(got):
        yield field


def _plain(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = float(value)  # -180 and -180.0 are equal
    text = unicodedata.normalize("NFKC", unescape(_TAG.sub(" ", str(value)))).translate(_QUOTES)
    # The archive drops control and zero-width characters; here white space becomes one space.
    seen = "".join(each for each in text if each.isspace() or unicodedata.category(each) not in ("Cc", "Cf"))
    return " ".join(seen.split()).casefold()


def _doi(body: Mapping[str, Any]) -> str | None:
    return _object(_object(body.get("pids")).get("doi")).get("identifier")


def _file(entry: Mapping[str, Any]) -> RemoteFile:
    return RemoteFile(str(entry["key"]), int(entry["size"]), str(entry["checksum"]).removeprefix(_MD5))


def _entries(body: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return cast("list[Mapping[str, Any]]", body.get("entries") or [])


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
