"""What mirrors keep of a dataset's releases: the newest, everything again, and what one that is down is left with."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

from d4c_pipeline.chain.copies import stores_holding
from d4c_pipeline.model.errors import PermanentError, StorageError
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.upkeep import retention
from d4c_pipeline.upkeep.retention import RetentionAction
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.integration.upkeep.retention.conftest import (
    VERSIONS,
    declare,
    keep,
    mirror_of,
    named,
    on,
    on_west,
    releases,
)
from d4c_pipeline_tests.support.commands import D4C, Zygote


def test_a_mirror_keeps_the_newest_releases_and_nothing_names_the_others_there(mirrored: Chain) -> None:
    files = on(mirrored.home, "primary")
    assert on_west(mirrored) == on(mirrored.home, "east") == files
    assert set(files) == set(VERSIONS)
    assert keep(mirrored) == []
    assert [named(mirrored.home, version) for version in VERSIONS] == [{"west", "east"}] * 3

    declare(mirrored, west=1, elsewhere=1)
    planned = retention.apply(mirrored.opened, [mirrored.dataset], dry_run=True)
    first = releases(mirrored)["0.1.0-beta"]
    assert planned[0] == RetentionAction(
        first.name, "west", "pruned", len(first.artifacts), sum(artifact.size for artifact in first.artifacts)
    )
    assert on_west(mirrored) == files
    gone = [("0.1.0-beta", "west", "pruned"), ("0.1.1-beta", "west", "pruned")]
    assert [(one.release.rpartition("_v")[2], one.mirror, one.action) for one in planned] == gone
    assert keep(mirrored) == gone
    assert on_west(mirrored) == {"0.1.2-beta": files["0.1.2-beta"]}
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
    assert on_west(mirrored) == {"0.1.2-beta": files["0.1.2-beta"]}
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
    assert set(on_west(mirrored)) == {"0.1.1-beta", "0.1.2-beta"}
    assert named(mirrored.home, "0.1.0-beta") == {"east"}
    west = mirror_of(mirrored.opened, "west")
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
    done = retention.apply(mirrored.opened, [mirrored.dataset])
    assert [(one.release, one.action, one.reason) for one in done] == [
        (first.name, "held back", "profile.json is not intact in the store primary"),
        (second.name, "held back", f"the archive has no {second.data_files[0].name}"),
    ]
    assert set(on_west(mirrored)) == set(VERSIONS)
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
        retention.apply(renamed, [mirrored.dataset])


def test_a_mirror_that_is_down_is_pruned_later(mirrored: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(mirrored, west=1, east=1)
    calls: list[str] = []
    west = mirror_of(mirrored.opened, "west")

    def refuse(address: str) -> None:
        calls.append(address)
        raise StorageError("Store west refuses access", "Check it")

    with monkeypatch.context() as patched:
        patched.setattr(west, "delete", refuse)
        done = retention.apply(mirrored.opened, [mirrored.dataset])
        assert [(one.mirror, one.action, one.reason) for one in done] == [
            ("west", "missed", "Store west refuses access"),
            ("east", "pruned", ""),
        ] * 2
        # The catalogue's rebuild asks too, for the part of the records that it superseded.
        assert [address.split("/")[0] for address in calls if not address.startswith("catalogue/")] == ["releases"]
    # What is to go is named no more although it still lies there, and goes with the next run.
    assert named(mirrored.home, "0.1.0-beta") == named(mirrored.home, "0.1.1-beta") == set()
    assert set(on_west(mirrored)) == set(VERSIONS)
    assert keep(mirrored) == [("0.1.0-beta", "west", "pruned"), ("0.1.1-beta", "west", "pruned")]
    assert set(on_west(mirrored)) == {"0.1.2-beta"}


def test_the_command_prunes_and_says_what_it_did(zygote: Zygote, mirrored: Chain) -> None:
    declare(mirrored, west=1)
    environment = {"D4C_DEFS": str(mirrored.settings.definitions[0]), "D4C_STORES": str(mirrored.home / "stores.yaml")}
    environment |= {name: value for name, value in os.environ.items() if name in ("WEST_KEY", "WEST_SECRET")}
    d4c = D4C(zygote, mirrored.home, mirrored.settings.port, mirrored.origin, environment)
    would = d4c.ok("prune", "--dry-run")
    assert set(on_west(mirrored)) == set(VERSIONS)
    assert d4c.ok("prune") == would
    assert [(row["mirror"], row["deed"], row["reason"]) for row in would] == [("west", "pruned", "")] * 2
    assert set(on_west(mirrored)) == {"0.1.2-beta"}
    assert d4c.ok("prune") == []
    shutil.rmtree(mirrored.home / "east")
    declare(mirrored, east=1)
    done = d4c("prune")
    assert done.code == 1
    assert "on east (The folder " in done.stderr
    assert done.stderr.rstrip().endswith("then run 'd4c prune' again.")
