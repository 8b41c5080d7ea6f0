"""Foreign bytes that attack the process which reads them: made here, tried by tests and by `benchmarks/hostile.py`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from d4c_pipeline_tests.hostile.attack import Attack

# What takes more than about a second to make.
_BIG = re.compile(
    r"a million|0 MB|[0-9] GB|bzip2|lzma|12,000 members|100 M nulls|times a text|lists of a million|row groups"
    r"|20 M shared|300,000 parts|50,000 sheets|3,000 layers|50 M empty|1,000,000 deep|20,000 parts of|million columns"
    r"|a header of"
)
MODULES = ("archives", "geometries", "tables", "geo_metadata", "databases", "workbooks")


class Trying(Protocol):
    """Tries attacks by name."""

    def __call__(self, name: str, /) -> str | None:
        """Return what is wrong with the attack's end, None when it was withstood."""
        ...


def attacks(*modules: str) -> dict[str, Attack]:
    """Return the attacks of `modules` (all by default) by name."""
    made = [each for name in modules or MODULES for each in import_module(f"{__name__}.{name}").attacks()]
    return {each.name: replace(each, quick=_BIG.search(each.name) is None) for each in made}


@contextmanager
def trying() -> Generator[Trying]:
    """Yield what tries attacks, in a process of its own."""
    command = [sys.executable, "-m", __name__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        asking, answering = child.stdin, child.stdout

        def attempt(name: str) -> str | None:
            asking.write(f"{name}\n")
            asking.flush()
            answer = answering.readline()
            return json.loads(answer)[1] if answer else "the process that tries attacks ended"

        yield attempt
        asking.close()


def wrong(names: Sequence[str]) -> dict[str, str]:
    """Try the attacks of these names; return those that were not withstood, with what is wrong."""
    with trying() as attempt:
        return {name: said for name in names if (said := attempt(name)) is not None}
