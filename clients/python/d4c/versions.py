"""Versions by name or pattern, ordered as SemVer orders them (https://semver.org).

What a release is belongs to `release`, which releases there are to `catalogue`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_FORM = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?", re.ASCII)
_PATTERN = re.compile(r"v?(?:\*|\d+\.\*|\d+\.\d+\.\*)", re.ASCII)
LATEST = "latest"

Precedence = tuple[tuple[int, int, int], int, tuple[tuple[int, int, str], ...]]


def precedence(version: str) -> Precedence:
    """Return what versions are ordered by; a pre-release comes before its release. Raises ValueError."""
    match = _FORM.fullmatch(version)
    if match is None:
        raise ValueError(f"'{version}' is no version")
    major, minor, patch = int(match[1]), int(match[2]), int(match[3])
    tags = tuple((0, int(tag), "") if tag.isdigit() else (1, 0, tag) for tag in match[4].split(".")) if match[4] else ()
    return (major, minor, patch), 0 if tags else 1, tags


def is_prerelease(version: str) -> bool:
    """Return whether the version has a pre-release tag, such as `-beta`."""
    return precedence(version)[1] == 0


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return the test of a pattern: a version, or `*`, `1.*`, `1.2.*`. Raises ValueError for other texts."""
    if _PATTERN.fullmatch(pattern):
        start = pattern.removeprefix("v").removesuffix("*")
        return lambda version: version.startswith(start)
    exact = precedence(pattern)
    return lambda version: precedence(version) == exact


def is_wildcard(pattern: str) -> bool:
    """Return whether a pattern may match several versions."""
    return "*" in pattern
