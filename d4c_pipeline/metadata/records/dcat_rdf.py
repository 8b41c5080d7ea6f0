"""The DCAT record as RDF/XML, for protocols that carry XML: the same statements as the JSON-LD of `dcat`.

Source: https://www.w3.org/TR/rdf-syntax-grammar/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.dcat import CONTEXT, dcat_dataset
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.metadata.records.xml_document import Element, element, xml_document

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
SCHEMA = "http://www.openarchives.org/OAI/2.0/rdf.xsd"


def dcat_rdf(published: PublishedMetadata) -> Element:
    """Return the record's root."""
    return element("rdf:RDF", _node(dcat_dataset(published)))


def _node(value: Mapping[str, Any]) -> Element:
    """Return a node of JSON-LD: an element of its first type, with its further types and its properties."""
    kinds = value.get("@type", "rdf:Description")
    first, *further = [kinds] if isinstance(kinds, str) else cast("list[str]", kinds)
    properties = [element("rdf:type", attributes={"rdf:resource": _expanded(kind)}) for kind in further]
    for name, held in value.items():
        if not name.startswith("@"):
            properties += _properties(name, held)
    about = {"rdf:about": _expanded(value["@id"])} if "@id" in value else None
    return element(first, properties, attributes=about)


def _properties(name: str, held: Any) -> Iterator[Element]:
    for value in cast("list[Any]", held) if isinstance(held, list) else [held]:
        if not isinstance(value, dict):
            yield element(name, str(value))
            continue
        node = cast("dict[str, Any]", value)
        if "@value" in node:
            language = {"xml:lang": node["@language"]} if "@language" in node else {}
            kind = {"rdf:datatype": _expanded(node["@type"])} if "@type" in node else {}
            yield element(name, str(node["@value"]), attributes=language | kind)
        elif node.keys() == {"@id"}:
            yield element(name, attributes={"rdf:resource": _expanded(node["@id"])})
        else:
            yield element(name, _node(node))


def _expanded(name: str) -> str:
    prefix, _, rest = name.partition(":")
    return f"{CONTEXT[prefix]}{rest}" if prefix in CONTEXT and not rest.startswith("//") else name


def _render(published: PublishedMetadata) -> bytes:
    return xml_document(dcat_rdf(published), {"rdf": RDF, **CONTEXT})


FORMATS = (
    RecordFormat(
        name="dcat_rdf",
        media_type="application/rdf+xml",
        suffix=".rdf",
        stem="dcat",
        profile="http://www.w3.org/ns/dcat#",
        title="DCAT 3 in RDF/XML",
        static=False,
        render=_render,
    ),
)
