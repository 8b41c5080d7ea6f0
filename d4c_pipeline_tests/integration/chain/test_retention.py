"""What mirrors keep of a dataset's releases: the newest, everything again, and what a kill in between leaves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from d4c_pipeline.chain import retention
from d4c_pipeline.chain.copies import stores_holding
from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.chain.retention import Kept
from d4c_pipeline.distribution.folder_store import FolderStore
from d4c_pipeline.model.errors import PermanentError, StorageError
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.stores import read_stores
from d4c_pipeline_tests.end_to_end.commands import D4C, Zygote
from d4c_pipeline_tests.end_to_end.conftest import free_port
from d4c_pipeline_tests.end_to_end.inspection import ask_ledger
from d4c_pipeline_tests.end_to_end.samples import DAY, HOST, PLACES, PLACES_URL, Origin, declared, define, geojson
from d4c_pipeline_tests.integration.chain.conftest import Chain

WEST, EAST = "http://127.0.0.1:9/west", "http://127.0.0.1:9/east"
STORES = f"""
mirrors:
  - {{name: west, kind: folder, path: west, url: "{WEST}"}}
  - {{name: east, kind: folder, path: east, url: "{EAST}"}}
"""
VERSIONS = ("0.1.0-beta", "0.1.1-beta", "0.1.2-beta")


@pytest.fixture(scope="module")
def thrice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Three releases of the sample dataset in a store with two mirrors, which its definition says nothing of."""
    folder = tmp_path_factory.mktemp("thrice")
    origin = Origin(folder / "origin")
    origin.host(HOST)
    home = folder / "home"
    for mirror in ("west", "east"):
        (home / mirror).mkdir(parents=True)
    (home / "stores.yaml").write_text(STORES, "utf-8")
    define(folder / "definitions")
    settings = Settings(
        home=home,
        definitions=(folder / "definitions",),
        origins=origin.origins,
        port=free_port(),
        stores=read_stores(home / "stores.yaml"),
    )
    with Deployment.open(settings) as opened:
        chain = Chain(settings, origin, opened)
        for number in range(len(VERSIONS)):
            first = (1, f"Québec {number}", *PLACES[0][2:])
            origin.put(PLACES_URL, geojson([first, *PLACES[1:]]), DAY + timedelta(days=number))
            chain.run()
    yield chain
    origin.close()


@pytest.fixture
def mirrored(thrice: Chain, tmp_path: Path) -> Iterator[Chain]:
    """A home of its own with those three releases, and a definition of its own."""
    home = tmp_path / "home"
    shutil.copytree(thrice.home, home)
    define(tmp_path / "definitions")
    settings = replace(
        thrice.settings,
        home=home,
        definitions=(tmp_path / "definitions",),
        stores=read_stores(home / "stores.yaml"),
    )
    with Deployment.open(settings) as opened:
        yield Chain(settings, thrice.origin, opened)


def declare(chain: Chain, **kept: Any) -> None:
    """Have the definition say what each mirror keeps."""
    define(chain.settings.definitions[0], publication={**declared()["publication"], "retention": kept})


def keep(chain: Chain, **how: Any) -> list[tuple[str, str, str]]:
    """What is done: version, mirror, deed."""
    done = retention.keep(chain.opened, [chain.dataset], **how)
    assert all(bool(one.reason) == (one.deed in ("held back", "missed")) for one in done)
    return [(one.release.rpartition("_v")[2], one.mirror, one.deed) for one in done]


def releases(chain: Chain) -> dict[str, Release]:
    return {str(release.version): release for release in chain.opened.ledger.releases.published("places")}


def on(home: Path, mirror: str) -> dict[str, int]:
    """The versions of which files lie in a store, with the numbers of files."""
    root = (home / mirror if mirror != "primary" else home / "store") / "releases" / "places" / "2021"
    found = {folder.name[1:]: len(list(folder.iterdir())) for folder in root.iterdir()}
    return {version: files for version, files in sorted(found.items()) if files}


def named(home: Path, version: str) -> set[str]:
    """The mirrors that the catalogue names for the files of a release."""
    item = json.loads((home / "store" / "catalogue" / "places" / "2021" / f"{version}.json").read_text("utf-8"))
    urls = {url for asset in item["assets"].values() for url in asset.get("d4c:mirror_hrefs", ())}
    assert all(f"/releases/places/2021/v{version}/" in url for url in urls)
    return {url.split("/")[3] for url in urls}


def test_a_mirror_keeps_the_newest_releases_and_nothing_names_the_others_there(mirrored: Chain) -> None:
    files = on(mirrored.home, "primary")
    assert on(mirrored.home, "west") == on(mirrored.home, "east") == files
    assert set(files) == set(VERSIONS)
    assert keep(mirrored) == []
    assert [named(mirrored.home, version) for version in VERSIONS] == [{"west", "east"}] * 3

    declare(mirrored, west=1, elsewhere=1)
    planned = retention.keep(mirrored.opened, [mirrored.dataset], dry_run=True)
    first = releases(mirrored)["0.1.0-beta"]
    assert planned[0] == Kept(
        first.name, "west", "pruned", len(first.artifacts), sum(artifact.size for artifact in first.artifacts)
    )
    assert on(mirrored.home, "west") == files
    gone = [("0.1.0-beta", "west", "pruned"), ("0.1.1-beta", "west", "pruned")]
    assert [(one.release.rpartition("_v")[2], one.mirror, one.deed) for one in planned] == gone
    assert keep(mirrored) == gone
    assert on(mirrored.home, "west") == {"0.1.2-beta": files["0.1.2-beta"]}
    assert on(mirrored.home, "primary") == on(mirrored.home, "east") == files
    assert [named(mirrored.home, version) for version in VERSIONS] == [{"east"}, {"east"}, {"west", "east"}]
    for version, release in releases(mirrored).items():
        holding = stores_holding(mirrored.opened, release)
        assert set(holding) == {artifact.name for artifact in release.artifacts}
        expected = ["primary", "west", "east"] if version == "0.1.2-beta" else ["primary", "east"]
        assert all([store.name for store in stores] == expected for stores in holding.values())

    # Nothing is left to do, and no step of the chain puts back what was pruned; the newest stays where readers begin.
    assert keep(mirrored) == []
    mirrored.run("copies", "torrent", "stac_item", "deposit", "latest", "catalogue")
    assert on(mirrored.home, "west") == {"0.1.2-beta": files["0.1.2-beta"]}
    kinds = [event.kind for event in mirrored.opened.ledger.events.of("places")]
    assert kinds.count("copies given up") == 2


def test_what_a_mirror_is_to_hold_again_is_pushed_again(mirrored: Chain) -> None:
    files = on(mirrored.home, "primary")
    declare(mirrored, west=1, east=2)
    assert len(keep(mirrored)) == 3
    declare(mirrored, west=2)
    assert (
        keep(mirrored, dry_run=True)
        == keep(mirrored)
        == [
            ("0.1.0-beta", "east", "pushed"),
            ("0.1.1-beta", "west", "pushed"),
        ]
    )
    assert on(mirrored.home, "east") == files
    assert set(on(mirrored.home, "west")) == {"0.1.1-beta", "0.1.2-beta"}
    assert named(mirrored.home, "0.1.0-beta") == {"east"}
    west = next(store for store in mirrored.opened.stores if store.name == "west")
    for copy in mirrored.opened.ledger.copies.of(releases(mirrored)["0.1.1-beta"]):
        assert west.verify(copy.address, copy.size, copy.sha256)
    assert mirrored.opened.ledger.pruning.of(releases(mirrored)["0.1.1-beta"]) == ()


def test_nothing_is_pruned_that_the_primary_or_the_archive_lacks(mirrored: Chain) -> None:
    declare(mirrored, west=1)
    first, second = releases(mirrored)["0.1.0-beta"], releases(mirrored)["0.1.1-beta"]
    file = mirrored.home / "store" / "releases" / "places" / "2021" / "v0.1.0-beta" / "profile.json"
    right = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(right[:-1] + b"?")
    deposit = mirrored.opened.ledger.deposits.of(second)
    assert deposit is not None
    less = {name: url for name, url in deposit.files.items() if not name.endswith(".parquet")}
    mirrored.opened.ledger.deposits.advance(second, deposit.state, files=less)
    done = retention.keep(mirrored.opened, [mirrored.dataset])
    assert [(one.release, one.deed, one.reason) for one in done] == [
        (first.name, "held back", "profile.json is not intact in the store primary"),
        (second.name, "held back", f"the archive has no {second.data_files[0].name}"),
    ]
    assert set(on(mirrored.home, "west")) == set(VERSIONS)
    assert named(mirrored.home, "0.1.0-beta") == {"west", "east"}
    file.write_bytes(right)
    mirrored.opened.ledger.deposits.advance(second, deposit.state, files=dict(deposit.files))
    assert [deed for _, _, deed in keep(mirrored)] == ["pruned", "pruned"]


def test_the_primary_store_is_never_pruned(mirrored: Chain) -> None:
    declare(mirrored, primary=1)
    with pytest.raises(PermanentError, match="the primary store keeps every release"):
        _ = mirrored.dataset
    declare(mirrored, main=1)
    main = FolderStore(mirrored.home / "store", "http://127.0.0.1:9", "main")
    renamed = replace(mirrored.opened, stores=(main, *mirrored.opened.stores[1:]))
    with pytest.raises(PermanentError, match=r"places would prune the primary store \(main\)"):
        retention.keep(renamed, [mirrored.dataset])


def test_a_mirror_that_is_down_is_pruned_later(mirrored: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(mirrored, west=1, east=1)
    calls: list[str] = []

    def refuse(store: FolderStore, address: str) -> None:
        if store.name == "west":
            calls.append(address)
            raise StorageError("Store west refuses access", "Check it")
        delete(store, address)

    delete = FolderStore.delete
    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "delete", refuse)
        done = retention.keep(mirrored.opened, [mirrored.dataset])
        assert [(one.mirror, one.deed, one.reason) for one in done] == [
            ("west", "missed", "Store west refuses access"),
            ("east", "pruned", ""),
        ] * 2
        assert len(calls) == 1
    # What is to go is named no more although it still lies there, and goes with the next run.
    assert named(mirrored.home, "0.1.0-beta") == named(mirrored.home, "0.1.1-beta") == set()
    assert set(on(mirrored.home, "west")) == set(VERSIONS)
    assert keep(mirrored) == [("0.1.0-beta", "west", "pruned"), ("0.1.1-beta", "west", "pruned")]
    assert set(on(mirrored.home, "west")) == {"0.1.2-beta"}


def test_the_command_prunes_and_says_what_it_did(zygote: Zygote, mirrored: Chain) -> None:
    declare(mirrored, west=1)
    environment = {"D4C_DEFS": str(mirrored.settings.definitions[0]), "D4C_STORES": str(mirrored.home / "stores.yaml")}
    d4c = D4C(zygote, mirrored.home, mirrored.settings.port, mirrored.origin, environment)
    would = d4c.ok("prune", "--dry-run")
    assert set(on(mirrored.home, "west")) == set(VERSIONS)
    assert d4c.ok("prune") == would
    assert [(row["mirror"], row["deed"], row["reason"]) for row in would] == [("west", "pruned", "")] * 2
    assert set(on(mirrored.home, "west")) == {"0.1.2-beta"}
    assert d4c.ok("prune") == []
    shutil.rmtree(mirrored.home / "east")
    declare(mirrored, east=1)
    done = d4c("prune")
    assert done.code == 1
    assert "on east (The folder " in done.stderr
    assert done.stderr.rstrip().endswith("and run 'd4c prune' again.")


@pytest.mark.timeout(600)
def test_retention_killed_anywhere_ends_right(zygote: Zygote, mirrored: Chain) -> None:
    declare(mirrored, west=1)
    keep(mirrored)
    declare(mirrored, east=2)
    mirrored.opened.ledger.close()
    shutil.copytree(mirrored.home, mirrored.home.with_name("whole"))
    code, acts = run(zygote, mirrored, mirrored.home.with_name("whole"), "none")
    assert code == 0, acts
    check(mirrored.home.with_name("whole"))
    assert int(acts) > 100
    for fatal in range(0, int(acts), 11):
        home = mirrored.home.with_name(f"killed{fatal}")
        shutil.copytree(mirrored.home, home)
        assert run(zygote, mirrored, home, str(fatal)) == (-9, ""), fatal
        held = ask_ledger(home, "SELECT address FROM copy WHERE store = 'east'")
        assert all((home / "east" / address).is_file() for (address,) in held), fatal
        code, said = run(zygote, mirrored, home, "none")
        assert code == 0, (fatal, said)
        check(home)
        shutil.rmtree(home)


def check(home: Path) -> None:
    """West holds everything again, east the newest two, and ledger and catalogue say so."""
    files = on(home, "primary")
    assert on(home, "west") == files
    assert on(home, "east") == {version: files[version] for version in VERSIONS[1:]}
    assert [named(home, version) for version in VERSIONS] == [{"west"}, {"west", "east"}, {"west", "east"}]
    assert ask_ledger(home, "SELECT count(*), count(deleted_at) FROM pruned_copy WHERE store = 'east'") == [
        (files["0.1.0-beta"],) * 2
    ]
    assert ask_ledger(home, "SELECT count(*) FROM pruned_copy WHERE store = 'west'") == [(0,)]
    for store in ("west", "east"):
        held = ask_ledger(home, f"SELECT count(*) FROM copy WHERE store = '{store}'")
        assert held == [(sum(on(home, store).values()),)]
    assert not [path for path in home.rglob(".*") if path.name != ".lock"]


def run(zygote: Zygote, chain: Chain, home: Path, fatal: str) -> tuple[int, str]:
    """Let retention run in a process of its own; returns its code and what it said."""
    environment = {"D4C_DEFS": str(chain.settings.definitions[0]), "D4C_STORES": str(home / "stores.yaml")}
    d4c = D4C(zygote, home, chain.settings.port, chain.origin, environment)
    done = d4c.start(fatal, function="d4c_pipeline_tests.integration.chain.steps:run_retention").wait()
    return done.code, done.stdout if done.code in (0, -9) else done.stderr
