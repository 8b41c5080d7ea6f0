"""Requests as values: the same options from an address, a form or a document, by the names of KVP in lower case.

Documents are untrusted: a document type (so entities of any kind) is refused before the tree is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from d4c_pipeline.services.csw.dialects import CSW_2, CSW_3, DIALECTS, Dialect, dialect_of
from d4c_pipeline.services.csw.errors import CswError, invalid

_MOST_ELEMENTS, _DEEPEST = 5_000, 64
_SERVICE = "CSW"
_OPERATIONS = ("GetCapabilities", "DescribeRecord", "GetDomain", "GetRecords", "GetRecordById")
_REFUSED = ("Transaction", "Harvest", "UnHarvest", "GetRepositoryItem")
_LISTS = {"Id": "id", "TypeName": "typename", "ElementName": "elementname"}
_SINGLE = {
    "ElementSetName": "elementsetname",
    "ParameterName": "parametername",
    "ResponseHandler": "responsehandler",
    "PropertyName": "propertyname",
    "ValueReference": "valuereference",
}


@dataclass(frozen=True)
class Asked:
    """A request. `options`: lower-case name -> text; `filter`: a filter as XML; `document`: the body, if it is XML."""

    dialect: Dialect
    operation: str
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    filter: etree._Element | None = None
    document: etree._Element | None = None

    def get(self, name: str) -> str | None:
        """Return an option, None without one or an empty one."""
        return self.options.get(name) or None

    def many(self, name: str) -> list[str]:
        """Return the parts of an option with commas."""
        return [part.strip() for part in (self.get(name) or "").split(",") if part.strip()]

    def count(self, name: str, default: int, least: int) -> int:
        """Return an option that is a whole number of at least `least`. Raises CswError."""
        text = self.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) < 10) or int(text) < least:
            raise invalid(name, f"'{text[:60]}' is not a whole number from {least}")
        return int(text)


def parsed(document: bytes, locator: str = "request") -> etree._Element:
    """Return the root of a document. Raises CswError when it is not XML, has a document type, or is too large."""
    _check(document, locator)
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True)
    try:
        return etree.fromstring(document, parser)
    except etree.XMLSyntaxError as error:
        raise _not_xml(locator, str(error)) from error


def local(element: etree._Element) -> str:
    """Return the name of an element without its namespace."""
    return etree.QName(element).localname


def children(element: etree._Element) -> list[etree._Element]:
    """Return the elements in an element, without processing instructions."""
    return [each for each in element if isinstance(each.tag, str)]


def of_pairs(pairs: Iterable[tuple[str, str]]) -> Asked:
    """Return a request by its parameters (KVP). Raises CswError."""
    options: dict[str, str] = {}
    for name, value in pairs:
        if name.lower() in options:
            raise invalid(name[:40], f"{name[:40]} is given twice: give it once")
        options[name.lower()] = value
    # CSW 3.0, 6.5.4: the address alone stands for GetCapabilities.
    operation = options.get("request") or "GetCapabilities"
    asked = Asked(_dialect(options, operation), _operation(operation), options)
    if (options.get("service") or _SERVICE).upper() != _SERVICE:
        raise invalid("service", f"'{options['service'][:40]}' is not served here: use service={_SERVICE}")
    return asked


def of_document(body: bytes) -> Asked:
    """Return a request by its document. Raises CswError."""
    root = parsed(body)
    namespace = etree.QName(root).namespace
    dialect = next((each for each in DIALECTS.values() if each.csw == namespace), None)
    if dialect is None:
        raise invalid("request", f"The root is in '{(namespace or '')[:80]}': use {CSW_2.csw} or {CSW_3.csw}")
    operation = local(root)
    options = {name.lower(): str(value) for name, value in root.attrib.items() if not str(name).startswith("{")}
    if operation == "GetCapabilities":
        versions = [text for each in root.iter("{*}AcceptVersions") for text in _texts(each)]
        options |= {"acceptversions": ",".join(versions or [dialect.version])}
        options |= {"sections": ",".join(text for each in root.iter("{*}Sections") for text in _texts(each))}
    query = root.find("{*}Query")
    found = _filled(options, root)
    if query is not None:
        options |= {"typenames": ",".join(str(query.get("typeNames") or "").split())}
        found = _filled(options, query)
    version = dialect_of(options.get("version") or dialect.version)
    if operation != "GetCapabilities" and version is not dialect:
        raise invalid(
            "version", f"'{options.get('version', '')[:20]}' is not {dialect.version}, the version of the root"
        )
    chosen = _dialect(options, operation) if operation == "GetCapabilities" else dialect
    return Asked(chosen, _operation(operation), options, found, root)


def _filled(options: dict[str, str], parent: etree._Element) -> etree._Element | None:
    """Add what the elements in `parent` state to `options`; return its filter."""
    found = None
    for child in children(parent):
        name, text = local(child), (child.text or "").strip()
        if name in _LISTS:
            options[_LISTS[name]] = ",".join(filter(None, (options.get(_LISTS[name]), text)))
        elif name in _SINGLE:
            options[_SINGLE[name]] = text
        elif name == "Constraint":
            for constraint in children(child):
                if local(constraint) == "Filter":
                    found = constraint
                elif local(constraint) == "CqlText":
                    options |= {"constraint": constraint.text or "", "constraintlanguage": "CQL_TEXT"}
        elif name == "SortBy":
            options["sortby"] = ",".join(_sorts(child))
    return found


def _sorts(element: etree._Element) -> Iterable[str]:
    for each in children(element):
        texts = {local(child): (child.text or "").strip() for child in children(each)}
        name = texts.get("PropertyName") or texts.get("ValueReference") or ""
        yield f"{name}:{'D' if texts.get('SortOrder', 'ASC').upper().startswith('DESC') else 'A'}"


def _texts(element: etree._Element) -> list[str]:
    return [(child.text or "").strip() for child in children(element)]


def _dialect(options: Mapping[str, str], operation: str) -> Dialect:
    """Return the version of an answer. Raises CswError."""
    accepted = options.get("acceptversions")
    if accepted and operation.lower() == "getcapabilities":
        for version in accepted.split(","):
            if (found := dialect_of(version.strip())) is not None:
                return found
        raise CswError("VersionNegotiationFailed", "acceptversions", f"The versions are {', '.join(DIALECTS)}")
    version = options.get("version")
    if not version:
        return CSW_3
    found = dialect_of(version)
    if found is None:
        raise invalid("version", f"'{version[:20]}' is not a version of this service: use {' or '.join(DIALECTS)}")
    return found


def _operation(name: str) -> str:
    for known in _OPERATIONS:
        if name.lower() == known.lower():
            return known
    if name.lower() in map(str.lower, _REFUSED):
        raise CswError("OperationNotSupported", name, f"This catalogue is read-only. The operations are {_named()}")
    raise invalid("request", f"'{name[:60]}' is not an operation. The operations are {_named()}")


def _named() -> str:
    return ", ".join(_OPERATIONS)


def _check(document: bytes, locator: str) -> None:
    """Raise CswError for a document that must not be built: expat reads it without keeping anything."""
    counts = {"elements": 0, "depth": 0}

    def refuse(*_: object) -> None:
        raise invalid(locator, "The document has a document type (DOCTYPE): send it without one")

    def start(*_: object) -> None:
        counts["elements"] += 1
        counts["depth"] += 1
        if counts["elements"] > _MOST_ELEMENTS or counts["depth"] > _DEEPEST:
            raise invalid(
                locator, f"The document has over {_MOST_ELEMENTS:,} elements or {_DEEPEST} levels: shorten it"
            )

    def end(*_: object) -> None:
        counts["depth"] -= 1

    reader = expat.ParserCreate()
    handlers: dict[str, Callable[..., None]] = {
        "StartDoctypeDeclHandler": refuse,
        "StartElementHandler": start,
        "EndElementHandler": end,
    }
    for name, handler in handlers.items():
        setattr(reader, name, handler)
    try:
        reader.Parse(document, True)
    except expat.ExpatError as error:
        raise _not_xml(locator, str(error)) from error
    except (ValueError, LookupError) as error:  # an encoding that expat does not know
        raise _not_xml(locator, str(error)) from error


def _not_xml(locator: str, reason: str) -> CswError:
    return CswError("NoApplicableCode", locator, f"The document is not XML: {reason[:200]}")
