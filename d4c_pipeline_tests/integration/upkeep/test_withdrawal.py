"""Withdrawal of a published release: what readers see at each place, and that nothing published is lost."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import httpx
import pytest

from d4c_pipeline.chain import latest, portal
from d4c_pipeline.chain.processed import _inputs
from d4c_pipeline.model.errors import PermanentError, UnknownNameError
from d4c_pipeline.orchestration.resources import DeploymentResource
from d4c_pipeline.orchestration.withdrawing import withdraw_job
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.torrents.torrent_files import web_seeds_of
from d4c_pipeline.upkeep import withdrawal
from d4c_pipeline.upkeep.reissue import follow_copies
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, corrected

__all__ = ["chain", "definitions"]  # fixtures, found by their names here

REASON = "The populations of Québec & Vancouver were <swapped>"
PLAIN = "The populations of Québec"
LATEST = "processed/ca_example_2021A000011124_d4c-datapkg-foundation_places_2021.parquet"


def published(chain: Chain) -> list[str]:
    """Publish v0.1.0-beta, then v0.1.1-beta with a corrected population; return their names."""
    chain.run()
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    chain.run()
    return [release.name for release in chain.opened.ledger.releases.published("places")]


def withdraw(chain: Chain, name: str, reason: str = REASON) -> withdrawal.Decided:
    release = withdrawal.published_release(chain.opened, name)
    return withdrawal.withdraw(chain.opened, release, [chain.dataset], who="ada", reason=reason)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All published bytes of the home: releases in the store and records of the archive."""
    roots = (folder / "store" / "releases", folder / "archive", folder / "store" / "raw")
    return {str(path): path.read_bytes() for root in roots for path in sorted(root.rglob("*")) if path.is_file()}


def rows(chain: Chain) -> dict[str, tuple[Any, ...]]:
    parquet = chain.home / "store" / "catalogue" / "stac.parquet"
    query = f"SELECT version, is_latest, deprecated, withdrawn_at IS NOT NULL, withdrawn_reason FROM '{parquet}'"
    return {row[0]: row[1:] for row in duckdb.sql(query).fetchall()}


def refused(chain: Chain, name: str) -> None:
    """Assert that nothing is recorded without a reason and a person."""
    release = withdrawal.published_release(chain.opened, name)
    with pytest.raises(PermanentError, match="needs a reason"):
        withdrawal.withdraw(chain.opened, release, who="ada", reason=" ")
    with pytest.raises(PermanentError, match="Nobody is named"):
        withdrawal.withdraw(chain.opened, release, who="", reason="wrong")
    with pytest.raises(UnknownNameError, match="d4c releases"):
        withdrawal.published_release(chain.opened, "nothing")
    assert chain.opened.ledger.judgements.reviews(release) == ()


def by_job(chain: Chain, name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """Withdraw by the job of the UI; return what the asset states of the decision."""
    monkeypatch.setenv("D4C_HOME", str(chain.home))
    monkeypatch.setenv("D4C_DEFS", str(chain.settings.definitions[0]))
    with dg.DagsterInstance.ephemeral() as instance:
        done = withdraw_job([chain.dataset], []).execute_in_process(
            instance=instance,
            resources={"deployment": DeploymentResource()},
            run_config={"ops": {"decide_on_published": {"config": {"release": name, "reason": REASON}}}},
        )
        assert done.success
        event = instance.get_latest_materialization_event(dg.AssetKey(["places", "latest"]))
    assert event is not None
    assert event.asset_materialization is not None
    stated = {key: value.value for key, value in event.asset_materialization.metadata.items()}
    assert stated["decided_by"]
    return tuple(stated[key] for key in ("decision", "reason", "serving"))


def test_readers_go_back_to_the_newest_release_that_stands(chain: Chain) -> None:
    first, second = published(chain)
    store = chain.home / "store"
    data = {release.name: release.data_sha256 for release in chain.opened.ledger.releases.published("places")}
    before = bytes_of(chain.home)

    done = withdraw(chain, second)
    assert done.serving is not None
    assert (done.serving.name, done.changed) == (first, True)
    older = next((store / "releases").rglob(f"{first}.parquet"))
    assert (store / LATEST).read_bytes() == older.read_bytes()
    assert bytes_of(chain.home) == before
    assert rows(chain) == {"0.1.0-beta": (True, False, False, None), "0.1.1-beta": (False, True, True, REASON)}

    item = json.loads((store / "catalogue/places/2021/0.1.1-beta.json").read_bytes())
    assert item["properties"]["withdrawn_reason"] == REASON
    assert item["properties"]["description"].startswith("Withdrawn on 20")
    assert json.loads((store / "catalogue/places/2021/latest.json").read_bytes())["id"] == first
    records = store / "catalogue/places/2021/0.1.1-beta"
    silent = [path.name for path in records.iterdir() if PLAIN not in path.read_text("utf-8").replace("\\'e", "é")]
    assert silent == ["linkset.json"]  # links alone
    for feed in ("releases.en.atom", "releases.fr.json", "torrents.rss"):
        assert PLAIN in (store / "catalogue" / feed).read_text("utf-8"), feed
    page = (chain.home / "portal/en/datasets/places/2021/0.1.1-beta/index.html").read_text("utf-8")
    assert "The populations of Québec &amp; Vancouver were &lt;swapped&gt;" in page
    assert "Open version 0.1.0-beta (2021)</a>" in page
    current = next((store / "torrents").glob(f"{second}*")).read_bytes()
    archived = next((store / "releases").rglob(f"{second}*.torrent")).read_bytes()
    assert REASON.encode() in current
    assert REASON.encode() not in archived
    assert current.partition(b"4:info")[2][:400] == archived.partition(b"4:info")[2][:400]
    assert web_seeds_of(current) == web_seeds_of(archived)

    again = withdraw(chain, second)
    assert not again.changed
    decisions = chain.opened.ledger.judgements.reviews(again.release)
    assert [(each.decision, each.who, each.reason) for each in decisions] == [("withdrawn", "ada", REASON)]

    # The same data is not published a second time; a later correction has a higher version.
    assert chain.run_up_to("checksums").unchanged

    release = withdrawal.published_release(chain.opened, second)
    back = withdrawal.reinstate(chain.opened, release, [chain.dataset], who="grace", reason="They were right")
    assert back.serving is not None
    assert back.serving.data_sha256 == data[second]
    assert rows(chain) == {"0.1.0-beta": (False, True, False, None), "0.1.1-beta": (True, False, False, None)}
    assert next((store / "torrents").glob(f"{second}*")).read_bytes() == archived
    page = (chain.home / "portal/en/datasets/places/2021/0.1.1-beta/index.html").read_text("utf-8")
    assert PLAIN not in page
    assert [each.decision for each in chain.opened.ledger.judgements.reviews(release)] == ["withdrawn", "reinstated"]
    assert bytes_of(chain.home) == before


def test_without_another_release_readers_get_410_with_the_reason(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.run()
    name = chain.newest().name
    refused(chain, name)
    assert by_job(chain, name, monkeypatch) == ("withdraw", REASON, "none")
    assert rows(chain)["0.1.0-beta"][3] == REASON
    assert withdraw(chain, name).serving is None
    assert not (chain.home / "store" / LATEST).exists()
    with serving({"/": chain.home / "store"}, port=chain.settings.port) as url:
        gone = httpx.get(f"{url}/{LATEST}")
        assert (gone.status_code, REASON in gone.text) == (410, True)
        assert gone.headers["content-type"] == "text/plain; charset=utf-8"
        assert "doi:10.5072/" in gone.text
        assert httpx.get(f"{url}/processed/other.parquet").status_code == 404
        assert httpx.get(gone.text.split("\n")[3]).status_code == 200
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    chain.run()
    assert rows(chain)["0.1.1-beta"][0] is True
    assert sorted(path.name for path in (chain.home / "store/processed").iterdir()) == [Path(LATEST).name]


def test_a_killed_withdrawal_is_continued_by_the_daily_check(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = published(chain)

    class Killed(BaseException):
        """As if the process ended here."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(latest, "replace_ours", die)
        with pytest.raises(Killed):
            withdraw(chain, second)
    follow_copies(chain.opened, [chain.dataset])
    portal.build(chain.opened, [chain.dataset])
    assert rows(chain)["0.1.0-beta"][0] is True
    assert chain.opened.ledger.publications.latest() != {}
    (serving_now,) = set(chain.opened.ledger.publications.latest().values())
    assert chain.opened.ledger.releases.get(serving_now).name == first

    # A dataset that is made of this one does not use a withdrawn release.
    wanting = chain.dataset.model_copy(
        update={"processing": chain.dataset.processing.model_copy(update={"inputs": {"places": "places"}})}
    )
    assert _inputs(chain.opened, wanting)["places"][1]["release"] == first
    withdraw(chain, first)
    with pytest.raises(UnknownNameError, match="not withdrawn"):
        _inputs(chain.opened, wanting)
