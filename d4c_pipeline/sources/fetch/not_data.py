"""Detection of responses that are not data, in spite of their status and name: web pages, error documents, error texts.

Only the bytes decide: servers send pages as `text/csv` and data as `text/html`. Only the first bytes of a large file
are read. The format that a name requires (a zip, a GeoPackage) is checked in `files.py`; statuses belong to `web.py`.
"""

from __future__ import annotations

import codecs
import json
import re
from pathlib import Path
from typing import Any, cast

from d4c_pipeline.model.errors import D4CError, NeedsPersonError, SourceError, TransientError

HTML_SUFFIXES = (".html", ".htm", ".xhtml")
_DOCUMENT = 1 << 16  # bytes; an error document is smaller, and a prologue before the root of a page as well
_NOTE = 4096  # bytes; an error text has a line or two
_QUOTED = 200  # characters of an error document that a message quotes
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# What may precede the root of an XML or HTML document.
_PROLOGUE = re.compile(
    r"(?:[\s\ufeff]+|<\?.*?\?>|<!--.*?-->|<!doctype\s+(?!html\b)[^\[>]*(?:\[[^\]]*\])?\s*>)*+",
    re.IGNORECASE | re.DOTALL,
)
_OPEN_PROLOGUE = re.compile(r"<(?:\?|!)", re.IGNORECASE)
_HTML = re.compile(
    r"<(?:!doctype\s+html\b|(?:html:)?(?:html|head|body|script|meta|title|style|base|link|noscript|iframe|frameset|center"
    r"|div|h[1-6]|p|br|hr|font|table|form|span|pre|img|b)(?=[\s/>]))",
    re.IGNORECASE,
)
# OGC's services (WMS, WFS, OWS Common), S3, SOAP.
_XML_ERROR = re.compile(
    r"<(?:\w+:)?(?:ServiceExceptionReport|ServiceException|ExceptionReport|Exception|Error|error|Fault|fault)(?=[\s/>])"
)
_ENVELOPE = re.compile(r"<(?:\w+:)?Envelope\b.*<(?:\w+:)?Fault\b", re.DOTALL)

_FAILED = frozenset({"error", "fail", "failed", "failure", "ko", "erreur"})
_UNDER_WAY = frozenset({
    "pending", "processing", "inprogress", "in_progress", "in progress", "queued", "running", "started", "submitted",
    "accepted", "waiting", "preparing", "exporting", "exportingdata", "enqueued", "scheduled", "generating", "building",
})  # fmt: skip
_ERROR_KEYS = frozenset({
    "error", "errors", "message", "messages", "msg", "detail", "exception", "fault", "error_description",
    "errormessage", "error_message", "errorcode", "error_code", "servererror",
})  # fmt: skip
_ENVELOPE_KEYS = _ERROR_KEYS | frozenset({
    "details", "status", "statuscode", "status_code", "code", "success", "ok", "title", "type", "instance", "path",
    "timestamp", "trace", "traceid", "trace_id", "requestid", "request_id", "help", "reason", "description", "method",
    "documentation_url", "url", "hint", "name", "__type", "result", "data", "object", "results", "http_status", "id",
})  # fmt: skip
_WORDS = _ERROR_KEYS | {"details", "title", "reason", "description", "hint"}
_PAYLOAD = ("result", "data", "object", "results")

_PHRASE = re.compile(
    r"""\W*
    (?:(?:(?:https?(?:/[\d.]+)?|error|erreur|status|code)\W*)*[45]\d\d\b\W*)?(?:the\ |your\ )?
    (?:
      internal\ (?:server\ )?error | server\ (?:error|too\ busy|is\ too\ busy) | too\ many\ (?:requests|connections)
      | (?:rate|request)\ limit | quota\ exceeded | (?:access|permission)\ (?:is\ |was\ |to\ .{0,80}\ )?denied
      | access\ forbidden | forbidden\W*$ | unauthori[sz]ed\b | authentication\ (?:required|failed)
      | (?:the\ )?(?:requested\ )?(?:page|file|resource|document|url|item|object|dataset|table|layer)?
        .{0,80}(?:\bwas|\bis|\bcould)?\ ?not\ (?:be\ )?found\W*$
      | (?:the\ )?(?:service|server|site|system|resource|database|website)?\W*(?:is\ )?(?:currently\ |temporarily\ )?
        unavailable\b | service\ (?:temporarily\ |is\ )?unavailable | bad\ (?:gateway|request) | method\ not\ allowed
      | (?:gateway|request|connection|query|upstream\ request|operation|script)\ time(?:d\ ?|-)?out | request\ rejected
      | (?:gateway|request|connection|query|operation)\ timed\ out | upstream\ connect\ error | no\ healthy\ upstream
      | no\ such\ (?:file|key|bucket|table) | invalid\ (?:or\ expired\ )?(?:token|api\ key|request|parameters?|url)\b
      | an?\ (?:unexpected\ |unknown\ |internal\ )?error\ (?:has\ )?occurr?ed | unexpected\ error | unknown\ error
      | error\ code\W*\d+ | (?:fatal|parse|application|runtime|database|sql)\ error\b | uncaught\ \w*exception
      | traceback\ \(most\ recent | (?:java|javax|org|com|system|microsoft)(?:\.\w+)+(?:exception|error)\b
      | ora-\d{5}\b | sqlstate\b | (?:down\ for|under|scheduled)\ maintenance | (?:error|erreur|exception)\s*:\s
      | acc[eè]s\ (?:refus[eé]|interdit|non\ autoris[eé]) | erreur\ (?:interne|serveur|du\ serveur|inattendue)
      | trop\ de\ requ[eê]tes | non\ autoris[eé]\W*$ | requ[eê]te\ (?:invalide|rejet[eé]e)
      | d[eé]lai\ (?:d.attente\ )?d[eé]pass[eé]
      | (?:service|serveur|site|page)\ (?:temporairement\ |est\ )?(?:indisponible|non\ disponible)
      | (?:la\ |le\ )?(?:page|fichier|ressource|document)\ .{0,80}?(?:introuvable|non\ trouv[eé]e?)
      | une\ erreur\ (?:est\ survenue|s.est\ produite|inattendue)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_STATUS_ONLY = re.compile(r"\W*(?:(?:HTTP(?:/[\d.]+)?|Error|Erreur)\W*)+[45]\d\d\b", re.IGNORECASE)
_PASSES = re.compile(
    r"too many|trop de|limit|throttl|unavailable|indisponible|non disponible|time[d -]*out|gateway|try again|r[eé]essay"
    r"|temporar|temporair|overload|busy|internal server error|internal error|erreur interne|server error|maintenance"
    r"|upstream|d[eé]lai",
    re.IGNORECASE,
)  # fmt: skip
_CREDENTIALS_WANTED = frozenset({401, 498, 499})


def is_html_type(content_type: str | None, name: str) -> bool:
    """Return whether a content type is that of a web page, and `name` is not the name of a web page."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type in ("text/html", "application/xhtml+xml") and not name.lower().endswith(HTML_SUFFIXES)


def html_instead(url: str) -> SourceError:
    """Return the error for a web page in the place of a declared data file."""
    return SourceError(
        f"{url} sent a web page instead of data",
        "Open the address in a browser: the file may have moved, or the publisher shows a notice",
    )


def is_page(start: bytes) -> bool:
    """Return whether these are the first bytes of a web page; False if the prologue is longer than `start`."""
    return _HTML.match(text := _text(start), _prologue(text)) is not None


def judged(path: Path, name: str, url: str, start: bytes, *, binary: bool, html_type: bool = False) -> D4CError | None:
    """Return the error for the complete file from `url`, with the name `name`, if it is not data; None if it may be.

    `start`: its first bytes, at least 64 unless it is shorter. `binary`: the name requires a format that is recognised
    by its first bytes. `html_type`: the Content-Type is that of a web page. The error is a TransientError if the
    response reports a temporary condition, NeedsPersonError if it requires credentials, else SourceError.
    """
    if name.lower().endswith(HTML_SUFFIXES):
        return None
    text = _text(start)
    head = text.lstrip("\ufeff \t\r\n\0")
    small = path.stat().st_size <= _DOCUMENT
    if head.startswith("<"):
        return _judged_markup(text if not small else _text(_read(path, _DOCUMENT)), path, url)
    if head.startswith(("{", "[")) and small:
        return _judged_json(_text(_read(path, _DOCUMENT)), url)
    if binary:
        return None
    if small and path.stat().st_size <= _NOTE:
        note = _text(_read(path, _NOTE))
        if not note.strip("\ufeff \t\r\n\0"):
            return SourceError(f"{url} sent an empty file", "Open the address in a browser and correct it")
        if (found := _judged_note(note, url)) is not None:
            return found
    # Data that a script sends as text/html is a table, or lines without any tag.
    lined = _is_tabular(text) or (len(text.split()) > 1 and "\n" in text.strip() and "<" not in text)
    return html_instead(url) if html_type and not head.startswith(("{", "[")) and not lined else None


def _judged_markup(text: str, path: Path, url: str) -> D4CError | None:
    at = _prologue(text)
    if _OPEN_PROLOGUE.match(text, at) and not _HTML.match(text, at):  # a long comment: the root comes later
        text = _text(_read(path, _DOCUMENT))
        at = _prologue(text)
    if _HTML.match(text, at):
        return html_instead(url)
    if path.stat().st_size <= _DOCUMENT and (_XML_ERROR.match(text, at) or _ENVELOPE.match(text, at)):
        return _error(url, re.sub(r"<[^>]*>", " ", text[at:]).strip() or text[at:])
    return None


def _judged_json(text: str, url: str) -> D4CError | None:
    try:
        document = json.loads(text.strip("\ufeff \t\r\n\0"))
    except (ValueError, RecursionError):
        return None  # several lines of objects, or broken: the reader reports the defect
    if isinstance(document, list) and len(cast("list[Any]", document)) == 1:
        document = cast("list[Any]", document)[0]
    if not isinstance(document, dict):
        return None
    found = {str(key).casefold(): value for key, value in cast("dict[str, Any]", document).items()}
    status = found.get("status")
    status_text = status.casefold() if isinstance(status, str) else ""
    refused = found.get("success") is False or found.get("ok") is False or status_text in _FAILED
    loaded = any(isinstance(found.get(key), (list, dict)) and found[key] for key in _PAYLOAD)
    if loaded and not refused and not found.get("errors"):
        return None
    if status_text in _UNDER_WAY and not any(isinstance(value, list) for value in found.values()):
        return TransientError(f"{url} is not ready yet: it sent {_short(text)}", "Try again later")
    error = found.get("error") or found.get("errors") or found.get("exception") or found.get("fault")
    only_words = set(found) <= _ENVELOPE_KEYS and bool(set(found) & _ERROR_KEYS)
    if not (refused or only_words or (isinstance(error, (dict, list)) and error and "features" not in found)):
        return None
    message = _words({key: value for key, value in found.items() if key in _WORDS})
    return _error(url, message or text, _code(found))


def _judged_note(text: str, url: str) -> D4CError | None:
    lines = [line for line in text.strip("\ufeff \t\r\n\0").splitlines() if line.strip()]
    if not (_PHRASE.match(lines[0]) or _STATUS_ONLY.match(lines[0])) or (len(lines) > 1 and _is_tabular(text)):
        return None
    found = re.search(r"\b([45]\d\d)\b", lines[0])
    return _error(url, " ".join(lines), int(found[1]) if found else None)


def _error(url: str, message: str, status: int | None = None) -> D4CError:
    cause = f"{url} sent an error instead of data: {_short(message)}"
    if status in _CREDENTIALS_WANTED:
        return NeedsPersonError(
            cause,
            "Declare the variable that holds the credentials as the source's authorization, or correct its value",
        )
    if status in (408, 425, 429) or 500 <= (status or 0) <= 599 or _PASSES.search(message):
        return TransientError(cause, "Try again later; if it persists, report it to the publisher")
    return SourceError(cause, "Open the address in a browser and correct it")


def _words(value: object) -> str:
    """Return the texts of an error document, in their order."""
    if isinstance(value, dict):
        return "; ".join(filter(None, (_words(each) for each in cast("dict[str, object]", value).values())))
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(each) for each in cast("list[object]", value))))
    return "" if value is None or isinstance(value, bool) else str(value)


def _code(found: dict[str, Any]) -> int | None:
    inner = cast("dict[str, Any]", found["error"]) if isinstance(found.get("error"), dict) else {}
    for value in (inner.get("code"), inner.get("status"), *map(found.get, ("code", "status", "statuscode"))):
        if isinstance(value, int | str) and str(value).isdigit():
            return int(value)
    return None


def _is_tabular(text: str) -> bool:
    """Return whether the first lines have an equal and positive number of one delimiter."""
    lines = [line for line in text.splitlines() if line.strip()][:10]
    counts = ({line.count(mark) for line in lines} for mark in ",;\t|")
    return any(len(each) == 1 and each != {0} for each in counts)


def _prologue(text: str) -> int:
    found = _PROLOGUE.match(text)
    return 0 if found is None else found.end()


def _text(data: bytes) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, errors="replace")
    if data[:4].count(0) == 2 and data[0:2].count(0) == 1:  # UTF-16 without a mark
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", errors="replace")
    return data.decode("utf-8", errors="replace")


def _read(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _QUOTED else f"{plain[:_QUOTED]}..."
