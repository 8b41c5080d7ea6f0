"""Reconciliation on a home with releases of every shape: nothing differs, and each thing that is broken is found."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.catalogue.record_parts import files_of
from d4c_pipeline.chain import catalogue, portal
from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.ledger.leases import Lease, Leases
from d4c_pipeline.model.errors import BusyError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration.build import build_definitions
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.upkeep.extra_files import extra_files, set_aside
from d4c_pipeline.upkeep.reconciliation import Difference, Differing, reconcile
from d4c_pipeline.upkeep.reissue import follow_copies
from d4c_pipeline.upkeep.withdrawal import withdraw
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import ForeignBytesError
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions
from d4c_pipeline_tests.support.home_of_releases import publish_all
from d4c_pipeline_tests.support.inspection import tree
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import HOST, PLACES_URL, define, geojson

__all__ = ["chain", "definitions"]  # fixtures, found by their names here


@pytest.fixture(scope="module")
def agreeing(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with `RELEASES`, two of them withdrawn, whose places all agree. Copy it."""
    settings = publish_all(tmp_path_factory.mktemp("reconciled"), free_port())
    with Deployment.open(settings) as opened:
        declared = list(load_datasets(settings.definitions).values())
        assert [each.kind for each in reconcile(opened)] == [Difference.PAGES]
        portal.build(opened, declared)
        assert reconcile(opened) == ()
        # A superseded release, and the only one of a dataset, whose addresses under /processed/ serve nothing any more.
        superseded, *_ = (each for each in opened.ledger.releases.published("places") if str(each.vintage) == "2021")
        for release in (superseded, *opened.ledger.releases.published("rates")):
            assert withdraw(opened, release, declared, who="ana", reason="Wrong numbers").changed
        assert reconcile(opened) == ()
    return settings


@pytest.fixture
def settings(agreeing: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(agreeing.home, tmp_path / "home")
    return agreeing.model_copy(update={"home": tmp_path / "home"})


def found(settings: Settings) -> list[Differing]:
    with Deployment.open(settings) as opened:
        return list(reconcile(opened))


def mend(settings: Settings, do: Callable[[Deployment], object]) -> list[Differing]:
    with Deployment.open(settings) as opened:
        do(opened)
        return list(reconcile(opened))


def test_files_that_nobody_knows_are_named_and_set_aside(settings: Settings) -> None:
    store = settings.home / "store"
    data = next((store / "releases" / "places" / "2021").rglob("*.parquet"))
    extra = [
        "releases/places/2021/v9.0.0/places.parquet",
        "raw/places/2021/0123456789ab/other.zip",
        "processed/unknown.parquet",
        "torrents/unknown.torrent",
        "hidden/token/secret.parquet",
    ]
    for address in extra:
        (store / address).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data, store / address)
    (data.parent / ".places.part").write_bytes(b"unfinished")  # of a killed writer, swept by the next one
    difference, native = found(settings)
    assert (difference.kind, difference.command) == (Difference.EXTRA, "d4c reconcile --set-aside primary")
    assert "hidden/token/secret.parquet" in difference.detail
    assert "and 1 more" in difference.detail
    # A native file may be of a release that was adopted from the archive: it stays, and publishing records it.
    assert (native.kind, native.command) == (Difference.NATIVE_UNKNOWN, "d4c publish places --vintage 2021")
    with Deployment.open(settings) as opened:
        assert set(extra_files(opened, opened.primary)) == set(extra)
        # What a process works on may be about to be recorded.
        with opened.ledger.leases.hold(lease_keys.of_vintage("places", "2021")):
            assert set(extra_files(opened, opened.primary)) == set(extra[2:])
        aside = set_aside(opened, opened.primary)
        assert len(aside) == len(extra) - 1
        assert all((store / path).read_bytes() == data.read_bytes() for path in aside)
        assert list(reconcile(opened)) == [native]


def test_the_files_of_another_home_are_never_set_aside(settings: Settings, tmp_path: Path) -> None:
    rehearsal = tmp_path / "rehearsal"  # with an archive of its own, which has no record
    rehearsal.mkdir()
    (rehearsal / "store").symlink_to(settings.home / "store")
    before = tree(settings.home / "store")
    with Deployment.open(settings.model_copy(update={"home": rehearsal})) as opened:
        assert list(opened.archive.listed()) == []
        (difference,) = (each for each in reconcile(opened) if each.kind is Difference.EXTRA)
        assert difference.detail.endswith(
            "If another home publishes into this store, they may be its files: leave them"
        )
        with pytest.raises(ForeignBytesError, match="releases that this ledger does not know: ca_"):
            set_aside(opened, opened.primary)
    assert tree(settings.home / "store") == before


def test_a_snapshot_stays_while_the_catalogue_is_rebuilt(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    store = settings.home / "store"
    snapshot, torrent = "snapshots/catalogue-0123456789ab.parquet", "torrents/catalogue-0123456789ab.torrent"
    native, data = "raw/places/2021/0123456789ab/other.zip", "releases/places/2021/v9.0.0/places.parquet"
    for address in (snapshot, torrent, native, data):
        (store / address).parent.mkdir(parents=True, exist_ok=True)
        (store / address).write_bytes(b"new")
    with Deployment.open(settings) as opened:
        leases, vintage = opened.ledger.leases, lease_keys.of_vintage("places", "2021")
        with leases.hold(lease_keys.CATALOGUE):
            assert set(extra_files(opened, opened.primary)) == {native, data}
            with leases.hold(vintage):
                assert set_aside(opened, opened.primary) == ()
        assert set(extra_files(opened, opened.primary)) == {snapshot, torrent, native, data}

        # A rebuild that ends between the first listing and the lease has recorded its snapshot.
        hold, known = Leases.hold, opened.ledger.torrents.snapshots()[0]
        taken: list[str] = []

        def record_then_hold(
            self: Leases, key: str, *, wait: float = 60, ttl: float = 120
        ) -> AbstractContextManager[Lease]:
            taken.append(key)
            if taken.count(lease_keys.CATALOGUE) == 2:
                moved = dataclasses.replace(known.torrent, address=torrent)
                opened.ledger.torrents.record_snapshot(sha256="0" * 64, size=3, address=snapshot, torrent=moved)
            return hold(self, key, wait=wait, ttl=ttl)

        quarantine, busy = type(opened.primary).quarantine, list[str]()

        def quarantine_under_leases(self: object, address: str, tag: str) -> str | None:
            for key in (lease_keys.CATALOGUE, vintage):
                with pytest.raises(BusyError), hold(leases, key, wait=0):
                    pass
            busy.append(address)
            return quarantine(opened.primary, address, tag)

        monkeypatch.setattr(Leases, "hold", record_then_hold)
        monkeypatch.setattr(type(opened.primary), "quarantine", quarantine_under_leases)
        assert len(set_aside(opened, opened.primary)) == 1
        assert busy == [data]
        assert all((store / each).exists() for each in (snapshot, torrent, native))
        with hold(leases, lease_keys.CATALOGUE, wait=0), hold(leases, vintage, wait=0):
            pass  # both are free again


def test_a_declared_vintage_in_the_future_is_the_newest_of_a_rolling_series(chain: Chain, definitions: Path) -> None:
    define(definitions, series="rolling", vintages=["2021", "2999"])
    chain.origin.put(f"{HOST}/places_2999.geojson", geojson())
    chain.run()
    chain.run(vintage="2999")
    opened, publications = chain.opened, chain.opened.ledger.publications
    (early,), (late,) = (opened.ledger.releases.published("places", Vintage.parse(each)) for each in ("2021", "2999"))
    assert set(publications.latest().values()) == {late.id}
    assert [each for each in reconcile(opened) if each.kind is Difference.NOT_LATEST] == []
    publications.switch_latest(early, dict.fromkeys(publications.latest(), "0" * 64), ())
    (difference,) = (each for each in reconcile(opened) if each.kind is Difference.NOT_LATEST)
    assert difference.command == "d4c publish places --vintage 2999"
    # The same vintage, if a server stated it, comes from a wrong clock.
    source = chain.dataset.source.model_copy(update={"urls": (PLACES_URL,)})
    opened.ledger.declarations.record(chain.dataset.model_copy(update={"vintages": "discovered", "source": source}))
    assert [each for each in reconcile(opened) if each.kind is Difference.NOT_LATEST] == []


def test_torrents_that_are_gone_damaged_or_of_other_data_come_back(settings: Settings) -> None:
    torrents = settings.home / "store" / "torrents"
    first, second, third, *_ = sorted(torrents.glob("ca_*.torrent"))
    declared = list(load_datasets(settings.definitions).values())
    first.unlink()
    second.write_bytes(b"no torrent")
    shutil.copyfile(next(torrents.glob("*rates*")), third)
    extra, lost = found(settings)
    assert (extra.kind, extra.command) == (Difference.EXTRA, "d4c reconcile --set-aside primary")
    assert extra.detail.startswith(f"torrents/{third.name}:")
    assert (lost.kind, lost.command) == (Difference.TORRENT, "d4c torrents reissue")
    assert lost.detail == f"torrents/{first.name}: missing, torrents/{second.name}: no torrent"

    def both(opened: Deployment) -> None:
        assert len(set_aside(opened, opened.primary)) == 1
        follow_copies(opened, declared)

    assert mend(settings, both) == []


def test_facts_of_the_catalogue_are_compared(settings: Settings) -> None:
    file = settings.home / "store" / "catalogue" / "stac.parquet"
    table = pq.read_table(file)
    place = table.schema.get_field_index("doi")
    dois = [
        f"{doi}x" if dataset == "rates" else doi
        for doi, dataset in zip(table["doi"].to_pylist(), table["dataset"].to_pylist(), strict=True)
    ]
    pq.write_table(
        table.set_column(place, table.schema.field(place), pa.array(dois, table.schema.field(place).type)), file
    )
    (difference,) = found(settings)
    assert (difference.kind, difference.subject, difference.detail, difference.command) == (
        Difference.CATALOGUED_OTHERWISE,
        "rates",
        "2021 v0.1.0-beta",
        "d4c catalogue rebuild",
    )


@pytest.mark.parametrize("damage", ["truncated", "empty", "of an earlier form"])
def test_a_damaged_catalogue_is_built_again(settings: Settings, damage: str) -> None:
    file = settings.home / "store" / "catalogue" / "stac.parquet"
    if damage == "of an earlier form":
        pq.write_table(pq.read_table(file).drop_columns(["doi", "withdrawn_reason"]), file)
    else:
        file.write_bytes(file.read_bytes()[:2000] if damage == "truncated" else b"")
    differences = found(settings)
    assert {(each.kind, each.command) for each in differences} == {(Difference.NOT_CATALOGUED, "d4c catalogue rebuild")}
    assert [each.subject for each in differences] == ["parted", "places", "rates"]
    declared = list(load_datasets(settings.definitions).values())
    assert mend(settings, lambda opened: catalogue.rebuild(opened, declared, complete=True)) == []


def test_files_of_the_catalogue_that_a_store_lost_are_put_back(settings: Settings) -> None:
    store = settings.home / "store"
    declared = list(load_datasets(settings.definitions).values())
    # A withdrawal leaves `latest.json` of a dataset without another release; computing every document removes it.
    with Deployment.open(settings) as opened:
        opened.ledger.catalogue.forget_form()
        catalogue.rebuild(opened, declared)
    before = tree(store / "catalogue")
    document, part = store / "catalogue" / "rates" / "collection.json", files_of(store)[0]
    content = part.read_bytes()
    for path in (document, part):
        path.unlink()
    part.write_bytes(content[:-1])
    (difference,) = found(settings)
    assert difference == Differing(
        Difference.CATALOGUE_FILES,
        "store primary",
        "2, such as catalogue/rates/collection.json: nothing is there",
        "d4c catalogue rebuild --missing",
    )
    assert mend(settings, lambda opened: catalogue.rebuild(opened, declared, missing=True)) == []
    assert tree(store / "catalogue") == before


def test_pages_that_are_gone_are_named(settings: Settings) -> None:
    folder = settings.home / "portal"
    page = next(folder.glob("en/datasets/rates/**/index.html"))
    page.unlink()
    (difference,) = found(settings)
    assert difference.kind is Difference.PAGES
    assert str(page.relative_to(folder)) in difference.detail
    assert difference.command == f"rm {folder / '.state.sqlite'}, then d4c portal build"
    (folder / ".state.sqlite").unlink()
    declared = list(load_datasets(settings.definitions).values())
    assert mend(settings, lambda opened: portal.build(opened, declared)) == []
    shutil.rmtree(folder)
    assert [(each.kind, each.command) for each in found(settings)] == [(Difference.PAGES, "d4c portal build")]


def daily_check(settings: Settings) -> dg.AssetCheckEvaluation:
    run = (
        build_definitions()
        .resolve_job_def("check_health")
        .execute_in_process(resources={"deployment": DeploymentResource(home=str(settings.home), retries=False)})
    )
    (check,) = [each for each in run.get_asset_check_evaluations() if each.check_name == "places_agree"]
    return check


def findings(check: dg.AssetCheckEvaluation) -> list[str]:
    examples = check.metadata["examples"]
    assert isinstance(examples, dg.TableMetadataValue)
    return [str(record.data["finding"]) for record in examples.records]


def test_the_daily_check_shows_each_difference_with_its_command(settings: Settings) -> None:
    store = settings.home / "store"
    native = store / "raw" / "places" / "2021" / "0123456789ab" / "other.zip"
    native.parent.mkdir(parents=True)
    native.write_bytes(b"?")
    # Publishing does not record a file that the source no longer serves: the check could never pass again.
    check = daily_check(settings)
    assert check.passed
    (finding,) = findings(check)
    assert finding.startswith(
        "native files unknown to the ledger: store primary: raw/places/2021/0123456789ab/other.zip"
    )
    assert "those that the source still serves" in finding
    (store / "torrents" / "unknown.torrent").write_bytes(b"?")
    check = daily_check(settings)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    finding, _ = findings(check)
    assert "torrents/unknown.torrent" in finding
    assert finding.endswith("d4c reconcile --set-aside primary")


def test_each_torrent_is_read_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with Deployment.open(settings) as opened:
        read, asked = type(opened.primary).read_bytes, list[str]()

        def counted(self: object, address: str) -> bytes:
            asked.append(address)
            return read(opened.primary, address)

        monkeypatch.setattr(type(opened.primary), "read_bytes", counted)
        assert reconcile(opened) == ()
        torrents = [address for address in asked if address.startswith("torrents/")]
        files = [file for release in opened.ledger.releases.published() for file in release.data_files]
        assert len(torrents) == len(set(torrents)) == len(files)
