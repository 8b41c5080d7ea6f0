"""What is no data, whatever status and name say: pages, error documents, error texts; and what only looks so."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from d4c_pipeline.model.errors import D4CError, NeedsPersonError, SourceError, TransientError
from d4c_pipeline.sources.files import inspect

XHTML = b'<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "x">\n<html>'
CONDITIONAL = b"<!--[if lt IE 7]> <html class='ie6'> <![endif]--><!--[if gt IE 8]><!--> <html> <!--<![endif]-->"


def judged(folder: Path, body: bytes, name: str = "stops.csv", *, html_type: bool = False) -> D4CError | None:
    path = folder / "x.part"
    path.write_bytes(body)
    try:
        inspect(path, name, "https://a.ca/stops", html_type=html_type)
    except D4CError as error:
        return error
    return None


@pytest.mark.parametrize(
    "page",
    [
        XHTML,
        b"<?xml version='1.0'?><!-- x --><html>",
        b"<?xml version='1.0'?><html:html xmlns:html='x'>",
        b"<head><title>x</title></head><body>no</body>",
        b"<body>",
        b"<script>location='/x'</script>",
        b'<meta http-equiv="refresh" content="0; url=/login">',
        b"<br />\n<b>Warning</b>:  mysqli_connect()",
        b"<!-- " + b"x" * 5000 + b" --><html>" + b"y" * 200_000,
        CONDITIONAL,
        b"\xef\xbb\xbf <HTML>",
        "<!DOCTYPE html><html></html>".encode("utf-16"),
        "\n<html></html>".encode("utf-16-be"),
        "<html></html>".encode("utf-16-le"),
        "<html></html>".encode("utf-32"),
    ],
)
@pytest.mark.parametrize("name", ["stops.csv", "stops.kml", "stops"])
def test_a_page_is_no_data_however_it_begins(tmp_path: Path, page: bytes, name: str) -> None:
    error = judged(tmp_path, page, name)
    assert isinstance(error, SourceError)
    assert "web page instead of data" in error.cause
    assert judged(tmp_path, page, "notes.html") is None


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        ('{"error":{"code":499,"message":"Token Required","details":[]}}', NeedsPersonError, "Token Required"),
        ('{"error":{"code":400,"message":"Invalid URL","details":["x"]}}', SourceError, "400; Invalid URL; x"),
        ('{"error":{"code":500,"message":"Error performing query"}}', TransientError, "performing query"),
        ('{"success":false}', SourceError, '"success":false'),
        ('{"success":false,"error":{"message":"Not found","__type":"N"},"help":"h"}', SourceError, "Not found"),
        ('{"message":"API rate limit exceeded"}', TransientError, "API rate limit exceeded"),
        ('{"status":500,"error":"Internal Server Error","path":"/x"}', TransientError, "Internal Server Error"),
        ('{"type":"about:blank","title":"Not Found","status":404,"detail":"No such"}', SourceError, "No such"),
        ('[{"status":"FAILED","object":{"responseStatusCode":5}}]', SourceError, "FAILED"),
        ('{"data":null,"errors":[{"message":"no field x"}]}', SourceError, "no field x"),
        ('{"status":"processing","processing_time":376.881,"count":6550}', TransientError, "not ready"),
        ('{"status":"Pending","progressInPercent":0}', TransientError, "not ready"),
        ("<ServiceExceptionReport><ServiceException>bad layer</ServiceException></x>", SourceError, "bad layer"),
        ('<?xml version="1.0"?><ows:ExceptionReport><ows:Exception/></x>', SourceError, "ExceptionReport"),
        ('<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', SourceError, "NoSuchKey"),
        ("<soap:Envelope><soap:Body><soap:Fault>down</soap:Fault></soap:Body></x>", SourceError, "down"),
        ("Internal Server Error", TransientError, "Internal Server Error"),
        ("Internal Server Error\nThe server met a condition", TransientError, "met a condition"),
        ("Too many requests\n", TransientError, "Too many requests"),
        ('"Too Many Requests"', TransientError, "Too Many"),
        ("Access denied", SourceError, "Access denied"),
        ("404: Not Found", SourceError, "404"),
        ("404 page not found\n", SourceError, "404"),
        ("error code: 1015", SourceError, "1015"),
        ("HTTP Error 503. The service is unavailable.", TransientError, "503"),
        ("upstream connect error or disconnect/reset before headers", TransientError, "upstream"),
        ("ORA-12541: TNS:no listener", SourceError, "ORA-12541"),
        ("java.lang.NullPointerException\n\tat x", SourceError, "NullPointer"),
        ("Accès refusé", SourceError, "Accès refusé"),
        ("Service temporairement indisponible", TransientError, "indisponible"),
        ("Le fichier demandé est introuvable", SourceError, "introuvable"),
        ("  \r\n", SourceError, "empty file"),
    ],
)
def test_an_error_in_the_place_of_data_is_told_in_its_own_words(
    tmp_path: Path, body: str, kind: type[D4CError], words: str
) -> None:
    for encoded in (body.encode(), body.encode("utf-16")):
        error = judged(tmp_path, encoded)
        assert type(error) is kind, error
        assert words in error.cause
        assert error.remedy


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("a.csv", "error,count\n404,3\n"),
        ("a.csv", "Not found,Count\na,2\n"),
        ("a.csv", "Unavailable;n\nx;2\n"),
        ("a.csv", "Error code\n404\n500\n"),
        ("a.csv", "name\nNot found\n"),
        ("a.csv", "id\n1\n"),
        ("a.kml", '<?xml version="1.0"?><!-- <html> --><kml><Document/></kml>'),
        ("a.gml", "<!DOCTYPE x [<!ENTITY a 'b'>]><gml:FeatureCollection/>"),
        ("a.json", '[{"id":1,"message":"x"},{"id":2,"message":"y"}]'),
        ("a.json", '{"message":"a","v":1}\n{"message":"b","v":2}\n'),
        ("a.json", '{"success":true,"result":[{"a":1}]}'),
        ("a.json", '{"geometryType":"esriGeometryPoint","error":null,"features":[{"attributes":{}}]}'),
        ("a.geojson", '{"type":"FeatureCollection","features":[]}'),
        ("a.json", '{"error":{"code":1},"features":[]}'),
    ],
)
def test_data_that_speaks_of_errors_is_data(tmp_path: Path, name: str, body: str) -> None:
    assert judged(tmp_path, body.encode(), name) is None


@pytest.mark.parametrize(
    ("body", "is_data"),
    [(b"id,name\n1,a\n", True), (b"id\n1\n2\n", True), (b'{"type":"x"}', True), (b"Dataset 12 does not exist", False)],
)
def test_data_that_is_called_a_page_is_data(tmp_path: Path, body: bytes, *, is_data: bool) -> None:
    assert (judged(tmp_path, body, html_type=True) is None) is is_data


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(), st.text("abc é<>{}", max_size=9)), min_size=1, max_size=30))
def test_no_table_is_taken_for_an_error(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, str]]) -> None:
    body = "id,text\n" + "".join(f"{number},{text}\n" for number, text in rows)
    assert judged(tmp_path_factory.mktemp("t"), body.encode()) is None
