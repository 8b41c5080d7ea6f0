"""What a native file is called whose address does not say its format, and names that stay as they are."""

from __future__ import annotations

import gzip
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.sources.fetch.download import known_of
from d4c_pipeline.sources.fetch.formats import arrived_name
from d4c_pipeline.sources.files import file_names

CSV = b"id,name\n1,a\n2,b\n"
FEATURES = b'{"type": "FeatureCollection", "features": []}'


def zipped(*names: str) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.spreadsheet")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x.csv"), BytesIO())
    return buffer.getvalue()


def called(folder: Path, url: str, body: bytes, disposition: str | None = None, kind: str | None = None) -> str:
    (folder / "x").write_bytes(body)
    (name,) = file_names([url])
    return arrived_name(name, folder / "x", url, disposition=disposition, content_type=kind)


@pytest.mark.parametrize(
    ("url", "body", "disposition", "kind", "name"),
    [
        ("/exports/csv?lang=fr", CSV, None, None, "csv.csv"),
        ("/exports/csv", "nom;âge\na;1\n".encode("utf-16"), None, "text/plain", "csv.csv"),
        ("/get", b"id\tn\n1\t2\n", None, None, "get.tsv"),
        ("/get", b"names\nonly\n", None, "text/csv; charset=utf-8", "get.csv"),
        ("/get", b"names\nonly\n", 'attachment; filename="a b.csv"', None, "get.csv"),
        ("/get", b"names\nonly\n", "attachment; filename*=UTF-8''%C3%A9tude.csv", None, "get.csv"),
        ("/get", b"names\nonly\n", "attachment; filename=noms.tsv", "text/csv", "get.tsv"),
        ("/get?format=csv", b"names\nonly\n", None, None, "get.csv"),
        ("/get?file=noms.csv&x=1", b"names\nonly\n", None, None, "get.csv"),
        ("/get", b"names\nonly\n", None, None, "get"),
        ("/getfile.php?id=3", CSV, None, "text/html", "getfile.php.csv"),
        ("/v1.0", FEATURES, None, "application/json", "v1.0.geojson"),
        ("/query?f=geojson", FEATURES, None, None, "query.geojson"),
        ("/query?outputFormat=application/json", FEATURES, None, None, "query.geojson"),
        ("/get", b'[{"a": 1}]', None, "application/json", "get.json"),
        ("/get", b'{"a": 1}\n{"a": 2}\n', None, "application/json", "get.ndjson"),
        ("/get", b'{"type": "Feature"}\n{"type": "Feature"}\n', None, None, "get.geojsonl"),
        ("/wfs", b'<?xml version="1.0"?><wfs:FeatureCollection xmlns:gml="x">', None, "text/xml", "wfs.gml"),
        ("/map", b'<?xml version="1.0"?><kml xmlns="x">', None, "text/xml", "map.kml"),
        ("/get", b"SQLite format 3\x00rest", 'attachment; filename="x.csv"', None, "get.gpkg"),
        ("/get", b"PAR1rest", None, "text/csv", "get.parquet"),
        ("/get", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", None, None, "get.xls"),
        ("/get", zipped("[Content_Types].xml", "xl/workbook.xml"), None, "application/vnd.ms-excel", "get.xlsx"),
        ("/get", zipped("[Content_Types].xml", "xl/workbook.bin"), None, None, "get.xlsb"),
        ("/get", zipped("mimetype", "content.xml"), None, None, "get.ods"),
        ("/get", gzip.compress(CSV), 'attachment; filename="a.csv.gz"', "application/gzip", "get.csv.gz"),
        ("/stops.csv;jsessionid=0A1", CSV, None, None, "stops.csv"),
    ],
)
def test_what_does_not_say_its_format_gets_its_suffix(
    tmp_path: Path, url: str, body: bytes, disposition: str | None, kind: str | None, name: str
) -> None:
    assert called(tmp_path, f"https://a.ca{url}", body, disposition, kind) == name


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("/data", zipped("a.csv")),  # archives are known by their bytes: such sources have published under these names
        ("/data", zipped("doc.kml")),
        ("/data", tarred()),
        ("/data", b"7z\xbc\xaf\x27\x1c"),
        ("/stops.txt", CSV),
        ("/stops.zip", zipped("a.csv")),
        ("/grid.nc", b"CDF\x01"),
        ("/parcels.shx", b"\x00\x00\x27\x0a"),
        ("/parcels.prj", b"PROJCS[1,2]"),
        ("/stops.json", FEATURES),
    ],
)
def test_a_name_that_worked_is_never_changed(tmp_path: Path, url: str, body: bytes) -> None:
    assert called(tmp_path, f"https://a.ca{url}", body, 'attachment; filename="other.csv"', None) == url[1:]


def test_a_declared_format_is_the_suffix_and_what_has_another_is_fetched_again() -> None:
    assert file_names(["https://a.ca/exports/csv", "https://a.ca/b.CSV"], "csv") == ("csv.csv", "b.CSV")
    urls = ["https://a.ca/x/get?id=1", "https://a.ca/y/get?id=2", "https://a.ca/y/get?id=2"]
    names = file_names(urls, "csv")
    assert len(set(names)) == 3
    assert all(name.endswith(".csv") for name in names)
    old = NativeFile("get", "u", "0" * 64, 1, '"1"', None, None, "raw/x")
    assert known_of("u", [old]) is old
    assert known_of("u", [old], "csv") is None
