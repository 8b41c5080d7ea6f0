"""A process of its own for what is to die in it: forked, so that it has what the test has patched."""

from __future__ import annotations

import os
from collections.abc import Callable


def in_child(work: Callable[[], int | None]) -> int:
    """Run `work` in a forked process; its exit code: what it returns, 255 for an error, negative for a signal."""
    child = os.fork()
    if child == 0:
        status = 255
        try:
            status = work() or 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
