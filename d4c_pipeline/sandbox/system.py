"""Kernel settings of a process: death with its parent, resource limits, priority when memory runs out.

Numbers are those of linux/prctl.h and linux/sched.h, called through ctypes where Python has no function.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Have what a child of this process started become this process's own child when that one ends."""
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with(parent: int) -> None:
    """Have this process end when `parent`, which has just forked it, does."""
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def bound() -> None:
    """Leave no core file, and be the first to go when the system runs out of memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        Path("/proc/self/oom_score_adj").write_text("500", "ascii")
    except OSError:
        return  # where /proc can't be written to, the kernel chooses by size


def cut_network() -> bool:
    """Leave this process a network of its own, in which there is nothing. Returns whether that could be done.

    It takes the rights of an administrator, which a container has or lacks.
    """
    return _libc.unshare(_CLONE_NEWNET) == 0
