"""Landlock: a Linux process gives up files, TCP and signals, for itself and its children.

Called through ctypes: glibc has no functions for Landlock, and the packages on PyPI are at their first versions.
Numbers and structures come from linux/landlock.h. https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all architectures
_PATH_BENEATH = 1
_SET_NO_NEW_PRIVS = 38  # prctl
# Version 1 forbids renaming a file from one folder to another, which every build does.
_LEAST_VERSION = 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_UP_TO_MAKING_LINKS = (1 << 13) - 1
_SINCE = {_REFER: 2, _TRUNCATE: 3, _IOCTL_DEV: 5}
# The rights that a rule for a file, not a folder, may grant.
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_BIND_AND_CONNECT = 0b11  # TCP, since 4
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11  # since 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def version() -> int:
    """Return the kernel's version of Landlock, 0 if it has none."""
    return max(0, _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def restrict(readable: Iterable[Path], writable: Iterable[Path], *, network: bool) -> bool:
    """Restrict this thread and its future children to these files and folders, and to signals among themselves.

    Without `network`, TCP is forbidden too (from version 4). Missing paths are skipped. Returns False when the kernel
    is too old, in which case nothing is restricted. Raises OSError when the kernel refuses.
    """
    current = version()
    if current < _LEAST_VERSION:
        return False
    handled = _UP_TO_MAKING_LINKS
    for right, since in _SINCE.items():
        handled |= right if current >= since else 0
    rules = _Ruleset(
        handled,
        _BIND_AND_CONNECT if current >= 4 and not network else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if current >= 6 else 0,
    )
    ruleset = _checked(_libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.sizeof(rules), ctypes.c_uint32(0)))
    try:
        for path in readable:
            _allow(ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
        for path in writable:
            _allow(ruleset, path, handled)
        _checked(_libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(_libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)))
    finally:
        os.close(ruleset)
    return True


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not path.is_dir():
            rights &= _OF_FILES
        rule = _PathBeneath(rights, opened)
        _checked(_libc.syscall(_ADD_RULE, ruleset, ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0)))
    finally:
        os.close(opened)


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return answer
