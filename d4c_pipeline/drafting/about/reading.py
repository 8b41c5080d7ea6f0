"""Recognises documents about data among the files of a delivery and reads them. Runs inside of the sandbox only.

The meaning of each format belongs to its module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from d4c_pipeline.drafting.about import arcgis, ckan, codebook, cube, dcat, esri_xml, hnap
from d4c_pipeline.drafting.facts import Facts, Found, merged
from d4c_pipeline.drafting.licences import licence_of
from d4c_pipeline.model.errors import DataError

_LARGEST = 8 << 20  # bytes; the largest record of the fixtures has 112 kB
_LICENCE = re.compile(r"licen[cs]e", re.IGNORECASE)
_PORTAL = "https://open.canada.ca/data"


def kind_of(path: Path) -> str | None:
    """Return the kind of a document about data: `hnap`, `esri`, `ckan`, `cube`, `arcgis`, `dcat`; None for others."""
    found = _parsed(path)
    return found[0] if found is not None else None


def facts_of(path: Path, portal: str = _PORTAL) -> Facts:
    """Return the facts of a document about data; none for any other file. `portal`: of a CKAN package."""
    found = _parsed(path)
    if found is None:
        return {}
    kind, document = found
    match kind:
        case "hnap":
            return hnap.facts(document)
        case "esri":
            return esri_xml.facts(document)
        case "ckan":
            return ckan.facts(ckan.unwrapped(document), portal)
        case "cube":
            return cube.facts(cube.unwrapped(document))
        case "arcgis":
            return arcgis.facts(document)
        case _:
            return dcat.facts(document)


def facts_of_delivery(files: Mapping[str, Path]) -> Facts:
    """Return the facts of all documents in a delivery: name in the delivery -> file."""
    found: list[Facts] = []
    for name, path in files.items():
        plain_name = PurePosixPath(name).name
        suffix = PurePosixPath(name).suffix.lower()
        if not path.is_file() or path.stat().st_size > _LARGEST:
            continue
        if suffix in (".xml", ".json"):
            found.append(facts_of(path))
        elif suffix == ".txt" and _LICENCE.search(plain_name):
            found.append(_licence_file(path, plain_name))
        elif plain_name.lower().endswith("_metadata.csv"):
            try:
                found.append(cube.facts_of_csv(path))
            except DataError:
                continue  # another publisher's file of that name
        elif suffix == ".csv" and codebook.NAME.search(plain_name):
            found.append(codebook.facts(_decoded(path), plain_name))
    return merged(*found)


def _licence_file(path: Path, name: str) -> Facts:
    text = _decoded(path)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    address = re.search(r"https?://\S+", text)
    # The first line of such a file names the licence; a file that begins with a paragraph does not name one.
    title = next((line for line in lines[:3] if _LICENCE.search(line) and len(line) < 100), None)
    french = next(
        (line for line in lines if line.lower().startswith("licence ") and line != title and len(line) < 100), None
    )
    found = licence_of(f"{name} of the delivery", title, address[0] if address else None, french)
    return {} if found is None else {"license": Found(found.value, found.evidence)}


def _decoded(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _parsed(path: Path) -> tuple[str, Any] | None:
    if not path.is_file() or path.stat().st_size > _LARGEST:
        return None
    content = path.read_bytes()
    start = content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"<":
        try:
            parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
            root = etree.fromstring(content, parser)
        except etree.XMLSyntaxError:
            return None  # a text in angle brackets, or a broken document: it says nothing
        if hnap.is_record(root):
            return "hnap", root
        return ("esri", root) if esri_xml.is_metadata(root) else None
    if start in (b"{", b"["):
        try:
            document = json.loads(content.decode("utf-8-sig"))
        except ValueError:
            return None
        for kind, test in (
            ("cube", cube.is_cube), ("ckan", ckan.is_package), ("arcgis", arcgis.is_layer), ("dcat", dcat.is_dataset),
        ):  # fmt: skip
            if test(document):
                return kind, document
    return None
