"""Answers requests: each operation of CSW over the index of the catalogue."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlencode

import duckdb
from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from d4c_pipeline.metadata.published import PublishedMetadata, Tongue
from d4c_pipeline.metadata.records.xml_document import Element, element, legal
from d4c_pipeline.services import record_port
from d4c_pipeline.services.cql2 import Condition, Kind
from d4c_pipeline.services.csw import capabilities, documents, filters, opensearch, records
from d4c_pipeline.services.csw.capabilities import ATOM_FORMAT, FORMATS, Publisher
from d4c_pipeline.services.csw.dialects import Dialect
from d4c_pipeline.services.csw.errors import CswError, invalid
from d4c_pipeline.services.csw.queryables import TABLE, queryable
from d4c_pipeline.services.csw.reading import Asked, parsed
from d4c_pipeline.services.record_port import RecordRow

XML = "application/xml; charset=utf-8"
_DEFAULT, _MOST = 10, 100
"""Records of a page."""
_MOST_VALUES = 1_000
"""Values of a domain, and identifiers of a request."""
_URI = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?[A-Za-z0-9/?@=&+,;._~-][A-Za-z0-9:/?@=&+,;._~-]{0,500}", re.ASCII)
_SCHEMA_LANGUAGES = ("http://www.w3.org/XML/Schema", "http://www.w3.org/2001/XMLSchema", "XMLSCHEMA")
_DESCRIBED = {
    "http://www.opengis.net/cat/csw/2.0.2": ("include", "http://schemas.opengis.net/csw/2.0.2/record.xsd"),
    "http://www.isotc211.org/2005/gmd": ("include", "http://www.isotc211.org/2005/gmd/gmd.xsd"),
    "http://standards.iso.org/iso/19115/-3/mdb/2.0": (
        "include",
        "https://schemas.isotc211.org/19115/-3/mdb/2.0/mdb.xsd",
    ),
}
_OF_TYPE = {"gmd": "http://www.isotc211.org/2005/gmd", "mdb": "http://standards.iso.org/iso/19115/-3/mdb/2.0"}


@dataclass(frozen=True)
class Answer:
    """A body with its media type."""

    body: bytes
    media_type: str = XML


@dataclass(frozen=True)
class _Page:
    """What GetRecords delivers. `view`: an element set; `only`: names of elements in its place; `form`: media type.

    `request`: the client's name of its request.
    """

    schema: str
    view: str
    only: tuple[str, ...]
    form: str
    start: int
    most: int
    result: str
    order: str
    request: str | None


class Catalogue:
    """Answers one request after another."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def answer(self, cursor: duckdb.DuckDBPyConnection, address: str, asked: Asked) -> Answer:
        """Return the answer to a request. `address`: of the service. Raises CswError."""
        operations: Mapping[str, Callable[[], Answer]] = {
            "GetCapabilities": lambda: self._capabilities(cursor, address, asked),
            "DescribeRecord": lambda: _description(asked),
            "GetDomain": lambda: _domain(cursor, asked),
            "GetRecords": lambda: self._records(cursor, address, asked),
            "GetRecordById": lambda: self._by_id(cursor, address, asked),
        }
        return operations[asked.operation]()

    def description(self, address: str) -> Answer:
        """Return the description of the search by OpenSearch."""
        return Answer(opensearch.description(address, self._publisher), opensearch.DESCRIPTION_FORMAT)

    def _capabilities(self, cursor: duckdb.DuckDBPyConnection, address: str, asked: Asked) -> Answer:
        state = _state(cursor)
        sections = asked.many("sections")
        known = {each.lower() for each in (*capabilities.SECTIONS, "All")}
        if unknown := [each for each in sections if each.lower() not in known]:
            raise invalid("sections", f"'{unknown[0][:60]}' is not one of {', '.join(capabilities.SECTIONS)}")
        changed = True
        if (text := asked.get("updatesequence")) is not None:
            if asked.count("updatesequence", 0, 0) > state:
                raise CswError(
                    "InvalidUpdateSequence", "updateSequence", f"'{text[:40]}' is later than {state}, the present one"
                )
            changed = asked.count("updatesequence", 0, 0) < state
        body = capabilities.capabilities(asked.dialect, address, self._publisher, str(state), sections, changed=changed)
        return Answer(body)

    def _records(self, cursor: duckdb.DuckDBPyConnection, address: str, asked: Asked) -> Answer:
        page = _page(asked)
        conditions = _conditions(asked)
        if page.schema in records.OUTPUT_SCHEMAS and records.OUTPUT_SCHEMAS[page.schema].needs_place:
            conditions.append(Condition("has_place", ()))
        if page.result == "validate":
            return Answer(_acknowledged(asked))
        condition = " AND ".join(each.sql for each in conditions) or "true"
        values = [value for each in conditions for value in each.parameters]
        (matched,) = cursor.execute(f"SELECT count(*) FROM {TABLE} WHERE {condition}", values).fetchall()[0]  # noqa: S608
        found: list[tuple[RecordRow, PublishedMetadata]] = []
        if page.result == "results" and page.most and page.start <= matched:
            query = f"SELECT position FROM {TABLE} WHERE {condition} ORDER BY {page.order} LIMIT ? OFFSET ?"  # noqa: S608
            rows = cursor.execute(query, [*values, page.most, page.start - 1]).fetchall()
            found = _facts(cursor, [position for (position,) in rows])
        # As many as stand on this page, with those that a format can't hold.
        reached = page.start + len(found)
        following = reached if found and reached <= matched else 0
        if page.form == ATOM_FORMAT:
            return self._feed(cursor, address, asked, page, matched, following, found)
        bodies = [body for row, facts in found if (body := _body(asked.dialect, page, row, facts)) is not None]
        attributes = {
            "numberOfRecordsMatched": str(matched),
            "numberOfRecordsReturned": str(len(bodies)),
            "nextRecord": str(following),
            "recordSchema": page.schema,
        }
        if not page.only:
            attributes["elementSet"] = page.view
        if asked.dialect.is_3:
            status = "none" if not bodies else "subset" if len(bodies) < matched else "complete"
            attributes["status"] = status
        content: list[Element | bytes] = [element("csw:RequestId", page.request)] if page.request else []
        content.append(element("csw:SearchStatus", attributes={"timestamp": documents.instant(time.time())}))
        content.append(documents.envelope("csw:SearchResults", attributes, bodies, {}))
        version = {"version": asked.dialect.version}
        return Answer(documents.answer(asked.dialect, "csw:GetRecordsResponse", version, content), _typed(page.form))

    def _by_id(self, cursor: duckdb.DuckDBPyConnection, address: str, asked: Asked) -> Answer:
        identifiers = asked.many("id")
        if not identifiers:
            raise CswError("MissingParameterValue", "id", "GetRecordById needs id=..., the dc:identifier of a record")
        if len(identifiers) > _MOST:
            raise invalid("id", f"{len(identifiers)} identifiers are given, and {_MOST} are allowed")
        page = _page(asked, default="summary", by_id=True)
        condition = filters.of_identifiers(identifiers)
        rows = cursor.execute(
            f"SELECT position, identifier FROM {TABLE} WHERE {condition.sql}",  # noqa: S608 - SQL of ours
            list(condition.parameters),
        ).fetchall()
        order = {identifier: position for position, identifier in rows}
        found = _facts(cursor, [order[each] for each in dict.fromkeys(identifiers) if each in order])
        if asked.dialect.is_3:
            if not found:
                raise CswError("NotFound", "id", f"No record is called '{identifiers[0][:200]}'")
            row, facts = found[0]
            if page.form == ATOM_FORMAT:
                entry = records.atom_entry(row, facts, _record_address(address, row), "en")
                return Answer(
                    opensearch.feed(
                        self._publisher,
                        documents.instant(row.modified),
                        (1, 1, 1),
                        {"self": _record_address(address, row)},
                        [entry],
                    ),
                    ATOM_FORMAT,
                )
            body = _body(asked.dialect, page, row, facts, alone=True)
            if body is None:
                raise invalid("outputSchema", f"{row.identifier} has facts that {page.schema} can't hold")
            return Answer(documents.standing(body), _typed(page.form))
        if page.form == ATOM_FORMAT:
            raise invalid("outputSchema", "GetRecordById of CSW 2.0.2 delivers no feed: use version=3.0.0")
        bodies = [body for row, facts in found if (body := _body(asked.dialect, page, row, facts)) is not None]
        return Answer(documents.answer(asked.dialect, "csw:GetRecordByIdResponse", {}, bodies), _typed(page.form))

    def _feed(
        self,
        cursor: duckdb.DuckDBPyConnection,
        address: str,
        asked: Asked,
        page: _Page,
        matched: int,
        following: int,
        found: Sequence[tuple[RecordRow, PublishedMetadata]],
    ) -> Answer:
        def at(position: int) -> str:
            kept = {name: value for name, value in asked.options.items() if name != "startposition"}
            return f"{address}?{urlencode({**kept, 'startposition': str(position)})}"

        links = {"self": at(page.start), "search": f"{address}/opensearch"}
        if following:
            links["next"] = at(following)
        if page.start > 1:
            links["previous"] = at(max(1, page.start - page.most))
        tongue: Tongue = "fr" if asked.get("language") == "fr" else "en"
        entries = [records.atom_entry(row, facts, _record_address(address, row), tongue) for row, facts in found]
        counts = (matched, page.start, page.most)
        updated = documents.instant(_state(cursor))
        return Answer(opensearch.feed(self._publisher, updated, counts, links, entries), ATOM_FORMAT)


def _page(asked: Asked, *, default: str = "summary", by_id: bool = False) -> _Page:
    dialect = asked.dialect
    if asked.get("responsehandler") is not None:
        raise CswError("OptionNotSupported", "ResponseHandler", "This service answers at once: leave it out")
    schema = records.output_schema(dialect, asked.get("outputschema"))
    form = asked.get("outputformat") or FORMATS[0]
    if form not in (*FORMATS, ATOM_FORMAT):
        raise invalid("outputFormat", f"'{form[:60]}' is not one of {', '.join((*FORMATS, ATOM_FORMAT))}")
    if schema == records.ATOM:
        form = ATOM_FORMAT
    view = asked.get("elementsetname") or default
    if view not in records.SETS:
        raise invalid("ElementSetName", f"'{view[:60]}' is not one of {', '.join(records.SETS)}")
    only = tuple(_element(name) for name in asked.many("elementname"))
    if not by_id:
        _check_types(asked)
    if not records.is_own(dialect, schema):
        view, only = "full", ()  # other formats have one form
    result = asked.get("resulttype") or ("results" if dialect.is_3 else "hits")
    if result not in capabilities.RESULT_TYPES:
        raise invalid("resultType", f"'{result[:60]}' is not one of {', '.join(capabilities.RESULT_TYPES)}")
    most = _MOST if asked.get("maxrecords") == "unlimited" else asked.count("maxrecords", _DEFAULT, 0)
    start = asked.count("startposition", 1, 1)
    request = asked.get("requestid")
    if request is not None and not _URI.fullmatch(request):
        raise invalid("requestId", f"'{request[:80]}' is not a URI, such as urn:uuid:...")
    return _Page(schema, view, only, form, start, min(most, _MOST), result, _order(asked), request)


def _typed(form: str) -> str:
    return f"{form}; charset=utf-8"


def _check_types(asked: Asked) -> None:
    names = asked.many("typenames") or asked.many("typename")
    if not names and not asked.dialect.is_3:
        raise CswError("MissingParameterValue", "typeNames", "GetRecords needs typeNames=csw:Record")
    locals_known = {name.partition(":")[2] for name in capabilities.TYPE_NAMES}
    for name in names:
        if name.rpartition(":")[2] not in locals_known:
            raise invalid("typeNames", f"'{name[:60]}' is not one of {', '.join(capabilities.TYPE_NAMES)}")


def _element(name: str) -> str:
    """Return the local name of an element in lower case, as `records.own_record` wants it. Raises CswError."""
    text = name.rpartition("/")[2].rpartition(":")[2].lower()
    if text in records.ELEMENTS:
        return text
    return queryable(name, "ElementName").name.rpartition(":")[2].lower()


def _order(asked: Asked) -> str:
    parts = []
    for text in asked.many("sortby"):
        name, direction = text, "A"
        for separator in (" ", ":"):
            head, found, tail = text.rpartition(separator)
            if found and tail.upper() in ("A", "D", "ASC", "DESC"):
                name, direction = head, tail.upper()[0]
                break
        parts.append(f"{queryable(name, 'SortBy').single} {'DESC' if direction == 'D' else 'ASC'} NULLS LAST")
    # The last ones make every order total, so pages have no record twice.
    return ", ".join((*parts, "published DESC", "id"))


def _conditions(asked: Asked) -> list[Condition]:
    found = []
    if asked.filter is not None:
        found.append(filters.of_xml(asked.filter))
    elif (text := asked.get("constraint")) is not None:
        language = (asked.get("constraintlanguage") or "").upper()
        if not language:
            raise CswError("MissingParameterValue", "constraintLanguage", "A constraint needs its language: CQL_TEXT")
        if language == "CQL_TEXT":
            found.append(filters.of_cql(text))
        elif language == "FILTER" or language.startswith("HTTP://WWW.OPENGIS.NET/FES"):
            found.append(filters.of_xml(parsed(text.encode(), "constraint")))
        else:
            raise invalid("constraintLanguage", f"'{language[:60]}' is not one of {', '.join(capabilities.LANGUAGES)}")
    simple = {"q": filters.of_words, "bbox": filters.of_box, "time": filters.of_time}
    found += [read(text) for name, read in simple.items() if (text := asked.get(name)) is not None]
    if identifiers := asked.many("recordids"):
        found.append(filters.of_identifiers(identifiers))
    return found


def _facts(cursor: duckdb.DuckDBPyConnection, positions: list[int]) -> list[tuple[RecordRow, PublishedMetadata]]:
    """Return rows and facts in the order of positions."""
    rows = record_port.select(cursor, "position IN (SELECT unnest(?))", [positions]) if positions else []
    by_position = {row.position: row for row in rows}
    facts = record_port.published(cursor, rows)
    return [(by_position[position], facts[position]) for position in positions]


def _body(
    dialect: Dialect, page: _Page, row: RecordRow, facts: PublishedMetadata, *, alone: bool = False
) -> bytes | None:
    if not records.is_own(dialect, page.schema):
        if records.OUTPUT_SCHEMAS[page.schema].needs_place and not row.has_place:
            return None
        return records.rendered(page.schema, row, facts)
    record = records.own_record(dialect, row, facts, page.view, page.only)
    return records.own_document(dialect, record) if alone else documents.fragment(record)


def _state(cursor: duckdb.DuckDBPyConnection) -> int:
    """Return the time of the last change, in seconds since 1970."""
    return cursor.execute("SELECT coalesce(max(modified), 0) FROM records").fetchall()[0][0]


def _record_address(address: str, row: RecordRow) -> str:
    query = {"service": "CSW", "version": "3.0.0", "request": "GetRecordById", "id": row.identifier}
    return f"{address}?{urlencode({**query, 'elementSetName': 'full'})}"


def _acknowledged(asked: Asked) -> bytes:
    if asked.document is not None:
        echoed: Element | bytes = etree.tostring(asked.document)
    else:
        pairs = [
            element("csw:Parameter", value, attributes={"name": legal(name)}) for name, value in asked.options.items()
        ]
        echoed = element("csw:Parameters", pairs)
    content = [documents.envelope("csw:EchoedRequest", {}, [echoed], {})]
    attributes = {"timeStamp": documents.instant(time.time())}
    return documents.answer(asked.dialect, "csw:Acknowledgement", attributes, content)


def _description(asked: Asked) -> Answer:
    dialect = asked.dialect
    if dialect.is_3:
        raise CswError("OperationNotSupported", "DescribeRecord", "CSW 3.0 has no DescribeRecord: use version=2.0.2")
    language = asked.get("schemalanguage") or _SCHEMA_LANGUAGES[0]
    if language not in _SCHEMA_LANGUAGES:
        raise invalid("schemaLanguage", f"'{language[:80]}' is not {_SCHEMA_LANGUAGES[0]}")
    form = asked.get("outputformat") or FORMATS[0]
    if form not in FORMATS:
        raise invalid("outputFormat", f"'{form[:60]}' is not one of {', '.join(FORMATS)}")
    names = asked.many("typename") or asked.many("typenames") or ["csw:Record", "gmd:MD_Metadata", "mdb:MD_Metadata"]
    _check_types(replace(asked, options={"typenames": ",".join(names)}))
    # The prefix decides, which is free in principle: both of ISO 19115 have the same local name.
    wanted = dict.fromkeys(_OF_TYPE.get(name.partition(":")[0], dialect.csw) for name in names)
    content = [
        element(
            "csw:SchemaComponent",
            element(
                "xs:schema",
                element(f"xs:{_DESCRIBED[namespace][0]}", attributes={"schemaLocation": _DESCRIBED[namespace][1]}),
                attributes={"targetNamespace": namespace, "elementFormDefault": "qualified"},
            ),
            attributes={"targetNamespace": namespace, "schemaLanguage": _SCHEMA_LANGUAGES[0]},
        )
        for namespace in wanted
    ]
    xs = "http://www.w3.org/2001/XMLSchema"
    return Answer(documents.answer(dialect, "csw:DescribeRecordResponse", {}, content, xs=xs))


def _domain(cursor: duckdb.DuckDBPyConnection, asked: Asked) -> Answer:
    dialect = asked.dialect
    property_element = "csw:ValueReference" if dialect.is_3 else "csw:PropertyName"
    parameters = asked.many("parametername")
    properties = asked.many("valuereference") or asked.many("propertyname")
    if not parameters and not properties:
        raise CswError("MissingParameterValue", "ParameterName", "GetDomain needs a ParameterName or a PropertyName")
    known = {name.lower(): values for name, values in capabilities.domains(dialect).items()}
    content = []
    for name in parameters:
        values = known.get(name.lower())
        if values is None:
            raise invalid("ParameterName", f"'{name[:80]}' is not one of {', '.join(capabilities.domains(dialect))}")
        content.append(_values(dialect, "csw:ParameterName", name, _listed(values)))
    content += [_values(dialect, property_element, name, _property_domain(cursor, name)) for name in properties]
    return Answer(documents.answer(dialect, "csw:GetDomainResponse", {}, content))


def _values(dialect: Dialect, kind: str, name: str, values: Element | None) -> Element:
    attributes = {"type": "csw:Record"} | ({"resultType": "available"} if dialect.is_3 else {})
    return element("csw:DomainValues", element(kind, name), values, attributes=attributes)


def _listed(values: Sequence[str]) -> Element | None:
    """Return a list; a domain without values has none, since the schema wants one value at least."""
    return element("csw:ListOfValues", [element("csw:Value", value) for value in values]) if values else None


def _property_domain(cursor: duckdb.DuckDBPyConnection, name: str) -> Element | None:
    """Return the values of a property in all records: a range for times, else the first thousand in order."""
    found = queryable(name, "PropertyName")
    column = found.column
    if column.kind is Kind.GEOMETRY or found.name == "csw:AnyText":
        return None
    if column.kind is Kind.MOMENT:
        query = f"SELECT epoch(min({column.sql})), epoch(max({column.sql})) FROM {TABLE}"  # noqa: S608 - names of ours
        least, greatest = cursor.execute(query).fetchall()[0]
        if least is None:
            return None
        ends = (("csw:MinValue", least), ("csw:MaxValue", greatest))
        return element("csw:RangeOfValues", [element(kind, documents.instant(moment)) for kind, moment in ends])
    value = f"unnest({column.sql})" if found.is_list else column.sql
    rows = cursor.execute(
        f"SELECT DISTINCT v FROM (SELECT {value} AS v FROM {TABLE}) WHERE v <> '' ORDER BY v LIMIT {_MOST_VALUES}"  # noqa: S608
    ).fetchall()
    return _listed([text for (text,) in rows])
