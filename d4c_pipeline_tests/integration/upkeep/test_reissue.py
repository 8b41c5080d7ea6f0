"""Torrents of published releases are issued again when their addresses change, and what names them follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import libtorrent as lt
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.chain import catalogue, copies, torrent
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, FEED_ATOM, release_address
from d4c_pipeline.model.release import Release, Torrent
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.upkeep.reissue import reissue
from d4c_pipeline.workspace.current import deposit_of
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions

__all__ = ["chain", "definitions"]  # fixtures, found by their names here


@contextmanager
def mirrored(chain: Chain, folder: Path) -> Iterator[Deployment]:
    """The deployment with a mirror in `folder`, which a server of its own serves."""
    with serving({"/": folder}) as url:
        yield replace(chain.opened, stores=(chain.opened.primary, FolderStore(folder, url, "mirror")))


def the_torrent(deployment: Deployment, release: Release) -> Torrent:
    (found,) = deployment.ledger.publications.torrents(release).values()
    return found


def current(deployment: Deployment, release: Release, store: int = 0) -> Any:
    return lt.bdecode(deployment.stores[store].read_bytes(the_torrent(deployment, release).address))


def data_address(release: Release) -> str:
    return release_address(release.dataset, release.vintage, release.version, release.data_files[0].name)


def test_the_step_reads_no_data_file_again(chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    chain.run_up_to("copies")

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the data was read again")

    # Staged and stored data may not even be looked for: only what `checksums` left of its one read is.
    monkeypatch.setattr("d4c_pipeline.workspace.pieces.artifact_path", refuse)
    monkeypatch.setattr("d4c_pipeline.workspace.pieces.hash_pieces", refuse)
    seeded = chain.run("torrent")
    (made,) = seeded.torrents.values()
    assert len(made.web_seeds) == 2
    assert seeded.left_out == ()


def test_pieces_that_are_not_of_this_file_are_hashed_anew(chain: Chain) -> None:
    chain.run_up_to("copies")
    (kept,) = chain.home.rglob("*.pieces.json")
    first = chain.run("torrent")
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "sha256": "0" * 64, "sha1": "00" * 20}))
    assert chain.run("torrent").torrents == first.torrents
    kept.unlink()
    assert chain.run("torrent").torrents == first.torrents


def test_a_new_mirror_becomes_a_web_seed_everywhere(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    release = chain.newest()
    before = the_torrent(chain.opened, release)
    archived = chain.opened.primary.read_bytes(f"{data_address(release)}.torrent")
    assert reissue(chain.opened)[0].changed is False
    with mirrored(chain, tmp_path / "mirror") as deployment:
        copies.distribute(deployment, chain.dataset, Vintage.parse("2021"))
        (done,) = reissue(deployment)
        new = deployment.stores[1].url(data_address(release))
        assert (done.added, done.removed, done.remarks, done.changed) == ((new,), (), (), True)
        after = the_torrent(deployment, release)
        # The mirror stands behind the primary and before the archive.
        assert after.web_seeds == (before.web_seeds[0], new, before.web_seeds[1])
        assert after.info_hash == before.info_hash
        for store in (0, 1):
            read = current(deployment, release, store)
            assert [url.decode() for url in read[b"url-list"]] == list(after.web_seeds)
            assert str(lt.load_torrent_buffer(lt.bencode(read)).info_hashes.v1) == before.info_hash
            assert read[b"creation date"] == int(release.planned_at.timestamp())
            assert f"doi:{deposit_of(deployment, release).doi}" in read[b"comment"].decode()
        # What was archived is immutable.
        assert deployment.primary.read_bytes(f"{data_address(release)}.torrent") == archived
        catalogue.rebuild(deployment, [chain.dataset])
        path = deployment.primary.local_path(CATALOGUE_PARQUET)
        (row,) = pq.read_table(path).to_pylist()
        assert row["d4c:magnet"] == after.magnet != before.magnet
        assert row["assets"]["torrent"]["d4c:current_href"] == deployment.primary.url(after.address)
        assert after.info_hash in deployment.primary.read_bytes(FEED_ATOM).decode()
        assert reissue(deployment)[0].changed is False


def test_a_mirror_that_is_gone_or_damaged_leaves_the_torrent(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    release = chain.newest()
    first = the_torrent(chain.opened, release)
    with mirrored(chain, tmp_path / "mirror") as deployment:
        copies.distribute(deployment, chain.dataset, Vintage.parse("2021"))
        reissue(deployment)
        url = deployment.stores[1].url(data_address(release))
        path = deployment.stores[1].local_path(data_address(release))
        assert path is not None
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.chmod(0o644)
        path.write_bytes(content)
        (done,) = reissue(deployment)
        assert done.removed == (url,)
        assert "serves other bytes in piece" in done.remarks[0]
        assert the_torrent(deployment, release) == first
        assert [seed.decode() for seed in current(deployment, release, 1)[b"url-list"]] == list(first.web_seeds)
        # As long as the ledger knows of an intact copy there the address is tried; mended, it is back.
        content[-1] ^= 1
        path.write_bytes(content)
        assert reissue(deployment)[0].added == (url,)
        data = release.data_files[0]
        deployment.ledger.copies.record(
            release,
            data.name,
            "mirror",
            address=data_address(release),
            size=data.size,
            sha256=data.sha256,
            intact=False,
        )
        assert reissue(deployment)[0].removed == (url,)


def test_a_seed_that_does_not_answer_keeps_its_place_but_gets_none(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    release = chain.newest()
    with mirrored(chain, tmp_path / "mirror") as deployment:
        copies.distribute(deployment, chain.dataset, Vintage.parse("2021"))
        url = deployment.stores[1].url(data_address(release))
    # The mirror's server is down from here on.
    (done,) = reissue(deployment)
    assert (done.added, done.changed) == ((), True)  # the torrent itself was put into the mirror
    assert url not in done.torrent.web_seeds
    assert "can't be reached" in done.remarks[0]
    known = replace(done.torrent, web_seeds=(*done.torrent.web_seeds, url))
    deployment.ledger.torrents.reissue(release, release.data_files[0].name, known)
    (done,) = reissue(deployment)
    assert url in done.torrent.web_seeds
    assert done.remarks[0].endswith("kept until it answers")


def test_an_archive_that_serves_other_bytes_after_publication_is_taken_out(chain: Chain) -> None:
    chain.run()
    release = chain.newest()
    own, at_archive = the_torrent(chain.opened, release).web_seeds
    served = chain.home / "archive" / "records"
    (path,) = (found for found in served.rglob(release.data_files[0].name))
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    verdict = chain.run("deposit").archive_seed
    assert not verdict.ok
    (done,) = reissue(chain.opened)
    assert (done.torrent.web_seeds, done.removed) == ((own,), (at_archive,))
    events = [event for event in chain.opened.ledger.events.of("places", "2021") if event.kind == "torrent reissued"]
    assert [event.detail["after"] for event in events] == [[own]]


def test_a_lost_torrent_comes_back_as_it_was_last_issued(chain: Chain) -> None:
    chain.run()
    release = chain.newest()
    (done,) = reissue(
        replace(chain.opened, settings=chain.settings.model_copy(update={"trackers": ("http://127.0.0.1:1/announce",)}))
    )
    assert done.changed
    with_tracker = current(chain.opened, release)
    assert with_tracker[b"announce"] == b"http://127.0.0.1:1/announce"
    address = the_torrent(chain.opened, release).address
    content = chain.opened.primary.read_bytes(address)
    chain.opened.primary.delete(address)
    again = replace(
        chain.opened, settings=chain.settings.model_copy(update={"trackers": ("http://127.0.0.1:1/announce",)})
    )
    torrent.make(again, chain.dataset, Vintage.parse("2021"))
    assert chain.opened.primary.read_bytes(address) == content
