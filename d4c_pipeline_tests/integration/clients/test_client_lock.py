"""The client's lock file: what it writes, and that later opens give exactly this or say why not; content addresses."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import d4c
from d4c_pipeline_tests.integration.clients.conftest import REASON
from d4c_pipeline_tests.integration.clients.test_client import Start, changed_catalogue, published_file, sha256

pytestmark = pytest.mark.filterwarnings("error::d4c.D4CWarning")
FIRST, SECOND = "0.1.0-beta", "0.1.1-beta"


def edited(table: Any, version: str, **values: Any) -> Any:
    """The catalogue with other values in the rows of places 2021 of a version."""
    keys = zip(*(table[name].to_pylist() for name in ("dataset", "vintage", "version")), strict=True)
    hit = [key == ("places", "2021", version) for key in keys]
    for name, value in values.items():
        column = [value if here else old for here, old in zip(hit, table[name].to_pylist(), strict=True)]
        table = table.set_column(
            table.schema.get_field_index(name),
            table.schema.field(name),
            pa.array(column, table.schema.field(name).type),
        )
    return table


def without(table: Any, version: str) -> Any:
    keys = zip(table["dataset"].to_pylist(), table["vintage"].to_pylist(), table["version"].to_pylist(), strict=True)
    return table.filter([key != ("places", "2021", version) for key in keys])


def earlier(table: Any) -> Any:
    """The catalogue before 0.1.1-beta and before the withdrawal of 0.1.0-beta."""
    return edited(without(table, SECOND), FIRST, withdrawn_at=None, withdrawn_reason=None, is_latest=True)


@pytest.fixture
def before(store: Path, tmp_path: Path) -> Path:
    """A mirror of the time before 0.1.1-beta; it has the data files of now."""
    folder = changed_catalogue(tmp_path / "before", store, earlier)
    (folder / "releases").symlink_to(store / "releases")
    return folder


def test_a_lock_states_what_was_resolved_and_later_opens_give_it(
    good: str, store: Path, before: Path, tmp_path: Path
) -> None:
    lock = tmp_path / "d4c.lock"
    release = d4c.open("places", "0.*", 2021, mirrors=good, lock=lock)
    (entry,) = json.loads(lock.read_text("utf-8"))["releases"]
    data = published_file(store)
    assert entry["asked"] == {"dataset": "places", "version": "0.*", "vintage": "2021"}
    assert (entry["version"], entry["doi"], entry["came_from"]) == (SECOND, release.doi, [good])
    assert entry["files"] == [{"name": data.name, "size": data.stat().st_size, "sha256": sha256(data)}]
    written = lock.read_bytes()
    assert d4c.open("places", "0.*", "2021", mirrors=good, lock=lock) == release
    assert lock.read_bytes() == written
    # A lock of an earlier time keeps its version where the pattern would give another one by now.
    old = tmp_path / "old.lock"
    assert d4c.open("places", "0.*", 2021, mirrors=before, lock=old).version == FIRST
    assert json.loads(old.read_text("utf-8"))["releases"][0]["came_from"] == []  # a folder is of this machine only
    with pytest.raises(d4c.WithdrawnError, match=rf"old.lock locks places 2021 v0.1.0-beta.*{REASON}.*update_lock"):
        d4c.open("places", "0.*", 2021, mirrors=good, lock=old)
    with pytest.warns(d4c.D4CWarning, match="was withdrawn"):
        locked = d4c.open("places", "0.*", 2021, mirrors=good, lock=old, allow_withdrawn=True)
    assert (locked.version, sha256(locked.path())) == (FIRST, sha256(published_file(store, version=FIRST)))


def test_update_moves_to_what_is_there_now_and_names_what_it_keeps(good: str, before: Path, tmp_path: Path) -> None:
    lock = tmp_path / "d4c.lock"
    for version in ("0.*", FIRST):
        d4c.open("places", version, 2021, mirrors=before, lock=lock)
    with pytest.warns(d4c.D4CWarning, match=rf"keeps places version=0.1.0-beta vintage=2021: .*{REASON}"):
        pattern, exact = sorted(d4c.update_lock(lock, mirrors=good), key=lambda each: each.kept_because is not None)
    assert (pattern.before, pattern.now) == ("2021 v0.1.0-beta", "2021 v0.1.1-beta")
    assert (exact.before, exact.now) == ("2021 v0.1.0-beta", "2021 v0.1.0-beta")
    assert d4c.open("places", "0.*", 2021, mirrors=good, lock=lock).version == SECOND
    with pytest.raises(d4c.UnknownNameError, match="locks nothing of rates"):
        d4c.update_lock(lock, "rates", mirrors=good)


def test_a_locked_release_that_is_gone_or_has_other_files_is_refused(good: str, before: Path, tmp_path: Path) -> None:
    lock = tmp_path / "d4c.lock"
    d4c.open("places", "latest", "2021", mirrors=good, lock=lock)
    with pytest.raises(
        d4c.UnknownNameError, match=r"locks places 2021 v0.1.1-beta, which no mirror that answered lists"
    ):
        d4c.open("places", "latest", "2021", mirrors=before, lock=lock)
    document = json.loads(lock.read_text("utf-8"))
    document["releases"][0]["files"][0]["sha256"] = "0" * 64
    lock.write_text(json.dumps(document), "utf-8")
    with pytest.raises(
        d4c.IntegrityError, match=r"locks other files of places 2021 v0.1.1-beta: .*sha256 0{64} is locked"
    ):
        d4c.open("places", "latest", "2021", mirrors=good, lock=lock)
    lock.write_text(json.dumps(document | {"form": 2}), "utf-8")
    with pytest.raises(d4c.FormError, match="has form 2, this client reads 1"):
        d4c.open("places", "latest", "2021", mirrors=good, lock=lock)
    lock.write_text("<<<<<<< ours", "utf-8")
    with pytest.raises(d4c.FormError, match="is no lock file"):
        d4c.open("places", "latest", "2021", mirrors=good, lock=lock)


def test_processes_that_add_to_one_lock_file_lose_no_entry(good: str, tmp_path: Path) -> None:
    script = "import sys, d4c\nd4c.open(sys.argv[1], vintage='latest', mirrors=sys.argv[2], lock=sys.argv[3])"
    names = ("places", "parted", "rates")
    lock = tmp_path / "d4c.lock"
    running = [subprocess.Popen([sys.executable, "-c", script, name, good, str(lock)]) for name in names]
    assert [each.wait(60) for each in running] == [0, 0, 0]
    assert {each["dataset"] for each in json.loads(lock.read_text("utf-8"))["releases"]} == set(names)


@pytest.mark.parametrize(("seconds", "stands"), [(3600, True), (60, False), (-3600, False)])
def test_a_mirror_that_lags_hides_no_reinstated_release(
    good: str, store: Path, tmp_path: Path, seconds: int, stands: bool
) -> None:
    """`good` still says "withdrawn"; the other mirror does not, and its last event is so much after the withdrawal."""
    (withdrawn,) = (each for each in d4c.versions("places", mirrors=good) if each.withdrawn_at is not None)
    assert withdrawn.withdrawn_at is not None
    moment = withdrawn.withdrawn_at + timedelta(seconds=seconds)

    def reinstated(table: Any) -> Any:
        table = edited(table, FIRST, withdrawn_at=None, withdrawn_reason=None)
        place = table.schema.get_field_index("published")
        column = [min(each, moment) for each in table["published"].to_pylist()]
        column[0] = moment  # an event of any dataset
        return table.set_column(place, table.schema.field(place), pa.array(column, table.schema.field(place).type))

    assert moment < datetime.now(UTC) + timedelta(days=1)
    newer = changed_catalogue(tmp_path / "newer", store, reinstated)
    for mirrors in ([good, newer], [newer, good], [good, newer, store]):
        states = {each.version: each.withdrawn_reason for each in d4c.versions("places", mirrors=mirrors)}
        assert states == {FIRST: None if stands else REASON, SECOND: None}
        if stands:
            assert d4c.open("places", FIRST, "2021", mirrors=mirrors).withdrawn_at is None


def test_a_content_address_gives_the_file_from_any_copy(good: str, mirror: Start, store: Path, own_cache: Path) -> None:
    release = d4c.open("parted", mirrors=good)
    uri = next(uri for name, uri in release.hash_uris().items() if name.endswith("id-3.parquet"))
    liar, _ = mirror("lie")
    with pytest.warns(d4c.D4CWarning, match="served other bytes than published and was refused"):
        path = d4c.find(uri, mirrors=[liar, good])
    assert (sha256(path), path.is_relative_to(own_cache)) == (uri.rpartition("/")[2], True)
    assert d4c.find(uri) == path  # the cache needs no mirror
    manifest = published_file(store).with_name("manifest.json")
    assert d4c.find(sha256(manifest).upper(), mirrors=good).read_bytes() == manifest.read_bytes()
    with pytest.warns(d4c.D4CWarning, match=rf"was withdrawn: {REASON}"):
        d4c.find(f"hash://sha256/{sha256(published_file(store, version=FIRST))}", mirrors=good)
    with pytest.raises(d4c.UnknownNameError, match="No catalogue states a file with the sha256 0000"):
        d4c.find("0" * 64, mirrors=good)
    with pytest.raises(d4c.UnknownNameError, match="'hash://md5/abc' is no content address"):
        d4c.find("hash://md5/abc", mirrors=good)
