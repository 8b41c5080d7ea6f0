"""The catalogue grows by what changed, and is byte for byte the catalogue that a complete rebuild writes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import update

from d4c_pipeline.catalogue import row_groups, static_stac
from d4c_pipeline.catalogue.record_parts import files_of, parts_of
from d4c_pipeline.chain import catalogue, site_pages
from d4c_pipeline.chain.catalogue_copies import CatalogueCopies, lost_files
from d4c_pipeline.chain.catalogue_documents import Documents
from d4c_pipeline.files.hashing import Digests
from d4c_pipeline.ledger import lease_keys, schema
from d4c_pipeline.metadata.published_json import loaded
from d4c_pipeline.model.addresses import RECORD_PARTS, RECORDS_MANIFEST, RECORDS_PARQUET
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import ROLLING, engine_of, fill, publish
from d4c_pipeline_tests.support.inspection import tree


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A deployment with 90 published releases, and row groups of 20 rows on average."""
    monkeypatch.setattr(row_groups, "GROUP_ROWS", 20)
    with Deployment.open(Settings(home=tmp_path / "home"), archive=False) as opened:
        fill(opened.ledger, 90, rolling=10)
        yield opened


def files(deployment: Deployment) -> dict[str, str]:
    found = tree(deployment.settings.home / "store")
    return {path: content for path, content in found.items() if not path.startswith(("snapshots/", "torrents/"))}


@pytest.fixture
def replaced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were put into stores."""
    addresses: list[str] = []
    put, put_many, share = FolderStore.replace, FolderStore.replace_many, FolderStore.share

    def counted(store: FolderStore, source: Path | bytes, address: str, **options: Any) -> Any:
        addresses.append(address)
        return put(store, source, address, **options)

    def counted_many(store: FolderStore, contents: Mapping[str, bytes], known: Any) -> Any:
        addresses.extend(contents)
        return put_many(store, contents, known)

    def shared(store: FolderStore, source: str | Path, address: str, digests: Digests) -> Any:
        addresses.append(address)
        return share(store, source, address, digests)

    monkeypatch.setattr(FolderStore, "share", shared)
    monkeypatch.setattr(FolderStore, "replace", counted)
    monkeypatch.setattr(FolderStore, "replace_many", counted_many)
    return addresses


def read_records(deployment: Deployment) -> str:
    """SQL for the rows of the records in the store."""
    return f"read_parquet({[str(path) for path in files_of(deployment.settings.home / 'store')]})"


def rebuilt(deployment: Deployment) -> dict[str, str]:
    deployment.ledger.catalogue.forget_form()
    catalogue.rebuild(deployment)
    return files(deployment)


def test_one_release_more_touches_little_and_ends_in_the_bytes_of_a_rebuild(
    deployment: Deployment, replaced: list[str]
) -> None:
    first = catalogue.rebuild(deployment)
    assert (first.releases, first.datasets, first.left_out) == (90, 5, ())
    replaced.clear()
    publish(deployment.ledger, 91, "set_000001", "2021", "1.4.0")
    assert catalogue.rebuild(deployment).releases == 91
    feeds = [f"releases.{language}.{suffix}" for language in ("en", "fr") for suffix in ("atom", "json")]
    records = {
        *("CITATION.cff", "citation.bib", "citation.csl.json", "citation.ris", "croissant.json", "datacite.json"),
        *("datacite.xml", "linkset.json", "ro-crate-metadata.json", "schema.fr.jsonld", "schema.jsonld"),
    }
    put = {address for address in replaced if address.startswith("catalogue/")}
    assert len([address for address in put if address.startswith(RECORD_PARTS)]) == 1
    assert {address for address in put if not address.startswith(RECORD_PARTS)} == {
        "catalogue/set_000001/2021/1.3.0.json",
        "catalogue/set_000001/2021/1.4.0.json",
        *(f"catalogue/set_000001/2021/1.4.0/{name}" for name in records),
        "catalogue/set_000001/2021/latest.json",
        "catalogue/set_000001/README.md",
        "catalogue/set_000001/collection.json",
        "catalogue/set_000001/items.parquet",
        *(f"catalogue/set_000001/{name}" for name in feeds),
        "catalogue/set_000001/versions.json",
        *(f"catalogue/{name}" for name in feeds),
        "catalogue/dcat-us.json",
        "catalogue/dcat.jsonld",
        "catalogue/records.json",
        "catalogue/stac.parquet",
        "catalogue/torrents.atom",
        "catalogue/torrents.rss",
    }
    grown = files(deployment)
    assert rebuilt(deployment) == grown


def test_a_day_more_of_a_rolling_series_and_a_new_dataset_do_the_same(
    deployment: Deployment, replaced: list[str]
) -> None:
    catalogue.rebuild(deployment)
    replaced.clear()
    publish(deployment.ledger, 91, ROLLING, "2020-05-05", "1.0.0")
    publish(deployment.ledger, 92, "another", "2020", "1.0.0")
    publish(deployment.ledger, 93, "zebra", "2020", "1.0.0")
    catalogue.rebuild(deployment)
    own = [address for address in replaced if address.startswith(f"catalogue/{ROLLING}/")]
    assert [address for address in own if "/1990-01-10/" in address] == [f"catalogue/{ROLLING}/1990-01-10/1.0.0.json"]
    assert len(own) == 22
    catalogue.rebuild(deployment)  # removes the part that the first release of a dataset left
    grown = files(deployment)
    rows = duckdb.sql(
        f"SELECT vintage, is_latest FROM '{deployment.settings.home}/store/catalogue/stac.parquet'"
        f" WHERE dataset = '{ROLLING}' ORDER BY vintage DESC LIMIT 2"
    ).fetchall()
    assert rows == [("2020-05-05", True), ("1990-01-10", False)]
    latest = deployment.settings.home / "store" / "catalogue" / ROLLING / "latest.json"
    assert json.loads(latest.read_bytes())["properties"]["vintage"] == "2020-05-05"
    assert rebuilt(deployment) == grown


def test_nothing_is_put_when_nothing_changed(deployment: Deployment, replaced: list[str]) -> None:
    catalogue.rebuild(deployment)
    before = files(deployment)
    replaced.clear()
    catalogue.rebuild(deployment)
    assert [address for address in replaced if address.startswith("catalogue/")] == []
    (deployment.settings.home / "store" / "catalogue" / "stac.parquet").unlink()
    catalogue.rebuild(deployment)
    assert files(deployment) == before


def test_the_list_of_datasets_is_made_again_only_when_it_changed_or_a_store_lacks_it(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []

    def counted(titles: Mapping[str, str], *arguments: Any) -> dict[str, Any]:
        made.append(len(titles))
        return static_stac.catalog(titles, *arguments)

    def killed(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed before the roots are put")

    monkeypatch.setattr(site_pages, "catalog", counted)
    catalogue.rebuild(deployment)
    publish(deployment.ledger, 91, "set_000001", "2021", "1.4.0")
    catalogue.rebuild(deployment)
    assert made == [5]
    publish(deployment.ledger, 92, "another", "2020", "1.0.0")
    with monkeypatch.context() as patched:
        patched.setattr(CatalogueCopies, "put", killed)
        with pytest.raises(RuntimeError):
            catalogue.rebuild(deployment)
    catalogue.rebuild(deployment)
    assert made == [5, 6, 6]
    grown = files(deployment)
    deployment.ledger.catalogue.forget_addresses("primary", ["catalogue/catalog.json"])
    publish(deployment.ledger, 93, "set_000001", "2021", "1.5.0")
    catalogue.rebuild(deployment)
    assert made == [5, 6, 6, 6]
    assert files(deployment)["catalogue/catalog.json"] == grown["catalogue/catalog.json"]
    assert rebuilt(deployment)["catalogue/catalog.json"] == grown["catalogue/catalog.json"]


def test_row_groups_end_between_datasets(deployment: Deployment) -> None:
    catalogue.rebuild(deployment)
    file = pq.ParquetFile(deployment.settings.home / "store" / "catalogue" / "stac.parquet")
    assert file.num_row_groups > 1
    groups = [set(file.read_row_group(n).column("dataset").to_pylist()) for n in range(file.num_row_groups)]
    assert sum(map(len, groups)) == 5


def test_publications_that_end_together_share_a_rebuild(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[int] = []
    run = catalogue._Rebuild.run

    def counted(rebuild: Any) -> Any:
        runs.append(1)
        return run(rebuild)

    monkeypatch.setattr(catalogue._Rebuild, "run", counted)
    results: list[catalogue.Catalogued] = []
    with deployment.ledger.leases.hold(lease_keys.CATALOGUE):
        callers = [
            threading.Thread(target=lambda: results.append(catalogue.rebuild(deployment)), daemon=True)
            for _ in range(3)
        ]
        for caller in callers:
            caller.start()
        while deployment.ledger.catalogue.requested() < 3:
            pass
    for caller in callers:
        caller.join(60)
    assert len(results) == 3
    assert len(runs) == 1


def test_one_file_has_the_names_of_snapshot_and_catalogue_and_is_never_written_into(deployment: Deployment) -> None:
    catalogue.rebuild(deployment)
    home = deployment.settings.home
    own, served = home / "staging" / "catalogue" / "stac.parquet", home / "store" / "catalogue" / "stac.parquet"
    (first,) = (home / "store" / "snapshots").glob("*.parquet")
    assert own.stat().st_ino == served.stat().st_ino == first.stat().st_ino
    assert served.stat().st_mode & 0o777 == 0o444
    inodes = {folder: [path.stat().st_ino for path in files_of(home / folder)] for folder in ("staging", "store")}
    assert inodes["staging"] == inodes["store"]
    publish(deployment.ledger, 91, "set_000001", "2021", "1.4.0")
    catalogue.rebuild(deployment)
    # The earlier snapshot keeps the bytes that its name states; the new file is another one.
    snapshots = [*(home / "store" / "snapshots").glob("*.parquet")]
    assert len(snapshots) == 2
    for path in snapshots:
        assert hashlib.sha256(path.read_bytes()).hexdigest()[:12] in path.name
    assert served.stat().st_ino != first.stat().st_ino
    assert own.stat().st_ino == served.stat().st_ino


def test_a_disk_without_links_gets_copies_with_the_same_bytes(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links", str(path), None, str(target))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    catalogue.rebuild(deployment)
    home = deployment.settings.home
    own, served = home / "staging" / "catalogue" / "stac.parquet", home / "store" / "catalogue" / "stac.parquet"
    (snapshot,) = (home / "store" / "snapshots").glob("*.parquet")
    assert len({path.stat().st_ino for path in (own, served, snapshot)}) == 3
    assert own.read_bytes() == served.read_bytes() == snapshot.read_bytes()


@pytest.mark.parametrize("where", [1_000, -1_000], ids=["a row group", "the footer"])
def test_a_bit_that_rotted_is_not_copied_into_the_next_catalogue(deployment: Deployment, where: int) -> None:
    catalogue.rebuild(deployment)
    path = deployment.settings.home / "staging" / "catalogue" / "stac.parquet"
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[where] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)  # the same file, as on a disk that decays
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    publish(deployment.ledger, 91, "zebra", "2021", "1.0.0")  # in the last row group: the first is copied
    if where > 0:
        with pytest.raises(IntegrityError, match=r"stac\.parquet on this machine has other bytes than were written"):
            catalogue.rebuild(deployment)
    assert catalogue.rebuild(deployment).releases == 91
    healed = files(deployment)
    assert rebuilt(deployment) == healed
    query = f"SELECT count(*), count(DISTINCT id) FROM '{deployment.settings.home}/store/catalogue/stac.parquet'"
    assert duckdb.sql(query).fetchall() == [(91, 91)]


def test_records_state_when_they_changed_and_neither_a_rebuild_nor_other_versions_change_that(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = datetime(2026, 12, 1, 8, tzinfo=UTC)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # noqa: ARG003 - the signature of the base class
            return clock

    monkeypatch.setattr(catalogue, "datetime", Clock)
    catalogue.rebuild(deployment)
    publish(deployment.ledger, 91, "set_000001", "2021", "1.4.0")
    clock += timedelta(minutes=1)
    catalogue.rebuild(deployment)
    parts = read_records(deployment)
    query = f"SELECT version, epoch(modified) - {datetime(2026, 12, 1, 8, tzinfo=UTC).timestamp()}, is_latest"
    changed = duckdb.sql(f"{query} FROM {parts} WHERE dataset = 'set_000001' AND vintage = '2021'").fetchall()
    assert changed == [
        ("1.0.0", 0, False),
        ("1.1.0", 0, False),
        ("1.2.0", 0, False),
        ("1.3.0", 60, False),  # superseded
        ("1.4.0", 60, True),
    ]
    assert duckdb.sql(f"SELECT count(*) FROM {parts} WHERE epoch(modified) % 3600 = 60").fetchall() == [(2,)]
    grown = files(deployment)
    clock += timedelta(days=1)
    assert rebuilt(deployment) == grown
    published = [loaded(facts) for (facts,) in duckdb.sql(f"SELECT facts FROM {read_records(deployment)}").fetchall()]
    assert len(published) == 91
    assert {each.line.superseded_by.name for each in published if each.line.superseded_by} <= {
        each.name for each in published
    }


def test_a_release_replaces_one_part_of_the_records_and_leaves_what_others_put_there(deployment: Deployment) -> None:
    catalogue.rebuild(deployment)
    store = deployment.settings.home / "store"
    foreign = store / RECORD_PARTS / "0123456789abcdef.parquet"
    foreign.write_bytes(b"an operator's own file")
    before = {path: path.stat().st_ino for path in files_of(store)}
    assert len(before) > 1
    publish(deployment.ledger, 91, "set_000001", "2021", "1.4.0")
    catalogue.rebuild(deployment)
    after = {path: path.stat().st_ino for path in files_of(store)}
    (gone,) = before.keys() - after.keys()
    assert not gone.exists()
    assert len(after.keys() - before.keys()) == 1
    assert {path: inode for path, inode in after.items() if path in before} == {
        path: inode for path, inode in before.items() if path != gone
    }
    assert set((store / RECORD_PARTS).iterdir()) == {*after, foreign}
    own = deployment.settings.home / "staging"
    catalogue.rebuild(deployment)
    assert set((own / RECORD_PARTS).iterdir()) == set(files_of(own))


@pytest.mark.parametrize("moment", ["a part", "the manifest", "the STAC file", "the old part"])
def test_a_rebuild_killed_between_two_files_leaves_a_whole_manifest_and_no_part_for_good(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise RuntimeError("killed")

    catalogue.rebuild(deployment)
    store = deployment.settings.home / "store"
    before = files_of(store)
    publish(deployment.ledger, 91, "set_000001", "2021", "1.4.0")
    share, fatal = FolderStore.share, {"the manifest": RECORDS_MANIFEST, "the STAC file": "catalogue/stac.parquet"}

    def shared(store: FolderStore, source: str | Path, address: str, digests: Digests) -> Any:
        if address == fatal.get(moment):
            killed()
        found = share(store, source, address, digests)
        return killed() if moment == "a part" and address.startswith(RECORD_PARTS) else found

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "share", shared)
        if moment == "the old part":
            patched.setattr(CatalogueCopies, "_remove", killed)
        with pytest.raises(RuntimeError, match="killed"):
            catalogue.rebuild(deployment)
    listed = files_of(store)
    assert (listed == before) == (moment in ("a part", "the manifest"))
    assert [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in listed] == [path.stem for path in listed]
    # The part of the killed rebuild is none of the next one, which finds another fact.
    publish(deployment.ledger, 92, "set_000001", "2021", "1.5.0")
    assert catalogue.rebuild(deployment).releases == 92
    assert set((store / RECORD_PARTS).iterdir()) == set(files_of(store))
    assert duckdb.sql(f"SELECT count(DISTINCT id) FROM {read_records(deployment)}").fetchall() == [(92,)]
    grown = files(deployment)
    assert rebuilt(deployment) == grown


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_part_whose_removal_was_killed_is_put_again_when_it_comes_back(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    catalogue.rebuild(deployment)
    before, state = files(deployment), deployment.ledger.catalogue
    publish(deployment.ledger, 91, "set_000001", "2021", "1.4.0")
    deleting, removed = FolderStore.delete, list[str]()

    def killed(store: FolderStore, *addresses: str) -> None:
        removed.extend(address for address in addresses if address.startswith(RECORD_PARTS))
        if moment == "after":
            deleting(store, *addresses)
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "delete", killed)
        with pytest.raises(RuntimeError, match="killed"):
            catalogue.rebuild(deployment)
    (part,) = removed
    assert state.documents("primary", [part]) == {part: ""}
    with engine_of(deployment.ledger).begin() as connection:
        connection.execute(update(schema.release).where(schema.release.c.id == 91).values(state="abandoned"))
    assert catalogue.rebuild(deployment).releases == 90
    listed = {path for path in before if path.startswith(RECORD_PARTS)}
    assert part in listed
    assert {path for path in files(deployment) if path.startswith(RECORD_PARTS)} == listed
    assert state.documents_under("primary", RECORD_PARTS) == listed
    assert {each.address for each in deployment.ledger.placements.below("primary", RECORD_PARTS)} == listed


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "of others"])
def test_the_one_file_of_records_of_an_earlier_form_goes_if_we_put_it(deployment: Deployment, ours: bool) -> None:
    catalogue.rebuild(deployment)
    before = files(deployment)
    stored = deployment.primary.replace(b"the facts of all records", RECORDS_PARQUET)
    facts = deployment.primary.facts(RECORDS_PARQUET)
    assert facts is not None
    placements = deployment.ledger.placements
    placements.intend("primary", RECORDS_PARQUET, sha256=stored.sha256, size=stored.size)
    placements.settle("primary", RECORDS_PARQUET, sha256=stored.sha256, etag=facts.etag if ours else "another")
    own = deployment.settings.home / "staging" / RECORDS_PARQUET
    own.write_bytes(b"the facts of all records")
    assert rebuilt(deployment).keys() - before.keys() == (set() if ours else {RECORDS_PARQUET})
    assert (placements.at("primary", RECORDS_PARQUET) == ()) == ours
    assert not own.exists()


def test_a_damaged_manifest_on_this_machine_makes_the_rebuild_complete(deployment: Deployment) -> None:
    catalogue.rebuild(deployment)
    before = files(deployment)
    manifest = deployment.settings.home / "staging" / RECORDS_MANIFEST
    manifest.unlink()
    manifest.write_bytes(b"{")
    catalogue.rebuild(deployment)
    assert files(deployment) == before
    assert sum(part.rows for part in parts_of(manifest.read_bytes())) == 90


def test_a_part_that_rotted_is_not_copied_into_the_next_catalogue(deployment: Deployment) -> None:
    catalogue.rebuild(deployment)
    path = files_of(deployment.settings.home / "staging")[-1]
    facts, content = path.stat(), bytearray(path.read_bytes())
    content[100] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    publish(deployment.ledger, 91, "zebra", "2021", "1.0.0")
    with pytest.raises(IntegrityError, match=rf"{path.name} on this machine has other bytes than were written"):
        catalogue.rebuild(deployment)
    assert catalogue.rebuild(deployment).releases == 91
    healed = files(deployment)
    assert rebuilt(deployment) == healed


@pytest.mark.parametrize("harm", ["removed", "cut"])
def test_a_rebuild_without_a_change_puts_a_part_that_a_store_lost(
    deployment: Deployment, replaced: list[str], harm: str
) -> None:
    catalogue.rebuild(deployment)
    before, store = files(deployment), deployment.settings.home / "store"
    path = files_of(store)[0]
    content = path.read_bytes()
    path.unlink()
    if harm == "cut":
        path.write_bytes(content[:-1])
    replaced.clear()
    catalogue.rebuild(deployment)
    assert [address for address in replaced if address.startswith("catalogue/")] == [str(path.relative_to(store))]
    assert files(deployment) == before


@pytest.mark.parametrize("killed", [False, True], ids=["at once", "after a kill"])
def test_documents_that_a_store_lost_are_named_and_put_again_and_no_others(
    deployment: Deployment, replaced: list[str], monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    catalogue.rebuild(deployment)
    before, store = files(deployment), deployment.settings.home / "store"
    assert lost_files(deployment, deployment.primary) == {}
    part = str(files_of(store)[0].relative_to(store))
    lost = {"catalogue/catalog.json", "catalogue/set_000001/2021/1.3.0.json", "catalogue/dcat.jsonld", part}
    for address in lost:
        (store / address).unlink()
    assert lost_files(deployment, deployment.primary) == dict.fromkeys(sorted(lost), "nothing is there")
    if killed:
        with monkeypatch.context() as patched:
            patched.setattr(Documents, "put", _kill)
            with pytest.raises(RuntimeError, match="killed"):
                catalogue.rebuild(deployment, missing=True)
    replaced.clear()
    catalogue.rebuild(deployment, missing=not killed)
    assert {address for address in replaced if address.startswith("catalogue/")} == lost
    assert files(deployment) == before


def _kill(*_: Any, **__: Any) -> None:
    raise RuntimeError("killed")


@pytest.mark.parametrize("harm", ["removed", "rotted"])
@pytest.mark.parametrize("where", ["staging", "store"])
def test_a_complete_rebuild_mends_a_part_that_no_release_touched(deployment: Deployment, where: str, harm: str) -> None:
    catalogue.rebuild(deployment)
    before = files(deployment)
    path = files_of(deployment.settings.home / where)[0]
    content = path.read_bytes()
    path.unlink()
    if harm == "rotted":
        path.write_bytes(bytes([*content[:100], content[100] ^ 1, *content[101:]]))
    catalogue.rebuild(deployment, complete=True)
    assert files(deployment) == before
    assert [each.read_bytes() for each in (path, files_of(deployment.settings.home / "staging")[0])] == [content] * 2


def test_first_releases_of_datasets_leave_a_few_superseded_snapshots_and_parts_to_the_next_rebuild(
    deployment: Deployment,
) -> None:
    catalogue.rebuild(deployment)
    store, kept, stale = deployment.settings.home / "store", list[int](), list[int]()
    for number in range(91, 107):
        publish(deployment.ledger, number, f"zebra_{number}", "2021", "1.0.0")
        catalogue.rebuild(deployment)
        kept.append(len(list((store / "snapshots").glob("*.parquet"))))
        stale.append(len({*(store / RECORD_PARTS).iterdir()} - {*files_of(store)}))
    assert kept == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 5, 6, 7, 8, 9]
    assert max(stale) <= 12
    publish(deployment.ledger, 107, "zebra_91", "2021", "1.1.0")
    catalogue.rebuild(deployment)
    assert len(list((store / "snapshots").glob("*.parquet"))) == len(deployment.ledger.torrents.snapshots()) == 5
    assert {*(store / RECORD_PARTS).iterdir()} == {*files_of(store)}
