"""The six verbs of OAI-PMH over the table of records: what they select and deliver, page by page.

Lists are ordered by the time of the last change and the id, and a token continues after the last of these. The first
page fixes the end of the list: a record that changes during a harvest moves behind it, and the next harvest gets it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import duckdb

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.services import record_port
from d4c_pipeline.services.oai import answers, sets
from d4c_pipeline.services.oai.answers import element
from d4c_pipeline.services.oai.arguments import Arguments, Selection, read
from d4c_pipeline.services.oai.errors import OaiError
from d4c_pipeline.services.oai.formats import FORMATS, OaiFormat
from d4c_pipeline.services.oai.tokens import Position, Tokens
from d4c_pipeline.services.record_port import RecordRow

RECORDS_PAGE, HEADERS_PAGE, SETS_PAGE = 100, 1_000, 1_000
_BEFORE_ALL = (-1, "")
_log = logging.getLogger(__name__)


class Repository:
    """Answers one request after another. `name`, `mail`: of the publisher, for Identify."""

    def __init__(self, tokens: Tokens, name: str, mail: str) -> None:
        self._tokens, self._name, self._mail = tokens, name, mail

    def answer(self, cursor: duckdb.DuckDBPyConnection, base: str, pairs: Sequence[tuple[str, str]]) -> bytes:
        """Return the answer to a request with the given arguments, also to a wrong one."""
        now = time.time()
        stated: dict[str, str] = {}
        try:
            arguments = read(pairs)
            stated = dict(arguments.stated)
            content: list[str | bytes] = list(self._content(cursor, arguments, base, int(now)))
        except OaiError as problem:
            # The protocol: the element `request` has no attributes after these two errors.
            stated = {} if problem.code in ("badVerb", "badArgument") else stated
            content = [answers.error(problem)]
        return answers.answer(now, base, stated, content)

    def _content(
        self, cursor: duckdb.DuckDBPyConnection, arguments: Arguments, base: str, now: int
    ) -> Iterator[str | bytes]:
        made = {
            "Identify": lambda: self._identify(cursor, base),
            "ListMetadataFormats": lambda: self._formats(cursor, arguments),
            "ListSets": lambda: self._sets(cursor, arguments),
            "GetRecord": lambda: self._record(cursor, arguments),
            "ListIdentifiers": lambda: self._list(cursor, arguments, now, HEADERS_PAGE),
            "ListRecords": lambda: self._list(cursor, arguments, now, RECORDS_PAGE),
        }[arguments.verb]()
        yield f"<{arguments.verb}>"
        yield from made
        yield f"</{arguments.verb}>"

    def _identify(self, cursor: duckdb.DuckDBPyConnection, base: str) -> Iterator[str]:
        first = cursor.execute("SELECT min(modified) FROM records").fetchall()[0][0]
        yield element("repositoryName", self._name)
        yield element("baseURL", base)
        yield element("protocolVersion", "2.0")
        yield element("adminEmail", self._mail)
        yield element("earliestDatestamp", answers.instant(first or 0))
        yield element("deletedRecord", "persistent")
        yield element("granularity", "YYYY-MM-DDThh:mm:ssZ")

    def _formats(self, cursor: duckdb.DuckDBPyConnection, arguments: Arguments) -> Iterator[str]:
        row = None if arguments.identifier is None else self._row(cursor, arguments.identifier)
        for form in FORMATS.values():
            if row is None or row.has_place or not form.needs_place:
                yield "<metadataFormat>"
                yield element("metadataPrefix", form.prefix)
                yield element("schema", form.schema)
                yield element("metadataNamespace", form.namespace)
                yield "</metadataFormat>"

    def _sets(self, cursor: duckdb.DuckDBPyConnection, arguments: Arguments) -> Iterator[str]:
        size = sets.count(cursor)
        start = Position("ListSets", size, 0, _BEFORE_ALL)
        if arguments.token is not None:
            start = self._tokens.read(arguments.token, arguments.verb)
        found = sets.after(cursor, start.after[1], SETS_PAGE + 1)
        page = found[:SETS_PAGE]
        if not page:
            raise OaiError("badResumptionToken", "The list has ended: begin it again")
        for each in page:
            yield f"<set>{element('setSpec', each.spec)}{element('setName', each.name)}</set>"
        following = replace(start, cursor=start.cursor + len(page), after=(0, page[-1].spec))
        yield from self._resumed(start, following, more=len(found) > len(page), token=arguments.token)

    def _record(self, cursor: duckdb.DuckDBPyConnection, arguments: Arguments) -> Iterator[bytes]:
        row = self._row(cursor, arguments.identifier or "")
        form = _format(arguments.stated["metadataPrefix"])
        if form.needs_place and not row.has_place:
            raise OaiError("cannotDisseminateFormat", f"{row.identifier} has no place, which {form.prefix} requires")
        if row.withdrawn:
            yield answers.record(row, None)
            return
        metadata = _rendered(form, row, record_port.published(cursor, [row])[row.position])
        if metadata is None:
            raise OaiError("cannotDisseminateFormat", f"{row.identifier} has facts that {form.prefix} can't hold")
        yield answers.record(row, metadata)

    def _list(
        self, cursor: duckdb.DuckDBPyConnection, arguments: Arguments, now: int, most: int
    ) -> Iterator[str | bytes]:
        start = self._start(cursor, arguments, now)
        form = _format(start.prefix)
        condition, values = _condition(start)
        rows = record_port.select(
            cursor,
            f"{condition} AND (modified > ? OR (modified = ? AND id > ?))",
            [*values, start.after[0], *start.after],
            rest=f"ORDER BY modified, id LIMIT {most + 1:d}",
        )
        page = rows[:most]
        if not page:
            raise OaiError("badResumptionToken", "What was left of the list changed since: harvest from its first date")
        if arguments.verb == "ListIdentifiers":
            yield from map(answers.header, page)
        else:
            facts = record_port.published(cursor, [row for row in page if not row.withdrawn])
            for row in page:
                metadata = None if row.withdrawn else _rendered(form, row, facts[row.position])
                if row.withdrawn or metadata is not None:
                    yield answers.record(row, metadata)
        following = replace(start, cursor=start.cursor + len(page), after=(page[-1].modified, page[-1].id))
        yield from self._resumed(start, following, more=len(rows) > len(page), token=arguments.token)

    def _start(self, cursor: duckdb.DuckDBPyConnection, arguments: Arguments, now: int) -> Position:
        if arguments.token is not None:
            return self._tokens.read(arguments.token, arguments.verb)
        chosen: Selection = arguments.selection()
        _format(chosen.prefix)
        last = now if chosen.last is None else min(chosen.last, now)
        start = Position(arguments.verb, 0, 0, _BEFORE_ALL, chosen.prefix, chosen.spec, chosen.first, last)
        size = record_port.count(cursor, *_condition(start))
        if not size:
            raise OaiError("noRecordsMatch", "No record is in that set and changed in that time")
        return replace(start, size=size)

    def _resumed(self, start: Position, following: Position, *, more: bool, token: str | None) -> Iterator[str]:
        if more or token is not None:  # a list in one page has no token
            yield answers.resumption(self._tokens.written(following) if more else None, start.size, start.cursor)

    def _row(self, cursor: duckdb.DuckDBPyConnection, identifier: str) -> RecordRow:
        row = record_port.one(cursor, "identifier", identifier)
        if row is None:
            raise OaiError("idDoesNotExist", f"No record is called '{identifier[:200]}': ListIdentifiers has all")
        return row


def _condition(position: Position) -> tuple[str, list[Any]]:
    condition, values = sets.condition(position.spec)
    parts = [condition]
    for part, value in (("modified >= ?", position.first), ("modified <= ?", position.last)):
        if value is not None:
            parts.append(part)
            values.append(value)
    if FORMATS[position.prefix].needs_place:
        parts.append("has_place")
    return " AND ".join(parts), values


def _format(prefix: str) -> OaiFormat:
    form = FORMATS.get(prefix)
    if form is None:
        raise OaiError("cannotDisseminateFormat", f"The formats are {', '.join(FORMATS)}, not '{prefix[:80]}'")
    return form


def _rendered(form: OaiFormat, row: RecordRow, published: PublishedMetadata) -> bytes | None:
    """Return the element of a record, None (and a line in the log) when the format can't hold a fact of it."""
    try:
        return form.rendered(published)
    except D4CError as error:
        _log.warning("OAI-PMH leaves out the record of %s in %s: %s", row.id, form.prefix, error)
        return None
