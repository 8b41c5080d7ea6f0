"""The lock: complete, hashed, naming no registry, and holding what the Makefile and the Dockerfile take out of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[3]
LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
SCHEMAS = (REPOSITORY / "d4c_pipeline_tests" / "schemas.lock").read_text(encoding="utf-8")
PINS = {
    canonicalize_name(name): Version(version)
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", LOCK, re.MULTILINE)
}


def test_every_declared_dependency_is_pinned_inside_its_range() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    declared = [
        *project["project"]["dependencies"],
        *(text for extra in project["project"]["optional-dependencies"].values() for text in extra),
        *project["dependency-groups"]["dev"],
    ]
    for requirement in map(Requirement, declared):
        pinned = PINS.get(canonicalize_name(requirement.name))
        assert pinned is not None, f"{requirement} is not locked: make lock"
        assert pinned in requirement.specifier, f"{requirement} is locked as {pinned}: make lock"


@pytest.mark.parametrize("lock", [LOCK, SCHEMAS], ids=["requirements", "schemas"])
def test_every_pin_has_a_hash(lock: str) -> None:
    pins = re.findall(r"^[A-Za-z0-9._-]+==\S+", lock, re.MULTILINE)
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)[1:]
    assert len(blocks) >= len(pins) > 0
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("lock", [LOCK, SCHEMAS], ids=["requirements", "schemas"])
def test_it_names_no_registry(lock: str) -> None:
    assert re.findall(r"\w+://\S+|--(?:extra-)?index-url|--find-links", lock) == []


def test_the_tools_that_install_it_are_in_it() -> None:
    # `uv pip sync` removes what the lock does not name: uv itself, and what builds our editable wheel.
    assert set(PINS) >= {"uv", "hatchling"}
