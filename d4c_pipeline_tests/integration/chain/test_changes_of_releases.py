"""Releases after the first carry their changes: against which release, proved, and never with withdrawn values."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from d4c_pipeline.archives import port
from d4c_pipeline.chain import changes as chained
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.fixity import FixityPolicy
from d4c_pipeline.model.release import ArtifactRole, PublishedRelease
from d4c_pipeline.processing import changes
from d4c_pipeline.upkeep.fixity import audit
from d4c_pipeline.upkeep.repair import Outcome, repair
from d4c_pipeline.workspace.staging import artifact_path
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES, PLACES_URL, corrected, define, geojson


def changes_file(chain: Chain, release: PublishedRelease) -> Path | None:
    found = [each for each in release.artifacts if each.role is ArtifactRole.CHANGES]
    return artifact_path(chain.opened, release, found[0]) if found else None


def rows(path: Path | None) -> list[tuple[Any, ...]]:
    return duckdb.sql(f"SELECT kind, columns, key.id FROM '{path}' ORDER BY ALL").fetchall()


def correct(chain: Chain) -> None:
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))


def test_a_correction_carries_the_row_that_it_changed(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    first = chain.newest()
    assert changes_file(chain, first) is None
    correct(chain)
    chain.run()
    second = chain.newest()
    path = changes_file(chain, second)
    assert path is not None
    assert path.name == f"{second.name}_changes.parquet"
    assert rows(path) == [("modified", ["population"], 3)]
    assert second.summary.report["changes"] == {
        "since": first.name,
        "kind": {"modified": 1},
        "column": {"population": 1},
        "province": {},
        "carried": True,
    }
    (old,), (new,) = first.data_files, second.data_files
    made = changes.apply([artifact_path(chain.opened, first, old)], path, tmp_path / "made").files
    assert [(each.name, sha256_of(each)) for each in made] == [(new.name, new.sha256)]
    # Listed wherever the files of the release are.
    named = {file.name: file for file in second.artifacts}
    readme = artifact_path(chain.opened, second, named["README.md"]).read_text("utf-8")
    assert f"## Changes since {first.name}\n\n- rows with other values: 1\n" in readme
    assert f"## Changements depuis {first.name}" in readme
    item = json.loads(artifact_path(chain.opened, second, named["item.json"]).read_text("utf-8"))
    assert item["assets"]["changes"]["href"].endswith(path.name)
    assert item["assets"]["changes"]["roles"] == ["changes"]
    manifest = json.loads(artifact_path(chain.opened, second, named["manifest.json"]).read_text("utf-8"))
    assert [each["name"] for each in manifest["outputs"] if each["role"] == "changes"] == [path.name]


def test_the_next_vintage_of_a_rolling_series_carries_what_is_new(chain: Chain, definitions: Path) -> None:
    define(definitions, series="rolling", vintages=["2024-05", "2024-06"])
    chain.origin.put(f"{HOST}/places_2024-05.geojson", geojson(PLACES[:3]))
    chain.origin.put(f"{HOST}/places_2024-06.geojson", geojson())
    chain.run(vintage="2024-06")
    assert changes_file(chain, chain.newest("2024-06")) is None  # no earlier vintage stands
    chain.run(vintage="2024-05")
    assert changes_file(chain, chain.newest("2024-05")) is None  # never backward from a later vintage
    define(definitions, series="rolling", vintages=["2024-05", "2024-06", "2024-07"])
    chain.origin.put(f"{HOST}/places_2024-07.geojson", geojson(PLACES[1:]))
    chain.run(vintage="2024-07")
    july = chain.newest("2024-07")
    assert july.summary.report["changes"]["since"] == chain.newest("2024-06").name
    assert rows(changes_file(chain, july)) == [("removed", [], PLACES[0][0])]


def test_editions_have_no_changes_between_vintages(chain: Chain, definitions: Path) -> None:
    define(definitions, vintages=["2016", "2021"])
    chain.origin.put(f"{HOST}/places_2016.geojson", geojson(PLACES[:2]))
    chain.run(vintage="2016")
    chain.run()
    assert changes_file(chain, chain.newest()) is None


def withdraw(chain: Chain, release: PublishedRelease) -> None:
    assert chain.opened.ledger.withdrawals.withdraw(release, who="a manager", reason="it names a person")


def test_values_of_a_withdrawn_release_are_not_published_again(chain: Chain) -> None:
    chain.run()
    first = chain.newest()
    secret = [(PLACES[0][0], "A person's name", *PLACES[0][2:]), *PLACES[1:]]
    chain.origin.put(PLACES_URL, geojson(secret), DAY + timedelta(days=1))
    chain.run()
    withdraw(chain, chain.newest())
    correct(chain)
    chain.run()
    third = chain.newest()
    assert third.summary.report["changes"]["since"] == first.name
    assert rows(changes_file(chain, third)) == [("modified", ["population"], 3)]


def test_a_plan_is_made_again_when_its_base_is_withdrawn(chain: Chain) -> None:
    chain.run()
    correct(chain)
    planned = chain.run_up_to("checksums").release
    assert planned.summary.report["changes"]["since"] == chain.newest().name
    withdraw(chain, chain.newest())
    again = chain.run_up_to("checksums").release
    assert again.name == planned.name
    assert changes_file(chain, again) is None
    assert "changes" not in again.summary.report


def test_a_plan_with_the_same_base_stays(chain: Chain) -> None:
    chain.run()
    correct(chain)
    planned = chain.run_up_to("checksums").release
    assert chain.run_up_to("checksums").release == planned


@pytest.mark.parametrize(("room", "carried"), [(0, False), (1, True)])
def test_no_file_where_the_record_would_have_too_many(
    room: int, carried: bool, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain.run()
    # A record has the artifacts, one of which is the list of the others, and no file of changes yet.
    monkeypatch.setattr(port, "MAX_FILES", len(chain.newest().artifacts) + room)
    correct(chain)
    chain.run()
    second = chain.newest()
    assert second.summary.report["changes"]["kind"] == {"modified": 1}
    assert second.summary.report["changes"]["carried"] is carried
    assert (changes_file(chain, second) is not None) is carried
    assert len(second.artifacts) == port.MAX_FILES


def test_no_file_where_the_dataset_declines_it(chain: Chain, definitions: Path) -> None:
    define(definitions, outputs={"changes": False})
    chain.run()
    correct(chain)
    chain.run()
    assert str(chain.newest().version) != "0.1.0-beta"
    assert changes_file(chain, chain.newest()) is None


def test_changes_larger_than_the_data_are_counted_only(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chained, "_ALWAYS_CARRIED", 0)
    chain.run()
    correct(chain)
    chain.run()
    assert changes_file(chain, chain.newest()) is None
    assert chain.newest().summary.report["changes"]["kind"] == {"modified": 1}
    assert chain.newest().summary.report["changes"]["carried"] is False


def test_changes_that_do_not_lead_to_the_data_are_refused(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.run()
    first = chain.newest()
    correct(chain)
    found = changes.find

    def wrong(earlier: Any, later: Any, into: Path, **others: Any) -> Any:
        return found(later, later, into, **others)

    monkeypatch.setattr(changes, "find", wrong)
    with pytest.raises(IntegrityError, match=f"from {first.name} to .* do not lead to the new data") as raised:
        chain.run_up_to("checksums")
    assert "outputs: {changes: false}" in raised.value.remedy
    assert chain.opened.ledger.releases.planned("places", first.vintage) is None
    monkeypatch.undo()
    chain.run()
    assert rows(changes_file(chain, chain.newest())) == [("modified", ["population"], 3)]


def test_a_base_that_no_store_has_is_named_and_can_be_repaired(chain: Chain) -> None:
    chain.run()
    first = chain.newest()
    (data,) = first.data_files
    (chain.home / "store" / "releases" / "places" / "2021" / f"v{first.version}" / data.name).unlink()
    correct(chain)
    with pytest.raises(IntegrityError) as raised:
        chain.run_up_to("checksums")
    assert data.name in raised.value.cause
    places = frozenset({"places"})
    audit(chain.opened, FixityPolicy(), full=True, datasets=places)
    assert [done.outcome for done in repair(chain.opened, datasets=places)] == [Outcome.RESTORED]
    chain.run()
    assert rows(changes_file(chain, chain.newest())) == [("modified", ["population"], 3)]


def test_the_readme_of_data_in_parts_opens_the_data_without_the_changes(chain: Chain, definitions: Path) -> None:
    define(definitions, outputs={"partition": {"by": "id", "over": 0}})
    chain.run()
    correct(chain)
    chain.run()
    second = chain.newest()
    path = changes_file(chain, second)
    assert path is not None
    assert rows(path) == [("modified", ["population"], 3)]
    readme = (path.parent / "README.md").read_text("utf-8")
    (pattern,) = set(re.findall(r"FROM '([^']+)' LIMIT 10", readme))
    assert sorted(each.name for each in path.parent.glob(pattern)) == [each.name for each in second.data_files]
    assert len(second.data_files) == 4
    catalogued = chain.home / "store" / "catalogue" / "places" / "README.md"
    assert pattern in catalogued.read_text("utf-8")
