"""Version rules: what follows what."""

from __future__ import annotations

import pytest

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.version import Bump, Version, first_version, next_version


@pytest.mark.parametrize(
    ("newest", "bump", "stage", "following"),
    [
        ("0.1.0-beta", Bump.PATCH, "beta", "0.1.1-beta"),
        ("0.1.0-beta", Bump.PATCH, "stable", "0.1.1"),
        ("0.1.0-beta", Bump.MINOR, "beta", "0.2.0-beta"),
        ("0.1.0-beta", Bump.MAJOR, "beta", "1.0.0-beta"),
        ("0.1.7-beta", Bump.MINOR, "rc", "0.2.0-rc"),
        ("1.2.3", Bump.PATCH, "stable", "1.2.4"),
        ("1.2.3", Bump.MINOR, "stable", "1.3.0"),
        ("1.2.3", Bump.MAJOR, "stable", "2.0.0"),
        ("1.2.3", Bump.PATCH, "alpha", "1.2.4-alpha"),
        ("0.9.9", Bump.MAJOR, "stable", "1.0.0"),
    ],
)
def test_the_following_version(newest: str, bump: Bump, stage: str, following: str) -> None:
    result = next_version(Version.read(newest), bump, stage)

    assert str(result) == following
    assert result > Version.read(newest)
    assert type(result) is Version


def test_without_a_change_there_is_no_version() -> None:
    with pytest.raises(ValueError, match="no change"):
        next_version(Version.read("1.0.0"), Bump.NONE, "stable")


@pytest.mark.parametrize(("stage", "first"), [("beta", "0.1.0-beta"), ("stable", "0.1.0"), ("rc", "0.1.0-rc")])
def test_the_first_version(stage: str, first: str) -> None:
    assert str(first_version("0.1.0", stage)) == first


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(PermanentError, match="'gamma' is not a stage"):
        first_version("0.1.0", "gamma")


def test_a_leading_v_is_read() -> None:
    assert Version.read("v1.2.0-beta") == Version.read("1.2.0-beta")


@pytest.mark.parametrize("text", ["", "1", "1.2", "1.2.3.4", "01.2.3", "latest", "vv1.2.3", "1.2.3-"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(PermanentError, match="is not a semantic version"):
        Version.read(text)


def test_versions_order_by_semver_precedence() -> None:
    order = ["0.1.0-alpha", "0.1.0-beta", "0.1.0-rc", "0.1.0", "0.1.1-beta", "0.2.0", "0.10.0", "1.0.0"]

    assert [str(v) for v in sorted(map(Version.read, reversed(order)))] == order


def test_the_largest_bump_wins() -> None:
    assert Bump.largest([Bump.PATCH, Bump.MAJOR, Bump.MINOR]) is Bump.MAJOR
    assert Bump.largest([]) is Bump.NONE
