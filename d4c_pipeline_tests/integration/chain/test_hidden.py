"""Nobody finds a release before a person approves it: asked for at concrete addresses, in a folder and in a bucket.

And nothing of it is lost on its way from the hidden addresses to the immutable ones, wherever a process dies: a sample
of the moments is tried; with D4C_TEST_EVERY=1, each.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.client import BaseClient

from d4c_pipeline.chain import revealing
from d4c_pipeline.model.addresses import WORK
from d4c_pipeline.model.errors import AwaitingReviewError, PermanentError, TransientError
from d4c_pipeline.model.release import Release, ReleaseState
from d4c_pipeline.model.stores import S3Place, Stores
from d4c_pipeline.review import decisions
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.torrents.torrent_files import web_seeds_of
from d4c_pipeline.torrents.web_seeds import SeedVerdict
from d4c_pipeline.upkeep.seedable import seedable_in_ledger
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.placing import ForeignBytesError
from d4c_pipeline_tests.fakes.datacite import ACCOUNT, PASSWORD, PREFIX, FakeDataCite
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.integration.chain.test_several_stores import bucket, chain_on, made_bucket, mirror_at
from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.inspection import records, states, tree
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, corrected, define
from d4c_pipeline_tests.support.strides import stride

__all__ = ["bucket"]  # a fixture, found by its name here

STRIDE = stride(13)
BUCKET_STRIDE = stride(43)  # of some 100 calls; each costs two runs, about 8 s
REVIEWED = {"stage": "beta", "initial_version": "0.1.0", "policy": "review"}


@dataclass
class Place:
    """A chain whose store anybody reaches at `url`."""

    chain: Chain
    url: str

    def wait(self) -> Release:
        """Run the chain until it waits for a person; returns the release that does."""
        with pytest.raises(AwaitingReviewError):
            self.chain.run_up_to("deposit")
        (release,) = decisions.waiting(self.chain.opened)
        return release

    def ask(self, address: str) -> httpx.Response:
        return httpx.get(f"{self.url}/{address}", trust_env=False)

    def public(self, release: Release) -> dict[str, str]:
        """The immutable addresses of a release with the sha256 that they are to serve."""
        folder = f"releases/places/2021/v{release.version}"
        return {f"{folder}/{one.name}": one.sha256 for one in release.artifacts}

    def check_unseen(self, release: Release) -> None:
        """Nothing of the release, its torrent included, is there for anybody who knows where it will be."""
        addresses = [*self.public(release), f"torrents/{release.name}.torrent"]
        # S3 answers 403 to whoever may not list, whether or not something is there.
        assert {self.ask(address).status_code for address in addresses} <= {403, 404}
        assert len(addresses) == 10
        for address in addresses:
            assert [store.stat(address) for store in self.chain.opened.stores] == [None]

    def check_seen(self, release: Release) -> None:
        for address, sha256 in self.public(release).items():
            answer = self.ask(address)
            assert (answer.status_code, hashlib.sha256(answer.content).hexdigest()) == (200, sha256)
        torrent = self.ask(f"torrents/{release.name}.torrent")
        assert (
            web_seeds_of(torrent.content)[0]
            == f"{self.url}/releases/places/2021/v{release.version}/{release.name}.parquet"
        )
        assert self.hidden() == []

    def hidden(self) -> list[str]:
        """What lies below the hidden prefix, but for the object that it is tried with and what steps pass on."""
        placed = self.chain.opened.ledger.placements.of
        noted = [one.address for one in self.chain.opened.ledger.releases.living() for one in placed(one)]
        assert not [address for address in noted if address.startswith("hidden/") and self._is_gone(address)]
        others = (WORK, "hidden/preflight/")
        return [name for name in self.names() if name.startswith("hidden/") and not name.startswith(others)]

    def work(self) -> list[str]:
        return [name for name in self.names() if name.startswith(WORK)]

    def _is_gone(self, address: str) -> bool:
        return self.chain.opened.primary.stat(address) is None

    def names(self) -> list[str]:
        return list(tree(self.chain.home / "store"))


@dataclass
class BucketPlace(Place):
    """The same in a bucket."""

    place: S3Place
    client: Any

    def names(self) -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.place.bucket, Prefix="d4c/").get("Contents", ())
        return [one["Key"].removeprefix("d4c/") for one in found]


@contextmanager
def folder_place(chain: Chain) -> Iterator[Place]:
    with serving(mounts(chain.settings), port=chain.settings.port) as url:
        yield Place(chain, url)


@pytest.fixture
def reviewed(definitions: Path) -> Path:
    define(definitions, publication=REVIEWED)
    return definitions


def patch_moto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto lists every bucket to anybody, whatever its policy says: there the preflight is right to refuse it."""
    monkeypatch.setattr("d4c_pipeline.chain.doi.try_hidden", lambda _: None)
    monkeypatch.setattr("d4c_pipeline.chain.processed.require_hidden", lambda _: None)


@pytest.fixture
def in_folder(reviewed: Path, chain: Chain) -> Iterator[Place]:
    with folder_place(chain) as place:
        yield place


@pytest.fixture
def in_bucket(
    request: pytest.FixtureRequest,
    reviewed: Path,
    bucket: tuple[S3Place, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[BucketPlace]:
    place, client = bucket
    if "moto" in request.node.name and "refused" not in request.node.name:
        patch_moto(monkeypatch)
    with chain_on(tmp_path, reviewed, Stores(primary=place)) as chain:
        yield BucketPlace(chain, str(place.url), place, client)


@pytest.fixture(params=["folder", "moto", pytest.param("real", marks=pytest.mark.s3)])
def place(
    request: pytest.FixtureRequest, reviewed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    if request.param == "folder":
        yield request.getfixturevalue("in_folder")
        return
    if request.param == "moto":
        patch_moto(monkeypatch)
    made, client = made_bucket(request.param, request, monkeypatch)
    with chain_on(tmp_path, reviewed, Stores(primary=made)) as chain:
        yield BucketPlace(chain, str(made.url), made, client)


def approve(place: Place, release: Release) -> None:
    decisions.approve(place.chain.opened, release, who="Ana")


def test_a_release_that_waits_is_served_to_nobody_and_its_approval_lets_everybody_have_it(place: Place) -> None:
    release = place.wait()
    place.check_unseen(release)
    assert release.token is not None
    assert len(bytes.fromhex(release.token)) == 16
    assert sorted(place.hidden()) == sorted(f"hidden/{release.token}/{one.name}" for one in release.artifacts)
    # Nothing that is told to anybody names where it lies: torrent, item, the seeder, what the UI and errors show.
    made = place.chain.results["torrent"].torrents[f"{release.name}.parquet"]
    assert made.web_seeds[0] == f"{place.url}/releases/places/2021/v0.1.0-beta/{release.name}.parquet"
    assert seedable_in_ledger(place.chain.opened) == []
    assert release.token not in json.dumps(place.chain.results["stac_item"])
    assert release.token not in repr(release)
    assert str(PermanentError(f"Can't read hidden/{release.token}/a")) == "Can't read hidden/***/a."

    approve(place, release)
    place.check_unseen(release)  # it is made public by the run that publishes it
    place.chain.run("deposit", "latest", "catalogue")
    published = place.chain.newest()
    place.check_seen(published)
    assert {copy.address for copy in place.chain.opened.ledger.copies.of(published)} == place.public(published).keys()
    # All of it again is no work.
    before = place.names()
    place.chain.run("copies", "torrent", "stac_item", "deposit")
    assert place.names() == before


def test_a_hidden_address_is_not_served_from_a_folder_even_to_whoever_knows_it(in_folder: Place) -> None:
    release = in_folder.wait()
    for name in (f"hidden/{release.token}/manifest.json", f"HIDDEN/{release.token}/manifest.json", "hidden/", "hidden"):
        assert in_folder.ask(name).status_code == 404
    assert in_folder.ask(f"releases/..%2fhidden/{release.token}/manifest.json").status_code == 404


def test_a_rejection_leaves_nothing(place: Place) -> None:
    release = place.wait()
    before = set(place.names()) - set(place.work())
    decisions.reject(place.chain.opened, release, who="Ben", reason="wrong title")
    assert place.hidden() == place.work() == []
    assert before - set(place.names()) == {f"hidden/{release.token}/{one.name}" for one in release.artifacts}
    place.check_unseen(release)


def test_other_data_take_the_place_of_what_waits_under_another_token(place: Place) -> None:
    first = place.wait()
    place.chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    second = place.wait()
    assert first.token != second.token
    assert {name.split("/")[1] for name in place.hidden()} == {second.token}
    place.check_unseen(second)


def test_a_bucket_that_lists_and_serves_everything_hides_nothing_and_is_refused(in_bucket: BucketPlace) -> None:
    anybody = [
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{in_bucket.place.bucket}/*",
        },
        {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{in_bucket.place.bucket}",
        },
    ]
    name = in_bucket.place.bucket
    in_bucket.client.put_bucket_policy(Bucket=name, Policy=json.dumps({"Version": "2012-10-17", "Statement": anybody}))
    in_bucket.client.put_bucket_acl(Bucket=name, ACL="public-read")
    with pytest.raises(PermanentError, match=r"Store primary lists and serves the files below hidden/ to everybody"):
        in_bucket.chain.run_up_to("processed")
    # Nothing of the build was there for a moment: the test object alone is below the hidden prefix.
    assert [name for name in in_bucket.names() if name.startswith("hidden/")] == ["hidden/preflight/preflight.txt"]
    assert in_bucket.chain.opened.ledger.deposits.all() == ()
    # A release that nobody has to approve waits for nobody.
    define(in_bucket.chain.settings.definitions[0], publication={**REVIEWED, "policy": "automatic"})
    in_bucket.chain.run()
    in_bucket.check_seen(in_bucket.chain.newest())


def test_bytes_that_rotted_while_they_waited_are_never_made_public(in_folder: Place) -> None:
    release = in_folder.wait()
    data = in_folder.chain.home / "store" / "hidden" / str(release.token) / f"{release.name}.parquet"
    data.chmod(0o644)
    data.write_bytes(b"?" * data.stat().st_size)
    approve(in_folder, release)
    in_folder.chain.run("deposit")
    in_folder.check_seen(in_folder.chain.newest())  # out of staging


@contextmanager
def waiting_with_a_mirror(reviewed: Path, home: Path, mirror: Path) -> Iterator[tuple[Chain, Release]]:
    """A chain whose release waits for a person, with copies in the folder `mirror` as well."""
    mirror.mkdir()
    with chain_on(home, reviewed, Stores(mirrors=(mirror_at(mirror),))) as chain:
        with pytest.raises(AwaitingReviewError):
            chain.run_up_to("deposit")
        (release,) = decisions.waiting(chain.opened)
        yield chain, release


def test_a_mirror_that_is_down_at_the_approval_keeps_its_copies_hidden_until_it_is_back(
    reviewed: Path, tmp_path: Path
) -> None:
    attic, away = tmp_path / "attic", tmp_path / "away"
    with waiting_with_a_mirror(reviewed, tmp_path, attic) as (chain, release):
        hidden = {name for name in tree(attic) if name.startswith("hidden/")}
        assert len(hidden) == 9
        attic.rename(away)
        decisions.approve(chain.opened, release, who="Ana")
        with Deployment.open(chain.settings) as opened:
            Chain(chain.settings, chain.origin, opened).run("deposit")
            published = opened.ledger.releases.get(release.id)
            # It may be named nowhere: the ledger takes it for a store that does not hold the release.
            assert {copy.store for copy in opened.ledger.copies.of(published)} == {"primary"}
        away.rename(attic)
        assert {name for name in tree(attic) if name.startswith("hidden/")} == hidden
        with Deployment.open(chain.settings) as opened:
            Chain(chain.settings, chain.origin, opened).run("copies", "torrent")
            copies = opened.ledger.copies.of(published)
            assert {copy.address for copy in copies if copy.store == "attic"} == {
                f"releases/places/2021/v0.1.0-beta/{one.name}" for one in published.artifacts
            }
        names = tree(attic)
        assert not [name for name in names if name.startswith("hidden/")]
        assert f"torrents/{release.name}.torrent" in names


def test_what_a_mirror_that_was_down_at_a_rejection_keeps_is_taken_away_when_it_is_back(
    reviewed: Path, tmp_path: Path
) -> None:
    attic, away = tmp_path / "attic", tmp_path / "away"
    with waiting_with_a_mirror(reviewed, tmp_path, attic) as (chain, release):
        attic.rename(away)
        decisions.reject(chain.opened, release, who="Ben", reason="wrong title")
        away.rename(attic)
        assert [name for name in tree(attic) if f"/{release.token}/" in name]
        with Deployment.open(chain.settings) as opened, pytest.raises(AwaitingReviewError):
            Chain(chain.settings, chain.origin, opened).run_up_to("deposit")
        assert not [name for name in tree(attic) if f"/{release.token}/" in name]


# The web seeds, which could only be promised


def test_a_web_seed_that_serves_something_else_after_the_move_stops_before_the_publication(
    in_folder: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = in_folder.wait()
    approve(in_folder, release)
    for verdict, kind in (
        (SeedVerdict(False, "ignores Range"), PermanentError),
        (SeedVerdict(False, "answered 503", silent=True), TransientError),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(revealing, "try_web_seed", lambda *_, verdict=verdict: verdict)
            with pytest.raises(kind, match=rf"releases/places/.*{verdict.reason}, and the torrent of .* names it"):
                in_folder.chain.run("deposit")
        assert records(in_folder.chain.home) == []
    # The remedy: made again, the torrent names what serves.
    in_folder.chain.run("torrent", "stac_item", "deposit")
    in_folder.check_seen(in_folder.chain.newest())


# Others at the same addresses


def test_another_home_that_was_first_at_the_address_keeps_it(in_folder: Place, tmp_path: Path) -> None:
    release = in_folder.wait()
    approve(in_folder, release)
    theirs = in_folder.chain.home / "store" / "releases" / "places" / "2021" / "v0.1.0-beta" / "manifest.json"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"another home's")
    with pytest.raises(ForeignBytesError, match=r"immutable address .*manifest\.json, which this home did not put"):
        in_folder.chain.run("deposit")
    assert theirs.read_bytes() == b"another home's"
    assert records(in_folder.chain.home) == []
    decisions.reject(in_folder.chain.opened, release, who="Ana", reason="the other home has it")
    assert theirs.read_bytes() == b"another home's"
    assert in_folder.hidden() == []


@pytest.mark.parametrize("when", ["waiting", "approved"])
def test_a_ledger_restored_from_before_the_approval_overwrites_nothing(in_folder: Place, when: str) -> None:
    chain = in_folder.chain
    release = in_folder.wait()
    if when == "approved":
        approve(in_folder, release)
    chain.opened.ledger.close()
    backup = chain.home.with_name("backup")
    backup.mkdir()
    for path in chain.home.glob("ledger.sqlite*"):
        shutil.copy(path, backup)
    with Deployment.open(chain.settings) as opened:
        decisions.approve(opened, opened.ledger.releases.get(release.id), who="Ana")
        Chain(chain.settings, chain.origin, opened).run("deposit", "latest", "catalogue")
    before = tree(chain.home / "store")
    for path in chain.home.glob("ledger.sqlite*"):
        path.unlink()
    for path in backup.iterdir():
        shutil.copy(path, chain.home)
    with Deployment.open(chain.settings) as opened:
        again = Chain(chain.settings, chain.origin, opened)
        again.run()
        assert again.newest().id == release.id
        Place(again, in_folder.url).check_seen(again.newest())
    kept = {name: sha for name, sha in before.items() if name.startswith(("releases/", "processed/", "torrents/"))}
    assert {name: sha for name, sha in tree(chain.home / "store").items() if name in kept} == kept
    assert len(records(chain.home)) == 1


def test_a_draft_that_is_published_at_the_archive_by_hand_is_made_public_in_the_stores(in_folder: Place) -> None:
    release = in_folder.wait()
    deposit = in_folder.chain.opened.ledger.deposits.of(release)
    assert deposit is not None
    archive = in_folder.chain.opened.archive
    draft = archive.draft(str(deposit.record_id))
    assert draft is not None
    archive.publish(draft)
    in_folder.chain.run("deposit")
    in_folder.check_seen(in_folder.chain.newest())


def test_datacite_reads_the_store_after_the_approval(
    reviewed: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("D4C_ARCHIVE_TOKEN", PASSWORD)
    with FakeDataCite() as fake:
        settings = chain.settings.model_copy(
            update={
                "archive": "datacite",
                "archive_url": fake.url,
                "archive_account": ACCOUNT,
                "doi_prefix": PREFIX,
                "archive_test": True,
                "store_url": f"http://127.0.0.1:{chain.settings.port}",
            }
        )
        with serving(mounts(settings), port=settings.port) as url, Deployment.open(settings) as opened:
            place = Place(Chain(settings, chain.origin, opened), url)
            release = place.wait()
            place.check_unseen(release)
            assert {one["state"] for one in fake.dois.values()} == {"draft"}
            approve(place, release)
            place.chain.run("deposit")
            place.check_seen(place.chain.newest())
            (doi,) = (one for name, one in fake.dois.items() if name.endswith(".v1"))
            assert sorted(doi["contentUrl"]) == sorted(
                f"{url}/{address}" for address in place.public(place.chain.newest())
            )


# Killed on the way


@pytest.mark.timeout(1800)
def test_killed_at_any_act_of_the_move_in_a_folder(zygote: Zygote, in_folder: Place) -> None:
    chain = in_folder.chain
    release = in_folder.wait()
    approve(in_folder, release)
    chain.opened.ledger.close()
    wanted = in_folder.public(release)

    def run(home: Path, fatal: str) -> tuple[int, str]:
        environment = {"D4C_DEFS": str(chain.settings.definitions[0])}
        d4c = D4C(zygote, home, chain.settings.port, chain.origin, environment)
        done = d4c.start(fatal, function="d4c_pipeline_tests.support.steps:run_deposit").wait()
        return done.code, done.stdout if done.code in (0, -9) else done.stderr

    def check(home: Path) -> None:
        there = tree(home / "store")
        assert {name: sha for name, sha in there.items() if name.startswith("releases/")} == wanted
        assert not list((home / "store" / "hidden").rglob("*"))
        assert f"torrents/{release.name}.torrent" in there
        assert states(home) == [("2021", "0.1.0-beta", "published")]
        assert len(records(home)) == 1

    whole = chain.home.with_name("whole")
    shutil.copytree(chain.home, whole)
    code, acts = run(whole, "none")
    assert code == 0, acts
    check(whole)
    assert int(acts) > 60
    for fatal in range(0, int(acts), STRIDE):
        home = chain.home.with_name(f"killed{fatal}")
        shutil.copytree(chain.home, home)
        assert run(home, str(fatal)) == (-9, ""), fatal
        # Whatever of it is public has the right bytes, and nothing is published before all of it is.
        there = tree(home / "store")
        assert all(wanted[name] == sha for name, sha in there.items() if name.startswith("releases/"))
        held = {sha for name, sha in there.items() if name.startswith(("releases/", "hidden/"))}
        assert held >= set(wanted.values()), fatal
        assert records(home) == []
        code, said = run(home, "none")
        assert code == 0, (fatal, said)
        check(home)
        shutil.rmtree(home)


class Killed(BaseException):
    """The process died."""


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_call_of_the_move_in_a_bucket(
    in_bucket: BucketPlace, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, client, name = in_bucket.chain, in_bucket.client, in_bucket.place.bucket
    release = in_bucket.wait()
    approve(in_bucket, release)
    chain.opened.ledger.close()
    backup = chain.home.with_name("backup")
    shutil.copytree(chain.home, backup)
    kept = {one: client.get_object(Bucket=name, Key=f"d4c/{one}") for one in in_bucket.names()}
    bytes_of = {one: answer["Body"].read() for one, answer in kept.items()}
    original: Callable[..., Any] = BaseClient._make_api_call
    reveal = revealing.reveal
    # The two moments try different calls, unless every one is tried.
    calls, armed, fatal = 0, False, 0 if moment == "before" else BUCKET_STRIDE // 2

    def call(self: Any, operation: str, arguments: Any) -> Any:
        nonlocal calls
        if not armed:
            return original(self, operation, arguments)
        calls += 1
        if calls <= fatal:
            return original(self, operation, arguments)
        if moment == "after" and calls == fatal + 1:
            original(self, operation, arguments)
        raise Killed

    def revealed(*arguments: Any) -> None:
        nonlocal armed
        armed = True
        try:
            reveal(*arguments)
        finally:
            armed = False

    def restore() -> None:
        shutil.rmtree(chain.home)
        shutil.copytree(backup, chain.home)
        for one in set(in_bucket.names()) - kept.keys():
            client.delete_object(Bucket=name, Key=f"d4c/{one}")
        for one in kept.keys() - set(in_bucket.names()):
            put(one)

    def put(one: str) -> None:
        answer = kept[one]
        said = {key: answer[key] for key in ("ContentType", "CacheControl", "Metadata") if key in answer}
        client.put_object(Bucket=name, Key=f"d4c/{one}", Body=bytes_of[one], **said)

    died = True
    while died:
        calls, died = 0, False
        with monkeypatch.context() as patch, Deployment.open(chain.settings) as opened:
            patch.setattr(BaseClient, "_make_api_call", call)
            patch.setattr("d4c_pipeline.chain.deposit.reveal", revealed)
            try:
                Chain(chain.settings, chain.origin, opened).run("deposit")
            except Killed:
                died = True
        if died:
            assert records(chain.home) == []
        with Deployment.open(chain.settings) as opened:
            again = Chain(chain.settings, chain.origin, opened)
            again.run("deposit", "latest", "catalogue")
            replace(in_bucket, chain=again).check_seen(again.newest())
            assert again.newest().state is ReleaseState.PUBLISHED
        assert len(records(chain.home)) == 1
        restore()
        fatal += BUCKET_STRIDE
    assert fatal > 50
