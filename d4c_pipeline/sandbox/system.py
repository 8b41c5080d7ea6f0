"""Kernel settings of a process: death with its parent, resource limits, priority when memory runs out.

Functions that Python lacks are called through ctypes, with numbers from linux/prctl.h and linux/sched.h.
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
    """Make this process the parent of its descendants whose own parent dies."""
    _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with(parent: int) -> None:
    """Kill this process when `parent`, which has just forked it, dies."""
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def bound() -> None:
    """Write no core file, and be the first process that the kernel kills when memory runs out."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        Path("/proc/self/oom_score_adj").write_text("500", "ascii")
    except OSError:
        return  # /proc is read-only, so the kernel chooses by size


def cut_network() -> bool:
    """Move this process to an empty network namespace; return whether that succeeded.

    It needs the rights of an administrator, which some containers have.
    """
    return _libc.unshare(_CLONE_NEWNET) == 0
