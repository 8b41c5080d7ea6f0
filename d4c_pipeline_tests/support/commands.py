"""Calling `d4c` as a process of its own and reading what it answered; the forking itself is `zygote.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from d4c_pipeline_tests.support.samples import Origin

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    """A process that has ended; `code` is negative for a signal, as `subprocess` has it."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it printed for machines."""
        return json.loads(self.stdout)

    @property
    def sentence(self) -> str:
        """The one line of an error, without its label. Fails where there is more than that line on stderr."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("Error: ")]
        assert self.code == 1, self
        assert errors == lines[-1:], self.stderr
        assert "Traceback" not in self.stderr
        assert self.stdout == ""
        return errors[0].removeprefix("Error: ")


class Zygote:
    """The process that forks for every call. `wrapper` is put before its command line (`unshare` and the like)."""

    def __init__(self, scratch: Path, wrapper: Sequence[str] = ()) -> None:
        self.scratch = scratch
        self._process = subprocess.Popen(
            [*wrapper, sys.executable, str(Path(__file__).with_name("zygote.py")), str(scratch / "learned")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.ready = self._process.stdout.readline() == "ready\n"

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> str:
        """End it; returns what it said on stderr."""
        try:
            return self._process.communicate(timeout=10)[1]
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.communicate()[1]


@dataclass
class Running:
    """A process that was started and not waited for yet."""

    zygote: Zygote
    pid: int
    stdout: Path
    stderr: Path

    def wait(self, seconds: float = 100) -> Done:
        code = self.zygote.ask(wait=self.pid, seconds=seconds)["code"]
        return Done(code, self.stdout.read_text("utf-8"), self.stderr.read_text("utf-8"))


@dataclass
class D4C:
    """The command `d4c` on one home: `d4c("publish", "places", "--json")`."""

    zygote: Zygote
    home: Path
    port: int
    origin: Origin
    settings: dict[str, str] = field(default_factory=dict[str, str])
    cwd: Path | None = None

    def start(
        self,
        *arguments: str,
        function: str = "d4c_pipeline.commands.main:main",
        kill: tuple[str, str] | None = None,
        file_size_limit: int = 0,
        umask: int = 0o022,
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a call of the command line, or of another `function` that takes the arguments.

        `kill`: where and when (`before`, `after`) it kills itself; see `zygote.arm`.
        """
        said = [self.zygote.scratch / f"{uuid4().hex}.{name}" for name in ("out", "err")]
        answer = self.zygote.ask(
            function=function,
            arguments=list(arguments),
            env=self.environment() | dict(env or {}),
            cwd=str(self.cwd or self.zygote.scratch),
            umask=umask,
            stdin="/dev/null",
            stdout=str(said[0]),
            stderr=str(said[1]),
            kill=kill,
            file_size_limit=file_size_limit,
        )
        return Running(self.zygote, answer["pid"], *said)

    def __call__(self, *arguments: str, **how: Any) -> Done:
        return self.start(*arguments, **how).wait()

    def ok(self, *arguments: str, **how: Any) -> Any:
        """What a call that has to succeed prints under `--json`."""
        done = self(*arguments, "--json", **how)
        assert done.code == 0, done.stderr
        return done.json

    def environment(self) -> dict[str, str]:
        """The whole environment of a call: nothing of the tester's own settings."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home.parent),
            "PYTHONPATH": str(ROOT),
            "D4C_HOME": str(self.home),
            "D4C_PORT": str(self.port),
            "D4C_ORIGIN_MAP": self.origin.map,
            **self.settings,
        }
