"""Work in a separate process: its environment and access, and the errors of the run for each way in which it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from d4c_pipeline.model.errors import DataError, NeedsPersonError, SourceError, TransientError
from d4c_pipeline.sandbox import call, landlock
from d4c_pipeline.sandbox.failures import BugInChildError
from d4c_pipeline.sandbox.wire import Limits, Reach
from d4c_pipeline_tests.fakes import child_work

Run = Callable[..., Any]
SECRETS = ("D4C_ARCHIVE_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "D4C_LEDGER_URL", "ANYTHING")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def run(scratch: Path) -> Run:
    def run(
        function: Callable[..., Any], *arguments: Any, memory: int = 4 << 30, seconds: float = 60, **reach: Any
    ) -> Any:
        return call.run(
            function,
            *arguments,
            what="The build of places 2021",
            limits=Limits(memory, seconds),
            settings=call.Settings("D4C_BUILD_MEMORY", "D4C_BUILD_SECONDS"),
            reach=Reach(scratch, **reach),
        )

    return run


def test_its_environment_holds_no_secret(run: Run, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, f"s3cret-of-{name.lower()}")
    monkeypatch.setenv("D4C_READ_DEPTH", "7")  # limits are inherited
    seen = run(child_work.environment)
    assert seen["D4C_READ_DEPTH"] == "7"
    assert {name: seen[name] for name in ("HOME", "TMPDIR", "TZ", "LC_ALL", "PATH")} == {
        "HOME": str(scratch), "TMPDIR": str(scratch), "TZ": "UTC", "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"],
    }  # fmt: skip
    assert set(seen) & set(SECRETS) == set()
    assert "s3cret" not in str(seen)


def test_it_inherits_no_file(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "ledger").open("w") as ledger:
        os.set_inheritable(ledger.fileno(), True)
        opened = [re.sub(r":.*", "", name) for name in run(child_work.descriptors)]
    assert [name for name in opened if not name.endswith("/proj.db")] == ["pipe", "/memfd"]


@pytest.mark.skipif(landlock.version() < 2, reason="this kernel has no Landlock, as docs/operations.md says")
def test_it_reads_and_writes_only_its_files(run: Run, tmp_path: Path) -> None:
    given, token, into = tmp_path / "given.csv", tmp_path / "token", tmp_path / "into"
    given.write_text("a\n1\n", "utf-8")
    token.write_text("a token", "utf-8")
    into.mkdir()
    assert run(child_work.read_text, given, readable=(given,)) == "a\n1\n"
    run(child_work.write_text, into / "out", writable=(into,))
    assert (into / "out").read_text("utf-8") == "written"
    # The environment of the run holds the archive's token; without Landlock any process of the same user could read it.
    for forbidden in (token, Path(f"/proc/{os.getpid()}/environ"), Path("/etc/shadow"), Path.home() / ".bashrc"):
        with pytest.raises(BugInChildError, match="PermissionError"):
            run(child_work.read_text, forbidden, readable=(given,))
    for forbidden in (token, given):
        with pytest.raises(BugInChildError, match="PermissionError"):
            run(child_work.write_text, forbidden, readable=(given,), writable=(into,))
    assert token.read_text("utf-8") == "a token"


@pytest.mark.skipif(
    landlock.version() < 6, reason="this kernel has no Landlock of version 6, as docs/operations.md says"
)
def test_it_reaches_no_server_and_no_process(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(BugInChildError, match=r"PermissionError|Network is unreachable"):
            run(child_work.connect, port)
        assert run(child_work.connect, port, network=True) is None
    sleeping = subprocess.Popen(["sleep", "100"])
    try:
        with pytest.raises(BugInChildError, match="PermissionError"):
            run(child_work.send_signal, sleeping.pid)
        assert sleeping.poll() is None
    finally:
        sleeping.kill()
        sleeping.wait()


def test_a_crash_of_geos_is_reported_and_affects_nothing_else(run: Run) -> None:
    with pytest.raises(DataError) as crash:
        run(child_work.parse_wkb, 300_000)
    assert re.match(
        r"The build of places 2021 crashed while reading deep\.wkb by SIGSEGV: a library failed on the file; "
        r"nothing else was affected\. Have the source deliver the file again or in another format",
        str(crash.value),
    )
    # The same server continues.
    assert run(child_work.parse_wkb, 3) == "GeometryCollection"


def test_work_is_ended_at_the_memory_limit(run: Run) -> None:
    with pytest.raises(DataError) as ended:
        run(child_work.eat, memory=700_000_000)
    assert str(ended.value) == (
        "The build of places 2021 was ended while reading rows.csv: it used more than 0.7 GB of memory. "
        "Check the file; if it is valid, raise D4C_BUILD_MEMORY."
    )


def test_a_view_without_end_is_ended_by_the_time_limit(run: Run, tmp_path: Path) -> None:
    package = tmp_path / "endless.gpkg"
    child_work.endless_geopackage(package)
    began = time.monotonic()
    with pytest.raises(DataError) as ended:
        run(child_work.read_vector, package, seconds=2, writable=(tmp_path,))
    assert str(ended.value) == (
        "The build of places 2021 was ended while reading endless.gpkg: it took longer than 2 seconds. "
        "Check the file; if it is valid, raise D4C_BUILD_SECONDS."
    )
    assert time.monotonic() - began > 2


def test_an_end_without_an_answer_names_the_code(run: Run) -> None:
    with pytest.raises(DataError, match=r"crashed with exit code 3 and no answer"):
        run(os._exit, 3)


def test_work_that_was_killed_from_outside_needs_a_person(run: Run, scratch: Path) -> None:
    # As the kernel does when memory runs out.
    killer = subprocess.Popen(
        [
            "sh",
            "-c",
            f"until [ -e {scratch}/started ]; do sleep 0.05; done; read pid rest < {scratch}/started; kill -9 $pid",
        ]
    )
    with pytest.raises(
        NeedsPersonError, match=r"was killed by SIGKILL from outside\. The system kills processes when memory"
    ):
        run(child_work.leave_behind, scratch)
    killer.wait()
    _, server, program = map(int, (scratch / "started").read_text("utf-8").split())
    assert psutil.pid_exists(server)
    # Its child in a separate session is gone too.
    assert not psutil.pid_exists(program)


def test_errors_arrive_as_they_were_raised(run: Run) -> None:
    with pytest.raises(SourceError) as refused:
        run(child_work.refuse)
    assert type(refused.value) is SourceError
    assert (refused.value.cause, refused.value.remedy) == ("The file https://a.ca/x is a page", "Correct the address")
    with pytest.raises(DataError, match=r"^Row 7 can't be used\. Drop it\.$"):
        run(child_work.refuse_a_row)
    with pytest.raises(TransientError, match=r"gave this process no more memory.*lower D4C_MEMORY_LIMIT"):
        run(child_work.run_short)
    with pytest.raises(BugInChildError, match=r"^KeyError: 'absent'") as bug:
        run(child_work.stumble)
    assert "in stumble" in bug.value.__notes__[0]


def test_the_run_prints_its_output_without_secrets(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(child_work.speak) == 1
    printed = capsys.readouterr().err
    assert "RuntimeWarning: a remark of a library" in printed
    assert "out of C\n" in printed
    assert "api_key=***" in printed


RUN = """
import sys
from pathlib import Path
from d4c_pipeline.sandbox import call
from d4c_pipeline.sandbox.wire import Limits, Reach
from d4c_pipeline_tests.fakes import child_work
folder = Path(sys.argv[1])
call.run(child_work.leave_behind, folder, what="x", limits=Limits(1 << 32, 60), settings=call.Settings("m", "t"),
         reach=Reach(folder))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_process_outlives_a_run_that_is_killed(scratch: Path, number: signal.Signals) -> None:
    started = scratch / "started"
    with subprocess.Popen([sys.executable, "-c", RUN, str(scratch)], stderr=subprocess.DEVNULL) as running:
        _until(started.exists)
        pids = [int(pid) for pid in started.read_text("utf-8").split()]
        assert all(map(psutil.pid_exists, pids))
        running.send_signal(number)
        running.wait(20)
    _until(lambda: not any(map(psutil.pid_exists, pids)))


FORKS = """
import os, sys, threading
from pathlib import Path
import psutil
import d4c_pipeline.orchestration.preloaded
from d4c_pipeline.sandbox import call
from d4c_pipeline.sandbox.wire import Limits, Reach

def forked_run():
    if os.fork() == 0:
        try:
            server = call.run(os.getppid, what="w", limits=Limits(4 << 30, 60), settings=call.Settings("m", "t"),
                              reach=Reach(Path(sys.argv[1])))
            parent = psutil.Process(server).ppid()
            print(parent in (os.getpid(), forking.pid), parent == forking.pid)
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.wait()

(forking,) = call._forking
print(threading.active_count(), [each.path for each in psutil.Process().open_files() if "proj.db" not in each.path])
forked_run()
forked_run()
if sys.argv[2] == "kill":
    forking.kill()
    forking.wait()
    forked_run()
print(forking.pid)
"""


@pytest.mark.parametrize("killed", [False, True])
def test_forks_of_a_process_share_the_process_that_forks_their_servers(scratch: Path, killed: bool) -> None:
    command = [sys.executable, "-c", FORKS, str(scratch), "kill" if killed else ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    *lines, pid = done.stdout.split("\n")[:-1]
    assert lines[0] == "1 []", (done.stdout, done.stderr)  # a fork would share threads and open databases
    assert lines[1:3] == ["True True"] * 2, done.stderr
    assert lines[3:] == (["True False"] if killed else []), "without it, a run starts its own server"
    _until(lambda: not psutil.pid_exists(int(pid)))


def _until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)
