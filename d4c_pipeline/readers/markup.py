"""Patterns over the bytes of XML: truncation, foreign kinds of XML, and content that GDAL drops or makes up.

GDAL reads the last of several geometries of a GML feature, ignores references (`xlink:href`), and adds a dozen columns
to each KML placemark. Reading features belongs to `vector`, the completeness of a response to `answers`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.limits import Limits, beyond
from d4c_pipeline.readers import answers

_BLOCK = 1 << 20
_PROLOG_BYTES = 1 << 24
# The content before the first element, as a parser reads it: `<!--` in an instruction and `<?` in a comment have no
# meaning. Then a document type, or the name of the first element.
_PROLOG = re.compile(rb"(?:<\?.*?\?>|<!--.*?-->|[^<]+)*+(?:<!DOCTYPE|<([^\s/>!?][^\s/>]*))", re.DOTALL | re.IGNORECASE)
_ELEMENT = re.compile(rb"<([^\s/>!?<]+)[\s/>]")  # excludes an element cut at the end of a block
_FOREIGN_XML = re.compile(rb"<(OGR\w+DataSource|VRTDataset|\w*:?\w+_Capabilities|csw:|GDAL_)")
_AGAIN = "Fetch the vintage again"

# An element whose first content is a geometry: a geometry property, unless the element is a part of a geometry.
_GEOMETRY = re.compile(
    rb"<(?:[\w.-]+:)?([\w.-]+)(?:\s[^<>]*)?>\s*<(?:gml:)?(?:Point|LineString|Curve|CompositeCurve|OrientableCurve|Polygon"
    rb"|Surface|CompositeSurface|PolyhedralSurface|Solid|MultiPoint|MultiLineString|MultiCurve|MultiPolygon|MultiSurface"
    rb"|MultiGeometry|MultiSolid|Tin|TriangulatedSurface)[\s>]"
)
_PARTS = re.compile(
    rb"(point|lineString|polygon|curve|surface|geometry|solid|patch)Members?|baseCurve|baseSurface|exterior|interior"
    rb"|outerBoundaryIs|innerBoundaryIs|segments|patches|polygonPatches|trianglePatches|[a-z]+Properties|boundedBy"
)
_REFERENCE = re.compile(rb"""<(?:[\w.-]+:)?([\w.-]+)\s(?:[^<>]*\s)?xlink:href\s*=\s*["']([^"']*)["']""")
_GML_ID = (
    rb"<(?:gml:)?(?:Point|LineString|Curve|CompositeCurve|OrientableCurve|Polygon|Surface|Multi\w+|Solid|Ring)\s"
    rb"[^<>]*gml:id\s*=\s*"
)

# GDAL's column of a placemark -> the pattern of a placemark that has the column.
_KML = {
    "id": rb"<(?:kml:)?Placemark\s[^<>]*\bid\s*=",
    "Name": rb"<(?:kml:)?name\b",
    "description": rb"<(?:kml:)?description\b",
    "timestamp": rb"<(?:kml:)?when\b",
    "begin": rb"<(?:kml:)?begin\b",
    "end": rb"<(?:kml:)?end\b",
    "altitudeMode": rb"<(?:kml:|gx:)?altitudeMode\b",
    "tessellate": rb"<(?:kml:)?tessellate\b",
    "extrude": rb"<(?:kml:)?extrude\b",
    "visibility": rb"<(?:kml:)?visibility\b",
    "drawOrder": rb"<(?:gx:|kml:)?drawOrder\b",
    "icon": rb"<(?:kml:)?Icon\b",
    "snippet": rb"<(?:kml:)?[Ss]nippet\b",
}
# GDAL's column of GPX -> its element, where they differ.
_GPX = {"link1": "link|url", "link2": "link"}
_PLACEMARK = re.compile(rb"<(?:kml:)?Placemark\b.*?</(?:kml:)?Placemark\s*>", re.DOTALL)
_NETWORK_LINK = re.compile(rb"<NetworkLink\b.*?<href[^<>]*>([^<]*)</href", re.DOTALL)
# GDAL's values in these columns for a placemark without a value.
KML_UNSET = {"tessellate": -1, "visibility": -1, "extrude": -1}
_KML_NAMED = re.compile(rb"""<(?:kml:)?(?:Data|SimpleData|SimpleField)\s[^<>]*\bname\s*=\s*["']([^"']*)["']""")

# The texts of a placemark over which GDAL writes a `Data` element of the same name.
_KML_OWN = {
    b"id": re.compile(rb"""<(?:kml:)?Placemark\s[^<>]*\bid\s*=\s*["']([^"']*)["']"""),
    b"name": re.compile(rb"<(?:kml:)?name\b[^<>]*>(.*?)</(?:kml:)?name\s*>", re.DOTALL),
    b"description": re.compile(rb"<(?:kml:)?description\b[^<>]*>(.*?)</(?:kml:)?description\s*>", re.DOTALL),
}
_KML_DATA = re.compile(
    rb"""<(?:kml:)?Data\s[^<>]*\bname\s*=\s*["'](id|name|description)["'][^<>]*>"""
    rb"(?:(?!</(?:kml:)?Data\b).)*?<(?:kml:)?value\b[^<>]*>(.*?)</(?:kml:)?value\s*>",
    re.DOTALL | re.IGNORECASE,
)
_CDATA = re.compile(rb"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)


def check(path: Path) -> int | None:
    """Return the number of features that the file states, None if it states none.

    Raises DataError for a truncated or incomplete file, for a document type, and for other kinds of XML.
    """
    # Entities can name files and addresses, and can expand without limit. A document type declares them; it stands
    # before the first element, and neither GML nor KML has one. GDAL recognises other XML formats by their first
    # element, whatever the suffix, and some of these formats name files and addresses too.
    head = b""
    with path.open("rb") as handle:
        while (block := handle.read(_BLOCK)) and len(head) < _PROLOG_BYTES:
            head += block.replace(b"\x00", b"")
            found = _PROLOG.match(head)
            if found is None:
                continue
            if found[1] is None:
                raise DataError(
                    f"{path.name} declares a document type, which may hold entities", "Have the publisher remove it"
                )
            if _FOREIGN_XML.search(head):
                raise DataError(f"{path.name} is XML of another kind", "Check what the source delivers")
            tail = _checked_tail(path, found[1])
            return answers.check_xml(path, head, tail)
    raise DataError(f"{path.name} is not XML: it has no element", "Check what the source delivers")


def check_elements(path: Path) -> None:
    """Raise DataError when the elements of the file have more distinct names than a layer may have columns.

    GDAL makes a column of each name for every feature: 20,000 names and features took 1.6 GB before they were counted.
    """
    limits, names = Limits.from_environment(), set[bytes]()
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            names.update(_ELEMENT.findall(block))
            if len(names) > limits.columns:
                raise beyond(path.name, f"has elements of more than {limits.columns:,} names", "columns")


def has_document_type(handle: IO[bytes]) -> bool:
    """Return whether XML has a document type before its first element, or no element in its first 16 MiB."""
    head = b""
    while (block := handle.read(_BLOCK)) and len(head) < _PROLOG_BYTES:
        head += block.replace(b"\x00", b"")
        if (found := _PROLOG.match(head)) is not None:
            return found[1] is None
    return True


def made_up_columns(path: Path, names: Sequence[str]) -> list[str]:
    """Return those of GDAL's columns `names` that no placemark of a KML file has."""
    data = path.read_bytes()
    own = {name.decode("utf-8", "replace") for name in _KML_NAMED.findall(data)}
    left = {name: re.compile(_KML[name]) for name in names if name in _KML and name not in own}
    for placemark in _PLACEMARK.finditer(data):
        for name in [name for name, pattern in left.items() if pattern.search(placemark[0])]:
            del left[name]
        if not left:
            break
    return [name for name in names if name in left]


def check_data(path: Path, dropped: Sequence[str]) -> None:
    """Raise DataError for a placemark with `Data` of the name of its own `id`, `name` or `description`, but other text.

    GDAL would write the text of `Data` over its own. `dropped`: columns that are not read.
    """
    for placemark in _PLACEMARK.finditer(path.read_bytes()):
        for data in _KML_DATA.finditer(placemark[0]):
            name = data[1].lower()
            own = _KML_OWN[name].search(placemark[0])
            texts = [_plain(text) for text in (own[1] if own is not None else b"", data[2])]
            if texts[0] and texts[0] != texts[1] and name.decode() not in (each.lower() for each in dropped):
                first, second = texts[0][:40], texts[1][:40]
                raise DataError(
                    f"{path.name} has a placemark whose {name.decode()} is {first!r}, and data of that name with"
                    f" {second!r}: only one of them can be read",
                    f"Have the publisher rename the data, or declare processing.drop: [{name.decode()}]",
                )


def _plain(text: bytes) -> str:
    return " ".join(html.unescape(_CDATA.sub(rb"\1", text).decode("utf-8", "replace")).split())


def network_links(path: Path) -> list[str]:
    """Return the addresses of other KML files to which a KML file links; the links are not followed.

    Raises DataError when the file has links, but no placemarks.
    """
    data = path.read_bytes()
    found = [match[1].strip().decode("utf-8", "replace") for match in _NETWORK_LINK.finditer(data)]
    if found and _PLACEMARK.search(data) is None:
        raise DataError(
            f"{path.name} has no placemarks, and refers to {found[0]} (NetworkLink)",
            "Declare that address as the source",
        )
    return found


def made_up_gpx(path: Path, names: Sequence[str]) -> list[str]:
    """Return those of GDAL's columns `names` that no element of a GPX file has."""
    data = path.read_bytes()
    out: list[str] = []
    for name in names:
        element = _GPX.get(name.split("_")[0], name)
        if name.endswith(("_fid", "_id")) and name not in ("dgpsid",):  # the track or route of a point
            continue
        if re.search(rb"<(?:[\w.-]+:)?(?:" + element.encode() + rb")[\s>]", data) is None:
            out.append(name)
    return out


def geometry_properties(path: Path) -> list[str]:
    """Return the names of the elements of a GML file that hold a geometry of a feature, in order of appearance."""
    found = dict.fromkeys(match[1] for match in _GEOMETRY.finditer(path.read_bytes()))
    return [name.decode() for name in found if not _PARTS.fullmatch(name)]


def with_single_geometry(path: Path, wanted: str, others: Sequence[str], work: Path) -> Path:
    """Write a copy of a GML file without the geometry properties `others` to the folder `work`; return its path."""
    data = path.read_bytes()
    for name in others:
        element = rb"(?:[\w.-]+:)?" + re.escape(name.encode())
        data = re.sub(rb"<(" + element + rb")(?:\s[^<>]*)?>.*?</\1\s*>", b"", data, flags=re.DOTALL)
    target = work / f"{path.stem}.{wanted}{path.suffix}"
    target.write_bytes(data)
    schema = path.with_suffix(".xsd")
    if schema.is_file():
        target.with_suffix(".xsd").write_bytes(schema.read_bytes())
    return target


def references(path: Path) -> list[str]:
    """Return the names of the elements of a GML file with a reference (`xlink:href`), in order of appearance.

    Raises DataError for a reference to a geometry, which GDAL would drop.
    """
    data = path.read_bytes()
    if b"xlink:href" not in data:
        return []
    names: dict[str, None] = {}
    for name, target in dict.fromkeys(_REFERENCE.findall(data)):
        names.setdefault(name.decode())
        local = target.startswith(b"#") and re.search(_GML_ID + rb"[\"']" + re.escape(target[1:]) + rb"[\"']", data)
        if local or _PARTS.fullmatch(name):
            where = target.decode("utf-8", "replace")
            raise DataError(
                f'{path.name} refers to a geometry: {name.decode()} is xlink:href="{where}"',
                "Have the publisher write geometries in place",
            )
    return list(names)


def texts_of(path: Path, name: str) -> list[str]:
    """Return the distinct texts of the elements `name` of an XML file."""
    element = rb"<(?:[\w.-]+:)?" + re.escape(name.encode()) + rb"(?:\s[^<>]*)?>([^<]*)<"
    found = {match[1].strip() for match in re.finditer(element, path.read_bytes())}
    return sorted(text.decode("utf-8", "replace") for text in found if text)


def _checked_tail(path: Path, root: bytes) -> bytes:
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - _BLOCK))
        tail = handle.read().replace(b"\x00", b"")
    if not re.search(rb"</" + re.escape(root) + rb"\s*>|<" + re.escape(root) + rb"[^>]*/>", tail):
        raise DataError(f"{path.name} is truncated: its element {root.decode('utf-8', 'replace')} does not end", _AGAIN)
    return tail
