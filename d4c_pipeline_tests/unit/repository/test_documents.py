"""What the documents name is there: files, settings, fields; and the examples they show are valid."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from d4c_pipeline.model import sources
from d4c_pipeline.model.credits import Contributor, Funding, Party
from d4c_pipeline.model.dataset import Dataset, Extent, Name
from d4c_pipeline.model.family import Family, FamilyNoticing, StatCanTables
from d4c_pipeline.model.licences import DeclaredLicence
from d4c_pipeline.model.processing import Column, TableProcessing, VectorProcessing
from d4c_pipeline.model.publication import Publication
from d4c_pipeline.model.release import DepositState
from d4c_pipeline.model.sources import Source
from d4c_pipeline.workspace.datasets import COMPONENT_TYPE, FAMILY_TYPE

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_REFERENCE = re.compile(r"(?<![\w./-])docs/[\w./-]+\.(?:md|png|py)")


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def texts_of_the_tree() -> Iterator[Path]:
    for folder in ("d4c_pipeline", "d4c_pipeline_tests", "benchmarks", ".ci"):
        yield from (path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".yaml", ".sql", ".md", ""})
    yield from (
        ROOT / name for name in ("Makefile", "Dockerfile", "pyproject.toml", "dagster.yaml", "docker-compose.yml")
    )
    yield from DOCUMENTS


def test_every_page_that_the_tree_refers_to_exists() -> None:
    missing = {
        (str(path.relative_to(ROOT)), reference)
        for path in texts_of_the_tree()
        if path.is_file()
        for reference in _REFERENCE.findall(path.read_text("utf-8"))
        if not (ROOT / reference).is_file()
    }
    assert missing == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    for target in _LINK.findall(document.read_text("utf-8")):
        if re.match(r"[a-z]+:", target) is None:
            assert (document.parent / target.partition("#")[0]).exists(), target


def test_every_page_is_reached_from_the_readme_or_contributing() -> None:
    linked = "".join(read(name) for name in ("README.md", "CONTRIBUTING.md"))
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in linked] == []


def test_the_reference_of_the_yaml_is_made_from_the_types() -> None:
    made = subprocess.run(
        [sys.executable, "docs/make_reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.stderr == ""


def test_the_page_of_settings_is_made_from_their_fields() -> None:
    made = subprocess.run(
        [sys.executable, "docs/make_settings.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert made.stderr == ""
    # Every D4C_ variable of the product is on that page, or belongs to a program beside it.
    beside = {"D4C_FIXTURES", "D4C_ADVISORIES"}
    read_in_code = {
        name
        for file in (ROOT / "d4c_pipeline").rglob("*.py")
        for name in re.findall(r"\bD4C_[A-Z]+(?:_[A-Z]+)*\b(?!_)", file.read_text("utf-8"))
    }
    assert read_in_code - beside == set(re.findall(r"\| `(D4C_\w+)` \|", read("docs/settings.md")))


def test_the_picture_of_the_rooms_is_drawn_from_the_imports() -> None:
    drawn = subprocess.run(
        [sys.executable, "docs/draw_rooms.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert drawn.stderr == ""
    shown = set(re.findall(r"<text[^>]*>(\w+)</text>", read("docs/images/rooms.svg")))
    explained = set(
        re.findall(r"`(\w+)(?:\.py)?`", "".join(re.findall(r"^\| (`.*?) \|", read("docs/architecture.md"), re.M)))
    )
    assert shown <= explained


def fields_of(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields) - {"folder", "kind"}


def test_every_field_of_a_definition_is_explained() -> None:
    explained = set(
        re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (.*?) \|", read("docs/datasets.md"), re.MULTILINE)))
    )
    for model in (Dataset, VectorProcessing, TableProcessing):
        assert fields_of(model) <= explained, model.__name__
    text = read("docs/datasets.md")
    for model in (
        *get_args(get_args(Source)[0]),
        sources.Timeouts,
        Publication,
        FamilyNoticing,
        StatCanTables,
        Column,
        Party,
        Contributor,
        Funding,
        DeclaredLicence,
        Name,
        Extent,
    ):
        assert [name for name in fields_of(model) if not re.search(rf"\b{name}\b", text)] == [], model.__name__


@pytest.mark.parametrize("name", ["README.md", "docs/datasets.md"])
def test_definitions_that_are_shown_are_valid(name: str) -> None:
    text = read(name)
    inlined = re.findall(r"<<'YAML'\n(.*?)^YAML$", text, re.DOTALL | re.MULTILINE)
    shown = [one for one in (yaml.safe_load(block) for block in [*fenced(text, "yaml"), *inlined]) if "type" in one]
    assert shown, "no definition is shown"
    for document in shown:
        assert document["type"] in (COMPONENT_TYPE, FAMILY_TYPE)
        model = Dataset if document["type"] == COMPONENT_TYPE else Family
        model.model_validate(document["attributes"])


def test_scripts_that_are_shown_are_shell() -> None:
    for document in DOCUMENTS:
        for script in fenced(document.read_text("utf-8"), "sh"):
            subprocess.run(["sh", "-n"], input=script, text=True, check=True)


def test_every_deposit_state_is_explained() -> None:
    text = read("docs/deposits.md")
    assert [state.value for state in DepositState if f"`{state.value}`" not in text] == []


def test_the_catalogue_s_own_fields_are_those_of_its_items() -> None:
    modules = ("stac_item.py", "item_assets.py", "arrow_schema.py")
    code = "".join(read(f"d4c_pipeline/catalogue/{name}").partition('"""')[2].partition('"""')[2] for name in modules)
    written = set(re.findall(r'"(d4c:\w+)"', code)) - {"d4c:description_fr"}
    shown = set(re.findall(r"`(d4c:\w+)`", read("docs/catalogue.md")))
    assert written <= shown | {"d4c:description_fr"}, "a field is not explained"
    assert shown - {"d4c:description_fr"} <= written, "a field that is explained is never written"
