"""Rules of fetching that hold for every source: mirrors, credentials, TLS, IPv6, limits per host, kills, content."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.model.errors import DefinitionError, NeedsPersonError, SourceError, TransientError
from d4c_pipeline.model.sources import HttpSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources import content
from d4c_pipeline.sources.batch import ask_all
from d4c_pipeline.sources.content import content_of
from d4c_pipeline.sources.fetch import pools
from d4c_pipeline.sources.http import HttpFiles
from d4c_pipeline.sources.mirror_list import read_mirror_list
from d4c_pipeline.transport.hosts import HOSTS, Hosts
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline_tests.support import origin_server as o
from d4c_pipeline_tests.support.arrivals import path_of

V2021 = Vintage.parse("2021")
QUICK = Patience(attempts=2, first_wait=0.01, longest_wait=2, connect_timeout=2, read_timeout=2)


@pytest.fixture(autouse=True)
def forget_health() -> None:
    HOSTS.forgive()


def files(*urls: Any, folder: Path | None = None, **declared: Any) -> HttpFiles:
    source = HttpSource(kind="http", urls=urls, **declared)
    return HttpFiles(source, origins={}, vintages=(V2021,), folder=folder, patience=QUICK)


def sha256(path: Path | None) -> str:
    assert path is not None
    return hashlib.sha256(path.read_bytes()).hexdigest()


RIGHT = hashlib.sha256(o.payload()).hexdigest()


# Mirrors


def test_a_dead_mirror_is_left_for_the_next_and_asked_last_from_then_on(tmp_path: Path) -> None:
    with o.serving(o.Origin(o.busy(503))) as sick, o.serving(o.Origin(o.good)) as well:
        sick.behaviour = lambda handler, _: handler.reply(503)
        source = files([f"{sick.url}/data.zip", f"{well.url}/other/data.zip"])
        (got,) = source.fetch(V2021, tmp_path / "one")
        assert sha256(path_of(got)) == RIGHT
        assert got.url == f"{sick.url}/data.zip", "the file is called by its first mirror, wherever it came from"
        asked = len(sick.asked)
        source.fetch(V2021, tmp_path / "two")
        assert len(sick.asked) == asked


def test_a_half_file_goes_on_at_a_mirror_that_holds_the_same(tmp_path: Path) -> None:
    with o.serving(o.Origin(o.cuts_again_and_again)) as first, o.serving(o.Origin(o.good)) as second:
        first.behaviour = lambda handler, number: handler.part(o.CUT) if number == 1 else handler.reply(503)
        (got,) = files([f"{first.url}/data.zip", f"{second.url}/data.zip"]).fetch(V2021, tmp_path)
        assert sha256(path_of(got)) == RIGHT
        assert second.sent == len(o.payload()) - o.CUT


def test_a_mirror_with_another_file_is_refused_and_a_known_digest_decides(tmp_path: Path) -> None:
    other = o.payload(2) + b"longer"
    with o.serving(o.Origin(o.good)) as first, o.serving(o.Origin(o.good, body=other, etag='"x"')) as second:
        first.behaviour = lambda handler, number: handler.part(o.CUT) if number == 1 else handler.reply(503)
        urls = [f"{first.url}/data.zip", f"{second.url}/data.zip"]
        with pytest.raises(SourceError, match="a different file than the previous mirror"):
            files(urls).fetch(V2021, tmp_path / "one")
        first.asked.clear()
        HOSTS.forgive()
        right = hashlib.sha256(other).hexdigest()
        (got,) = files(urls, sha256={"data.zip": right}).fetch(V2021, tmp_path / "two")
        assert sha256(path_of(got)) == right


def test_mirrors_that_disagree_are_not_chosen_among(tmp_path: Path) -> None:
    with (
        o.serving(o.Origin(lambda handler, _: handler.reply(503))) as dead,
        o.serving(o.Origin(o.good)) as one,
        o.serving(o.Origin(o.good, body=o.payload(2) + b"x")) as other,
        pytest.raises(SourceError, match="hold different files"),
    ):
        files([f"{each.url}/data.zip" for each in (dead, one, other)]).fetch(V2021, tmp_path)


def test_a_wrong_declared_digest_is_told(tmp_path: Path) -> None:
    with o.serving(o.Origin(o.good)) as origin:
        with pytest.raises(SourceError, match=f"has sha256 {RIGHT}, declared is {'0' * 64}"):
            files(f"{origin.url}/data.zip", sha256={"data.zip": "0" * 64}).fetch(V2021, tmp_path)
        with pytest.raises(SourceError, match=r"sha256 names other\.zip, which no address serves"):
            files(f"{origin.url}/data.zip", sha256={"other.zip": "0" * 64}).fetch(V2021, tmp_path)


def test_a_list_of_aria2_is_read(tmp_path: Path) -> None:
    (tmp_path / "mirrors.txt").write_text(
        "# two files of {nothing}\n\n"
        "https://a.ca/{vintage}/one.zip\thttps://b.ca/one.zip\n"
        f"  out=sub/first.zip\n  checksum=sha-256={RIGHT}\n  max-tries=5\n"
        "https://a.ca/two.zip\n"
    )
    first, second = read_mirror_list(tmp_path / "mirrors.txt", V2021)
    assert first.mirrors == ("https://a.ca/2021/one.zip", "https://b.ca/one.zip")
    assert (first.name, first.sha256) == ("first.zip", RIGHT)
    assert (second.name, second.mirrors, second.sha256) == ("two.zip", ("https://a.ca/two.zip",), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# nothing\n", "names no file"),
        ("  out=x\n", ":1 is not an option"),
        ("https://a.ca/x https://b.ca/x\n", ":1 has .*stand between tabs"),
        ("https://a.ca/x\n\nftp://b.ca/x\n", ":3 has 'ftp://b.ca/x'"),
        ("https://a.ca/{vintage:q}\n", "not a template"),
    ],
)
def test_a_wrong_list_is_told_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.txt").write_text(text)
    with pytest.raises(DefinitionError, match=words):
        read_mirror_list(tmp_path / "m.txt", V2021)


def test_a_declared_list_is_fetched(tmp_path: Path) -> None:
    with o.serving(o.Origin(o.good)) as origin:
        (tmp_path / "mirrors.txt").write_text(f"http://127.0.0.1:9/data.zip\t{origin.url}/data.zip\n")
        declared = HttpSource(kind="http", mirror_list="mirrors.txt")
        source = HttpFiles(declared, origins={}, vintages=(V2021,), folder=tmp_path, patience=QUICK)
        assert sha256(path_of(source.fetch(V2021, tmp_path / "into")[0])) == RIGHT


# Credentials, TLS, IPv6


def test_credentials_stay_with_the_declared_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_TOKEN", "Bearer hunter2")
    with o.serving(o.Origin(o.good)) as elsewhere, o.serving(o.Origin(o.good)) as origin:
        origin.behaviour = lambda handler, number: (
            handler.reply(302, Location=f"{origin.url}/moved.zip")
            if number == 1
            else handler.reply(302, Location=f"{elsewhere.url}/data.zip")
        )
        declared = {"authorization": "SOURCE_TOKEN", "private_addresses": True}
        files(f"{origin.url}/data.zip", **declared).fetch(V2021, tmp_path)
        assert [each.headers.get("Authorization") for each in origin.asked] == ["Bearer hunter2"] * 2
        assert [each.headers.get("Authorization") for each in elsewhere.asked] == [None]
    assert "hunter2" not in (tmp_path / ".fetch.jsonl").read_text()


def test_credentials_that_are_not_there_or_wrong_want_a_person(tmp_path: Path) -> None:
    with pytest.raises(NeedsPersonError, match="NO_SUCH_TOKEN is not set"):
        files("https://a.ca/x", authorization="NO_SUCH_TOKEN").fetch(V2021, tmp_path)
    with (
        o.serving(o.Origin(lambda handler, _: handler.reply(401))) as origin,
        pytest.raises(NeedsPersonError, match="requires credentials"),
    ):
        files(f"{origin.url}/data.zip").fetch(V2021, tmp_path)


def test_a_private_authority_is_trusted_when_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, authority = o.private_authority(tmp_path)
    with o.serving(o.Origin(o.good), tls=context) as origin:
        source = files(f"{origin.url}/data.zip")
        pools.tls.cache_clear()
        with pytest.raises(SourceError, match=r"certificate of localhost:\d+ can't be trusted"):
            source.fetch(V2021, tmp_path / "one")
        pools.tls.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert sha256(path_of(source.fetch(V2021, tmp_path / "two")[0])) == RIGHT
    pools.tls.cache_clear()


def test_ipv6_is_spoken(tmp_path: Path) -> None:
    with o.serving(o.Origin(o.good), ipv6=True) as origin:
        assert sha256(path_of(files(f"{origin.url}/data.zip").fetch(V2021, tmp_path)[0])) == RIGHT


# Many at once


def test_no_more_than_declared_are_asked_of_one_host_and_progress_is_told_here(tmp_path: Path) -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def counting(handler: o.Handler, _: int) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        time.sleep(0.02)
        with lock:
            busy -= 1
        handler.whole()

    told: dict[str, int] = {}
    threads: set[str] = set()

    def note(name: str, done: int, _total: int | None) -> None:
        threads.add(threading.current_thread().name)
        told[name] = done

    with o.serving(o.Origin(counting, body=b"x" * 1000)) as origin:
        urls = [f"{origin.url}/{number}.bin" for number in range(30)]
        fetched = files(*urls, per_host=3).fetch(V2021, tmp_path, progress=note)
    assert [one.url for one in fetched] == urls
    assert 1 < most <= 3
    assert threads == {threading.current_thread().name}
    assert told == {f"{number}.bin": 1000 for number in range(30)}


def test_a_host_that_asks_for_a_rest_gets_it_from_all() -> None:
    hosts = Hosts()
    hosts.rest("a.ca", 1)
    began = time.monotonic()
    with hosts.turn("b.ca", 1):
        assert time.monotonic() - began < 1
    with hosts.turn("a.ca", 1):
        assert time.monotonic() - began >= 1


def test_one_refused_file_ends_the_others_and_what_came_stays(tmp_path: Path) -> None:
    def script(handler: o.Handler, _: int) -> None:
        if "gone" in handler.path:
            time.sleep(0.2)
            handler.reply(404)
        else:
            handler.whole()

    with o.serving(o.Origin(script)) as origin:
        urls = [f"{origin.url}/a.zip", f"{origin.url}/gone.zip"]
        with pytest.raises(SourceError, match=r"gone\.zip does not exist"):
            files(*urls).fetch(V2021, tmp_path)
        origin.behaviour = o.good
        before = origin.sent
        files(*urls).fetch(V2021, tmp_path)
        assert origin.sent - before == len(o.payload()), "the one that was here is recognised by its validator"


def test_questions_are_asked_until_time_is_up_and_failures_are_answers() -> None:
    def answer(number: int) -> int:
        time.sleep(0.05)
        if number == 1:
            raise TransientError("later", "Wait")
        return number

    got = ask_all({number: partial(answer, number) for number in range(100)}, seconds=0.3, at_once=2)
    assert list(got) == list(range(len(got)))
    assert 2 < len(got) < 60
    assert isinstance(got[1], TransientError)
    with pytest.raises(ZeroDivisionError):
        ask_all({1: lambda: 1 // 0}, seconds=1)


# Kills

_CHILD = """
import sys
from pathlib import Path
from d4c_pipeline.model.sources import HttpSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.http import HttpFiles
vintage = Vintage.parse("2021")
source = HttpFiles(HttpSource(kind="http", urls=tuple(sys.argv[2:])), origins={}, vintages=(vintage,))
source.fetch(vintage, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("after", [1, 150_000, 400_000, 699_000])
def test_a_killed_fetch_is_gone_on_with_by_the_next_process(tmp_path: Path, after: int) -> None:
    reached = threading.Event()

    def stalls_there(handler: o.Handler, number: int) -> None:
        if number > 2 or "first" in handler.path:
            handler.whole()
        else:
            handler.part(after)
            reached.wait(20)

    with o.serving(o.Origin(stalls_there)) as origin:
        urls = [f"{origin.url}/first.zip", f"{origin.url}/second.zip"]
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path / "into"), *urls])
        part = tmp_path / "into" / ".second.zip.part"
        deadline = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size == after and (tmp_path / "into/first.zip").exists()):
            assert time.monotonic() < deadline, "the child did not come so far"
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        reached.set()
        before = origin.sent
        first, second = files(*urls).fetch(V2021, tmp_path / "into")
        assert (sha256(path_of(first)), sha256(path_of(second))) == (RIGHT, RIGHT)
        assert origin.sent - before == len(o.payload()) - after, "only what was missing"


def test_what_another_boot_left_is_not_trusted(tmp_path: Path) -> None:
    with o.serving(o.Origin(o.once(lambda handler: handler.part(o.CUT)))) as origin:
        source = files(f"{origin.url}/data.zip")
        origin.behaviour = lambda handler, number: handler.part(o.CUT) if number == 1 else handler.reply(503)
        with pytest.raises(TransientError):
            source.fetch(V2021, tmp_path)
        note = tmp_path / ".fetch.jsonl"
        text = note.read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        assert boot in text
        note.write_text(text.replace(boot, "before the power cut"))
        origin.behaviour = o.good
        before = origin.sent
        assert sha256(path_of(source.fetch(V2021, tmp_path)[0])) == RIGHT
        assert origin.sent - before == len(o.payload())


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 1}'])
def test_a_note_that_can_not_be_read_starts_over(tmp_path: Path, note: str) -> None:
    (tmp_path / ".fetch.jsonl").write_text(note)
    (tmp_path / ".data.zip.part").write_bytes(b"half")
    with o.serving(o.Origin(o.good)) as origin:
        assert sha256(path_of(files(f"{origin.url}/data.zip").fetch(V2021, tmp_path)[0])) == RIGHT


# Content


def zipped(members: dict[str, bytes], day: int) -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 1, day, 0, 0, 0)), data)
    return buffer.getvalue()


def test_a_zip_at_the_server_is_looked_into_without_being_fetched(tmp_path: Path) -> None:
    big = os.urandom(3_000_000)
    with o.serving(o.Origin(o.good, body=zipped({"a.csv": big, "b.txt": b"1"}, 1))) as origin:
        origin.behaviour = _with_suffix_ranges
        source = files(f"{origin.url}/data.zip")
        before = source.content(V2021)
        assert before is not None
        assert origin.sent < 200_000
        (tmp_path / "data.zip").write_bytes(origin.body)
        assert content_of([tmp_path / "data.zip"]) == before
        origin.body, origin.etag = zipped({"b.txt": b"1", "a.csv": big}, 2), '"rebuilt"'
        assert source.content(V2021) == before
        origin.body = zipped({"a.csv": big, "b.txt": b"2"}, 2)
        assert source.content(V2021) != before


def test_many_members_and_a_server_without_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"folder/with/a/long/name/{number:05d}.csv": b"x" for number in range(3000)}
    with o.serving(o.Origin(_with_suffix_ranges, body=zipped(many, 1))) as origin:
        (tmp_path / "data.zip").write_bytes(origin.body)
        right = content_of([tmp_path / "data.zip"])
        assert files(f"{origin.url}/data.zip").content(V2021) == right
        origin.behaviour = lambda handler, _: handler.reply(200, handler.body)
        before = origin.sent
        assert files(f"{origin.url}/data.zip").content(V2021) == right
        assert origin.sent - before == len(origin.body), "all of it, once"
        monkeypatch.setattr(content, "_MOST", len(origin.body) - 1)
        assert files(f"{origin.url}/data.zip").content(V2021) is None


def _with_suffix_ranges(handler: o.Handler, _: int) -> None:
    asked = handler.headers.get("Range", "").removeprefix("bytes=")
    total = len(handler.body)
    first = max(0, total - int(asked[1:])) if asked.startswith("-") else int(asked.rstrip("-"))
    handler.reply(206, handler.body[first:], Content_Range=f"bytes {first}-{total - 1}/{total}")
