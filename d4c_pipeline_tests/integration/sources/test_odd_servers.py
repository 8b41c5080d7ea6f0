"""Servers that are odd and usable all the same, and those that only seem to serve: each as somebody met it."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.model.sources import HttpSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.fetch import pools
from d4c_pipeline.sources.http import HttpFiles
from d4c_pipeline.transport.hosts import HOSTS
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support import origin_server as o
from d4c_pipeline_tests.support.arrivals import path_of, retained

V2021 = Vintage.parse("2021")
DAY = Vintage.parse("2024-05-04")
CSV = b"id,name\n1,a\n2,b\n"
QUICK = Patience(attempts=2, first_wait=0.01, longest_wait=0.05, connect_timeout=2, read_timeout=0.3)


def files(*urls: str, vintages: tuple[Vintage, ...] | None = (V2021,), **declared: object) -> HttpFiles:
    source = HttpSource(kind="http", urls=urls, **declared)  # type: ignore[arg-type]
    return HttpFiles(source, origins={}, vintages=vintages, patience=QUICK, pause=lambda _: None)


@pytest.fixture
def to_heads(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[o.Handler], None]], None]:
    """Let HEAD be answered by a function."""

    def answer(by: Callable[[o.Handler], None]) -> None:
        monkeypatch.setattr(o.Handler, "do_HEAD", by)
        HOSTS.forgive()

    return answer


def closing(body: bytes, **headers: str) -> o.Behaviour:
    """Send a body without its length."""

    def behaviour(handler: o.Handler, _: int) -> None:
        handler.start(200, Connection="close", **headers)
        handler.send(body)
        handler.close_connection = True

    return behaviour


def plain(body: bytes, code: int = 200, **headers: str) -> o.Behaviour:
    return lambda handler, _: handler.reply(code, body, **{"Last_Modified": o.DATE, **headers})


@pytest.mark.parametrize("how", ["500", "405", "404", "401", "410", "page", "silent", "hangs up"])
def test_a_head_that_says_nothing_is_followed_by_a_get(
    to_heads: Callable[[Callable[[o.Handler], None]], None], how: str, tmp_path: Path
) -> None:
    asked: list[str] = []

    def head(handler: o.Handler) -> None:
        asked.append(how)
        if how == "silent":
            time.sleep(0.6)
        elif how == "page":
            handler.reply(200, o.PAGE, Content_Type="text/html", Last_Modified="Fri, 01 Jan 2010 00:00:00 GMT")
        elif how != "hangs up":
            handler.reply(int(how), o.PAGE, Content_Type="text/html")
        handler.close_connection = True

    to_heads(head)
    with o.serving(o.Origin(plain(CSV))) as origin:
        source = files(f"{origin.url}/a.csv", vintages=None)
        assert source.discover() == (DAY,)
        (got,) = source.fetch(DAY, tmp_path)
        assert path_of(got).read_bytes() == CSV
    assert asked[1:] == [] or how != "silent", "a host that is silent to HEAD is not waited for again"


def test_a_server_that_knows_no_ranges_is_asked_without(to_heads: Callable[..., None]) -> None:
    to_heads(lambda handler: handler.reply(405))
    behaviour: o.Behaviour = lambda h, _: h.reply(400) if "Range" in h.headers else plain(CSV)(h, 1)  # noqa: E731
    with o.serving(o.Origin(behaviour)) as origin:
        assert files(f"{origin.url}/a.csv").observe(V2021).files[0].length == len(CSV)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_without_length_is_compared_with_the_head(
    to_heads: Callable[..., None], tmp_path: Path, *, chunked: bool
) -> None:
    def cut(handler: o.Handler, _: int) -> None:
        if chunked:
            handler.start(200, Transfer_Encoding="chunked")
            handler.wfile.write(b"c\r\n" + CSV[:12] + b"\r\n0\r\n\r\n")
        else:
            closing(CSV[:12])(handler, 1)

    to_heads(lambda handler: handler.reply(200, CSV))
    with o.serving(o.Origin(cut)) as origin:
        with pytest.raises(TransientError, match="sent 12 bytes without a stated length; elsewhere it states 16"):
            files(f"{origin.url}/a.csv").fetch(V2021, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [], "nothing of it is taken up later"
        origin.behaviour = closing(CSV)
        (got,) = files(f"{origin.url}/a.csv").fetch(V2021, tmp_path)
        assert path_of(got).read_bytes() == CSV


def test_a_length_that_an_attempt_before_was_told_counts(to_heads: Callable[..., None], tmp_path: Path) -> None:
    to_heads(lambda handler: handler.reply(500))

    def script(handler: o.Handler, number: int) -> None:
        if number == 1:
            handler.start(200, Content_Length="16")
            handler.send(CSV[:12])
            handler.close_connection = True
        else:
            closing(CSV[:12])(handler, number)

    with o.serving(o.Origin(script)) as origin, pytest.raises(TransientError, match="sent 12 bytes"):
        files(f"{origin.url}/a.csv").fetch(V2021, tmp_path)


@pytest.mark.parametrize(("code", "words"), [(202, "not ready yet: the server answered 202"), (204, "no content")])
def test_a_success_that_brings_nothing_is_no_file(tmp_path: Path, code: int, words: str) -> None:
    kind = TransientError if code == 202 else SourceError
    body = b"" if code == 204 else b"id,status\n1,accepted\n"
    with o.serving(o.Origin(plain(body, code))) as origin, pytest.raises(kind, match=words):
        files(f"{origin.url}/a.csv").fetch(V2021, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_file_that_is_not_ready_is_waited_for(tmp_path: Path) -> None:
    script = o.once(lambda handler: handler.reply(202, b"{}", Retry_After="0"))
    with o.serving(o.Origin(script)) as origin:
        assert files(f"{origin.url}/a.zip").fetch(V2021, tmp_path)[0].size == len(o.payload())


def test_a_date_to_come_back_at_is_one_of_the_servers_clock(tmp_path: Path) -> None:
    def busy(handler: o.Handler) -> None:
        handler.send_response_only(503)
        for name in ("Date", "Retry-After"):
            handler.send_header(name, "Fri, 04 May 2091 23:30:00 GMT")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    script = o.once(busy)
    with o.serving(o.Origin(script)) as origin:
        assert files(f"{origin.url}/a.zip").fetch(V2021, tmp_path)[0].size == len(o.payload())


def test_a_range_that_nobody_asked_for_may_be_all_of_it(tmp_path: Path) -> None:
    with o.serving(o.Origin(plain(CSV, 206, Content_Range="bytes 0-15/16"))) as origin:
        assert path_of(files(f"{origin.url}/a.csv").fetch(V2021, tmp_path)[0]).read_bytes() == CSV
        origin.behaviour = plain(CSV[:12], 206, Content_Range="bytes 0-11/16")
        with pytest.raises(TransientError, match="a range other than"):
            files(f"{origin.url}/a.csv").fetch(V2021, tmp_path / "other")


@pytest.mark.parametrize("domain", ["", "; Domain=127.0.0.1"])
def test_a_cookie_that_a_redirect_sets_is_sent_back_to_its_host_alone(tmp_path: Path, domain: str) -> None:
    def gate(handler: o.Handler, _: int) -> None:
        if "gate=1" in handler.headers.get("Cookie", ""):
            plain(CSV)(handler, 1)
        else:
            handler.reply(302, Location=handler.path, Set_Cookie=f"gate=1; Path=/{domain}")

    with o.serving(o.Origin(gate)) as origin:
        (got,) = files(f"{origin.url}/a.csv").fetch(V2021, tmp_path)
        assert path_of(got).read_bytes() == CSV
        origin.asked.clear()
        files(f"{origin.url}/a.csv").fetch(V2021, tmp_path / "other")
        assert "Cookie" not in origin.asked[0].headers, "another fetch begins without"


def test_a_gzip_sent_as_gzipped_is_the_publishers_file_and_can_be_gone_on_with(tmp_path: Path) -> None:
    packed = gzip.compress(o.payload(), mtime=0)

    def script(handler: o.Handler, number: int) -> None:
        headers = {"Content_Encoding": "gzip", "Content_Type": "application/x-gzip"}
        handler.part(o.CUT, length=None, **headers) if number == 1 else handler.whole(**headers)

    with o.serving(o.Origin(script, body=packed)) as origin:
        (got,) = files(f"{origin.url}/a.csv.gz").fetch(V2021, tmp_path)
        assert path_of(got).read_bytes() == packed
        assert origin.asked[1].headers["Range"] == f"bytes={o.CUT}-"


def test_a_coded_body_is_never_gone_on_with_by_range(tmp_path: Path) -> None:
    packed, digest = gzip.compress(o.payload(), mtime=0), "0" * 64

    def script(handler: o.Handler, number: int) -> None:
        assert "Range" not in handler.headers
        handler.body_ = packed if number > 1 else packed[: o.CUT]  # type: ignore[attr-defined]
        handler.start(200, Content_Length=str(len(packed)), Content_Encoding="gzip")
        handler.send(handler.body_)  # type: ignore[attr-defined]
        handler.close_connection = True

    with o.serving(o.Origin(script)) as origin, pytest.raises(SourceError, match=f"declared is {digest}"):
        files(f"{origin.url}/a.zip", sha256={"a.zip": digest}).fetch(V2021, tmp_path)


@pytest.mark.parametrize("content_type", ["text/html", "application/pdf", "image/png", "", "nonsense"])
def test_a_wrong_content_type_of_right_bytes_is_taken(tmp_path: Path, content_type: str) -> None:
    with o.serving(o.Origin(plain(CSV, Content_Type=content_type))) as origin:
        source = files(f"{origin.url}/a.csv", vintages=None)
        assert path_of(source.fetch(DAY, tmp_path)[0]).read_bytes() == CSV


def test_the_same_address_twice_makes_two_files(tmp_path: Path) -> None:
    with o.serving(o.Origin(plain(CSV))) as origin:
        got = files(f"{origin.url}/a.csv", f"{origin.url}/a.csv").fetch(V2021, tmp_path)
    assert len({path_of(one) for one in got}) == 2
    assert [path_of(one).read_bytes() for one in got] == [CSV, CSV]


def test_a_file_is_called_by_what_it_is_and_found_again_by_that_name(tmp_path: Path) -> None:
    said = {"Content_Disposition": "attachment; filename*=UTF-8''liste.csv", "ETag": '"1"'}
    with o.serving(o.Origin(plain(b"noms\na\n", 200, **said))) as origin:
        source = files(f"{origin.url}/exports/csv?lang=fr")
        (got,) = source.fetch(V2021, tmp_path)
        assert got.name == "csv.csv"
        assert source.fetch(V2021, tmp_path)[0].name == "csv.csv", "what lies here is called the same"
        assert source.fetch(V2021, tmp_path / "other", [retained(got)]) == (retained(got),)
        (declared,) = files(f"{origin.url}/exports/csv?lang=fr", format="tsv").fetch(
            V2021, tmp_path / "tsv", [retained(got)]
        )
        assert path_of(declared).name == "csv.tsv", "a declared format is believed, and the file fetched for it"


def only_for(wanted: Callable[[str], bool]) -> o.Behaviour:
    return lambda handler, _: handler.whole() if wanted(handler.headers["User-Agent"]) else handler.reply(403)


@pytest.mark.parametrize("wanted", [lambda name: "Mozilla" in name, lambda name: not name.startswith("d4c")])
def test_a_server_that_refuses_our_name_is_told_so_and_the_remedy_works(
    tmp_path: Path, wanted: Callable[[str], bool]
) -> None:
    with o.serving(o.Origin(only_for(wanted))) as origin:
        with pytest.raises(SourceError, match="refuses the User-Agent 'd4c-pipeline/") as caught:
            files(f"{origin.url}/a.zip").fetch(V2021, tmp_path)
        name = caught.value.remedy.split("'")[1]
        (got,) = files(f"{origin.url}/a.zip", user_agent=name).fetch(V2021, tmp_path)
        assert path_of(got).read_bytes() == o.payload()
        assert origin.asked[-1].headers["User-Agent"].startswith(f"{name} d4c-pipeline/")
        assert origin.asked[-1].headers["User-Agent"].endswith("(+https://github.com/dataforcanada)"), "still ours"


def test_a_server_that_refuses_everybody_is_not_told_of_names(tmp_path: Path) -> None:
    with o.serving(o.Origin(only_for(lambda _: False))) as origin, pytest.raises(SourceError) as caught:
        files(f"{origin.url}/a.zip").fetch(V2021, tmp_path)
    assert "refuses access" in caught.value.cause


@pytest.mark.parametrize("name", ["a\nb", "", "naïf"])
def test_a_user_agent_is_one_line_of_plain_text(name: str) -> None:
    with pytest.raises(ValueError, match="User-Agent"):
        HttpSource(kind="http", urls=("https://a.ca/x",), user_agent=name)


def test_a_chain_without_its_intermediate_is_told_and_the_remedy_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, root, intermediate = o.incomplete_chain(tmp_path, "http://ca.example/issuer.crt")
    with o.serving(o.Origin(o.good), tls=context) as origin:
        monkeypatch.setenv("SSL_CERT_FILE", str(root))
        pools.tls.cache_clear()
        with pytest.raises(SourceError, match="without the intermediate certificate") as caught:
            files(f"{origin.url}/a.zip").fetch(V2021, tmp_path / "one")
        assert "CN=Test intermediate" in caught.value.cause
        assert "http://ca.example/issuer.crt" in caught.value.remedy
        root.write_bytes(root.read_bytes() + intermediate.read_bytes())
        pools.tls.cache_clear()
        assert files(f"{origin.url}/a.zip").fetch(V2021, tmp_path / "two")
    pools.tls.cache_clear()


@pytest.mark.parametrize(
    "path",
    [
        "/a b.csv",
        "/été.csv",
        "/a%20b.csv",
        "/a.csv;jsessionid=0A1",
        "/a%2Fb.csv",
        "/a.csv#part",
        "/?file=a.csv",
        "/x|y.csv",
    ],
)
def test_odd_addresses_are_asked_as_they_are_written(tmp_path: Path, path: str) -> None:
    with o.serving(o.Origin(plain(CSV))) as origin:
        declared = path.replace(" ", "%20")
        (got,) = files(f"{origin.url}{path}").fetch(V2021, tmp_path)
        assert path_of(got).read_bytes() == CSV
        assert got.name.endswith(".csv")
        asked = origin.asked[0].path
    assert asked.isascii()
    assert unquote(asked) == unquote(declared.partition("#")[0])


def test_an_address_in_a_redirect_is_taken_by_its_bytes(tmp_path: Path) -> None:
    def script(handler: o.Handler, number: int) -> None:
        if number == 1:
            handler.reply(302, Location="/données ouvertes.csv".encode().decode("latin-1"))
        else:
            plain(CSV)(handler, number)

    with o.serving(o.Origin(script)) as origin:
        files(f"{origin.url}/a.csv").fetch(V2021, tmp_path)
        assert unquote(origin.asked[1].path) == "/données ouvertes.csv"


def test_a_file_that_is_shorter_than_the_same_one_before_is_cut_off(
    to_heads: Callable[..., None], tmp_path: Path
) -> None:
    to_heads(lambda handler: handler.reply(405))
    with o.serving(o.Origin(plain(CSV))) as origin:
        source = files(f"{origin.url}/a.csv")
        known = retained(source.fetch(V2021, tmp_path / "one")[0])
        origin.behaviour = closing(CSV[:12], Last_Modified=o.DATE)
        with pytest.raises(TransientError, match="sent 12 bytes"):
            source.fetch(V2021, tmp_path / "two", [known])
        origin.behaviour = closing(CSV[:12], Last_Modified="Sun, 05 May 2024 23:30:00 GMT")
        assert source.fetch(V2021, tmp_path / "three", [known])[0].size == 12, "another edition may be shorter"


@pytest.mark.parametrize("always", [False, True])
def test_a_gzip_that_is_unpacked_for_us_is_asked_for_as_it_is(tmp_path: Path, *, always: bool) -> None:
    def transcoding(handler: o.Handler, _: int) -> None:
        if always or "gzip" not in handler.headers["Accept-Encoding"]:
            plain(CSV)(handler, 1)
        else:
            plain(gzip.compress(CSV, mtime=0), 200, Content_Encoding="gzip")(handler, 1)

    with o.serving(o.Origin(transcoding)) as origin:
        if always:
            with pytest.raises(SourceError, match="is not a gz"):
                files(f"{origin.url}/a.csv.gz").fetch(V2021, tmp_path)
        else:
            (got,) = files(f"{origin.url}/a.csv.gz").fetch(V2021, tmp_path)
            assert gzip.decompress(path_of(got).read_bytes()) == CSV
