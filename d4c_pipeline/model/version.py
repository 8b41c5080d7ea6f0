"""Versions of our processing of one vintage, by SemVer: parsing, order, and the version that follows a bump.

`model.bumps` decides which bump a difference requires. Source of the rules: https://semver.org.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache

import semver

from d4c_pipeline.model.errors import PermanentError

STAGES = ("alpha", "beta", "rc", "stable")


class Bump(IntEnum):
    """The size of the change since the newest published release, ordered: a greater bump includes the smaller."""

    NONE = 0
    PATCH = 1
    MINOR = 2
    MAJOR = 3

    @classmethod
    def largest(cls, bumps: Iterable[Bump]) -> Bump:
        """Return the greatest of `bumps`, NONE for no bumps."""
        return max(bumps, default=cls.NONE)


class Version(semver.Version):
    """A semantic version, ordered by SemVer precedence (`0.1.0-beta` comes before `0.1.0`)."""

    @classmethod
    def read(cls, text: str) -> Version:
        """Read a version with or without a leading `v`.

        Raises PermanentError when `text` is not a semantic version.
        """
        return _read(text)

    def __str__(self) -> str:
        # The catalogue needs each text some 150 times; a version does not change.
        text: str | None = self.__dict__.get("text")
        if text is None:
            text = self.__dict__["text"] = super().__str__()
        return text


@lru_cache(maxsize=4096)
def _read(text: str) -> Version:
    try:
        return Version.parse(text.removeprefix("v"))
    except ValueError as error:
        raise PermanentError(f"'{text}' is not a semantic version", "Write it like 0.1.0 or 1.2.0-beta") from error


def first_version(initial: str, stage: str) -> Version:
    """Return the version of a first release: `initial` with `stage` as its pre-release tag unless stable."""
    return _staged(Version.read(initial), stage)


def next_version(newest: Version, bump: Bump, stage: str) -> Version:
    """Return the version that follows `newest` after a change of size `bump`.

    The pre-release tag is not a step of its own: 0.1.0-beta and a PATCH give 0.1.1-beta (stage beta) or 0.1.1 (stage
    stable). Raises ValueError for `Bump.NONE`, because no change means no version.
    """
    core = Version(newest.major, newest.minor, newest.patch)
    match bump:
        case Bump.MAJOR:
            return _staged(core.bump_major(), stage)
        case Bump.MINOR:
            return _staged(core.bump_minor(), stage)
        case Bump.PATCH:
            return _staged(core.bump_patch(), stage)
        case Bump.NONE:
            raise ValueError("no change, no version")


def _staged(version: semver.Version, stage: str) -> Version:
    if stage not in STAGES:
        raise PermanentError(f"'{stage}' is not a stage", f"Use one of {', '.join(STAGES)}")
    prerelease = None if stage == "stable" else stage
    return Version(version.major, version.minor, version.patch, prerelease)
