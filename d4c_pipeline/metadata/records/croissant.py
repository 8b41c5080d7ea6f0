"""Croissant 1.1: the files and columns of a release, so that a program loads the rows without further code.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from d4c_pipeline.metadata.published import TONGUES, PublishedFile, PublishedMetadata
from d4c_pipeline.metadata.records.documents import (
    file_title,
    in_language,
    json_document,
    known,
    plain,
    shortened,
)
from d4c_pipeline.metadata.records.registry import RecordFormat
from d4c_pipeline.metadata.records.schema_org import description, party_node
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.languages import bcp47
from d4c_pipeline.model.parts import SUFFIX
from d4c_pipeline.model.release import Column

PROFILE = "http://mlcommons.org/croissant/1.1"
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_MOST_FIELDS = 10_000
_PARTS = "parts"
_TYPES = {
    "bool": "sc:Boolean",
    "int8": "cr:Int8",
    "int16": "cr:Int16",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "uint8": "cr:UInt8",
    "uint16": "cr:UInt16",
    "uint32": "cr:UInt32",
    "uint64": "cr:UInt64",
    "halffloat": "cr:Float16",
    "float": "cr:Float32",
    "double": "cr:Float64",
    "date32": "sc:Date",
    "date64": "sc:Date",
    "timestamp": "sc:DateTime",
    "time32": "sc:Time",
    "time64": "sc:Time",
}


def croissant(published: PublishedMetadata) -> dict[str, Any]:
    """Return the Croissant description, with a record set for each data file.

    A file set over several files would be one record set, but mlcroissant 1.1 reads file sets of archives and folders
    only. A release of more than 10,000 columns in all parts has one nevertheless: the description would be too large.
    """
    files: Sequence[PublishedFile] = published.data_files
    in_set = len(files) > 1 and len(files) * len(published.columns) > _MOST_FIELDS
    return known(
        **{"@context": _CONTEXT, "@type": "sc:Dataset", "@id": published.doi_url or published.identifier},
        conformsTo=PROFILE,
        name=_by_language(published.title, str(published.vintage)),
        description={language: description(published, language) for language in TONGUES},
        url=published.landing_page,
        identifier=published.doi_url or published.identifier,
        sameAs=[published.archive_url] if published.archive_url else None,
        version=str(published.version),
        license=published.licence.url or plain(published.licence.title),
        citeAs=plain(published.citation.en),
        creator=[party_node(party) | {"name": {"en": plain(party.name)}} for party in published.creators],
        publisher={"@type": "Organization", "name": {"en": plain(published.site.publisher)}},
        dateCreated=published.planned_at.date().isoformat(),
        datePublished=published.published_at.date().isoformat(),
        inLanguage=[bcp47(code) for code in published.languages],
        keywords=[plain(word) for language in TONGUES for word in in_language(published.keywords, language)],
        isLiveDataset=False,
        distribution=[
            *(
                {
                    "@type": "cr:FileObject",
                    "@id": file.name,
                    "name": {"en": file_title(file, "en")},
                    "description": {language: file_title(file, language) for language in TONGUES},
                    "contentUrl": published.url(file),
                    "contentSize": f"{file.size} B",
                    "encodingFormat": "application/x-parquet",
                    "sha256": file.sha256,
                }
                for file in files
            ),
            *([_file_set([file.name for file in files])] if in_set else []),
        ],
        recordSet=[_record_set(published, "rows", {"fileSet": {"@id": _PARTS}})]
        if in_set
        else [
            _record_set(published, f"rows-{file.part}" if file.part else "rows", {"fileObject": {"@id": file.name}})
            for file in files
        ],
    )


def _record_set(published: PublishedMetadata, name: str, source: dict[str, Any]) -> dict[str, Any]:
    return known(
        **{"@type": "cr:RecordSet", "@id": name},
        name={"en": name},
        description={"en": "The rows of the data", "fr": "Les enregistrements des données"},
        key=_key(published, name),
        field=[_field(name, column, source) for column in published.columns if _type(column)],
    )


def _file_set(names: list[str]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": _PARTS,
        "name": {"en": "All parts of the data"},
        "description": {"en": "All parts of the data", "fr": "Toutes les parties des données"},
        "containedIn": [{"@id": name} for name in names],
        "encodingFormat": "application/x-parquet",
        "includes": f"*{SUFFIX}",
    }


def _field(record_set: str, column: Column, source: dict[str, Any]) -> dict[str, Any]:
    texts = {"en": column.description_en, "fr": column.description_fr}
    described = {language: shortened(text, 1_000) for language, text in texts.items() if text}
    return known(
        **{"@type": "cr:Field", "@id": _id(record_set, column.name)},
        name={"en": plain(column.name) or _id(record_set, column.name)},
        description=described,
        dataType=_type(column),
        **({"isArray": True, "arrayShape": "-1"} if column.type.startswith(("list", "large_list")) else {}),
        source={**source, "extract": {"column": column.name}},
    )


def _key(published: PublishedMetadata, record_set: str) -> list[dict[str, str]] | dict[str, str] | None:
    names = [column.name for column in published.columns if _type(column) is not None]
    found = [{"@id": _id(record_set, name)} for name in published.key if name in names]
    if len(found) != len(published.key):
        return None
    return found[0] if len(found) == 1 else found


def _id(record_set: str, name: str) -> str:
    """The identifier of a column; a character that no IRI may hold is percent-encoded."""
    return f"{record_set}/{quote(name, safe='')}"


def _type(column: Column) -> str | None:
    """Return the data type; None for a struct or map, whose members Croissant wants as fields of their own."""
    text = re.sub(r"^(?:large_)?list<(?:\w+: )?(.*)>$", r"\1", column.type)
    if text.startswith(("struct", "map")):
        return None
    return _TYPES.get(re.split(r"[\[(<]", text)[0], "cr:Float64" if text.startswith("decimal") else "sc:Text")


def _by_language(text: Bilingual, suffix: str) -> dict[str, str]:
    return {language: f"{shortened(in_language(text, language), 290)}, {suffix}" for language in TONGUES}


def _render(published: PublishedMetadata) -> bytes:
    return json_document(croissant(published))


FORMATS = (
    RecordFormat(
        name="croissant",
        media_type=f'application/ld+json; profile="{PROFILE}"',
        suffix=".json",
        profile=PROFILE,
        title="Croissant 1.1",
        relation="alternate",
        render=_render,
    ),
)
