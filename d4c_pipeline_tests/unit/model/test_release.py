"""Releases: their key, their summary's way through JSON, the order of a deposit's states."""

from __future__ import annotations

import json
from itertools import permutations

from d4c_pipeline.model.release import (
    Artifact,
    ArtifactRole,
    Column,
    DataSummary,
    DepositState,
    release_key,
)
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage


def artifact(name: str, sha256: str) -> Artifact:
    return Artifact(name, ArtifactRole.DATA, 1, "0" * 32, sha256, "application/octet-stream")


ARTIFACTS = [artifact("a.parquet", "a" * 64), artifact("b.json", "b" * 64), artifact("c.txt", "c" * 64)]
KEY = "1a311b5a7a488acf54c55f9495dc74924c72335072fa2d3f11f2561ba854758f"


def key_of(artifacts: list[Artifact], dataset: str = "d", vintage: str = "2021", version: str = "0.1.0-beta") -> str:
    return release_key(dataset, Vintage.parse(vintage), Version.read(version), artifacts)


def test_the_key_is_known() -> None:
    # sha256 of ["d","2021","0.1.0-beta",[["a.parquet","aa..."],["b.json","bb..."],["c.txt","cc..."]]]
    assert key_of(ARTIFACTS) == KEY


def test_the_key_does_not_depend_on_the_order_of_artifacts() -> None:
    assert {key_of(list(order)) for order in permutations(ARTIFACTS)} == {KEY}


def test_the_key_depends_on_everything_else() -> None:
    others = [
        key_of(ARTIFACTS, dataset="e"),
        key_of(ARTIFACTS, vintage="2016"),
        key_of(ARTIFACTS, version="0.1.0"),
        key_of(ARTIFACTS[:2]),
        key_of([artifact("a.parquet", "f" * 64), *ARTIFACTS[1:]]),
        key_of([artifact("z.parquet", "a" * 64), *ARTIFACTS[1:]]),
    ]

    assert len({KEY, *others}) == 7


def test_a_summary_survives_json() -> None:
    summary = DataSummary(
        rows=13,
        columns=(Column("prname", "string", "PRNAME", "Name", "Nom"), Column("geometry", "geometry")),
        key=("pruid",),
        crs="EPSG:4326",
        bounds=(-141.018, 41.681, -52.582, 83.136),
        geometry_types=("MultiPolygon", "Polygon"),
        report={"repaired": 2},
    )

    assert DataSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_a_table_has_no_bounds() -> None:
    summary = DataSummary(182, (), (), None, None, (), {})

    assert DataSummary.from_json(json.loads(json.dumps(summary.to_json()))) == summary


def test_states_have_the_order_of_the_way() -> None:
    assert [state.value for state in sorted(DepositState, key=lambda state: state.rank)] == [
        "planned",
        "draft_open",
        "doi_reserved",
        "files_synced",
        "verified",
        "awaiting_review",
        "publishing",
        "published",
        "abandoned",
    ]
