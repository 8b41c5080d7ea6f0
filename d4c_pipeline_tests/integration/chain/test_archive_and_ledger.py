"""The archive compared with the ledger, DOIs asked for at a resolver, and what is refused before any call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest

from d4c_pipeline.archives.local.archive import LocalArchive
from d4c_pipeline.chain.doi import metadata_of, reserve_doi
from d4c_pipeline.model.errors import NeedsPersonError, PermanentError, UnknownNameError
from d4c_pipeline.model.release import Artifact, ArtifactRole
from d4c_pipeline.model.version import Bump
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.review.policy import reasons_for_review
from d4c_pipeline.upkeep.inventory import FileState, drafts, verify
from d4c_pipeline.upkeep.registration import Registration, check_registrations
from d4c_pipeline_tests.integration.chain.conftest import Chain

VINTAGE = Vintage.parse("2021")


class Handles:
    """A handle server that knows some DOIs."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.asked: list[str] = []
        handles = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                doi = unquote(self.path.removeprefix("/api/handles/"))
                handles.asked.append(doi)
                found = doi in handles.known
                body = json.dumps({"responseCode": 1 if found else 100, "handle": doi}).encode()
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def handles() -> Iterator[Handles]:
    made = Handles()
    yield made
    made.close()


def test_a_doi_is_asked_for_until_it_is_registered(chain: Chain, handles: Handles) -> None:
    chain.run()
    release = chain.newest()
    ledger = chain.opened.ledger
    deposit = ledger.deposits.of(release)
    assert deposit is not None
    # Test DOIs never resolve: nobody is asked for them.
    assert check_registrations(chain.opened) == ()
    asking = replace(chain.opened, settings=chain.settings.model_copy(update={"doi_resolver": handles.url}))
    assert check_registrations(asking) == (Registration(release.name, str(deposit.doi), registered=False),)
    assert ledger.deposits.of(release).registered_at is None  # type: ignore[union-attr]
    handles.known.add(str(deposit.doi))
    assert [one.registered for one in check_registrations(asking)] == [True]
    known = ledger.deposits.of(release)
    assert known is not None
    assert known.registered_at is not None
    assert check_registrations(asking) == ()
    assert handles.asked == [deposit.doi, deposit.doi]
    assert [event.kind for event in ledger.events.of("places") if event.kind == "doi registered"] == ["doi registered"]


def test_drafts_that_nobody_owns_and_deposits_that_hang(chain: Chain) -> None:
    chain.run_up_to("doi")
    (release,) = chain.opened.ledger.releases.living("places")
    assert drafts(chain.opened).orphans == ()
    assert drafts(chain.opened).hanging == ()
    stray = chain.opened.archive.create_draft(metadata_of(chain.opened, chain.dataset, replace(release, key="f" * 64)))
    found = drafts(chain.opened, at=datetime.now(UTC) + timedelta(days=2))
    assert [draft.record_id for draft in found.orphans] == [stray.record_id]
    assert [(one.release.name, one.deposit.state) for one in found.hanging] == [(release.name, "doi_reserved")]


def test_a_record_is_compared_file_by_file(chain: Chain) -> None:
    chain.run()
    deposit = chain.opened.ledger.deposits.of(chain.newest())
    assert deposit is not None
    doi = str(deposit.doi)
    files = verify(chain.opened, f"https://doi.org/{doi.upper()}")
    assert {file.state for file in files} == {"same"}
    assert len(files) == 9
    folder = chain.home / "archive" / "records" / str(deposit.record_id)
    said = json.loads((folder / "record.json").read_text("utf-8"))
    (folder / "files" / "profile.json").chmod(0o644)
    (folder / "files" / "profile.json").unlink()
    next(file for file in said["files"] if file["name"] == "manifest.json")["md5"] = "0" * 32
    (folder / "record.json").write_text(json.dumps(said), "utf-8")
    wrong = {file.name: file.state for file in verify(chain.opened, doi) if file.state != "same"}
    assert wrong == {"profile.json": "missing", "manifest.json": "different"}
    assert FileState("README.md", "same") in verify(chain.opened, doi)
    with pytest.raises(UnknownNameError, match=r"no published release with the DOI 10\.1/x"):
        verify(chain.opened, "10.1/x")
    elsewhere = replace(chain.opened, archive=LocalArchive(chain.home / "other", name="other"))
    with pytest.raises(NeedsPersonError, match="was published in 'local', the configured archive is 'other'"):
        verify(elsewhere, doi)


class Untouched:
    """An archive that must not be called."""

    test, name = True, "local"

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the archive was asked for {name}")


def test_what_can_t_be_one_record_is_refused_before_any_call(chain: Chain) -> None:
    release = chain.run_up_to("checksums").release
    many = [Artifact(f"part-{n}.csv", ArtifactRole.DESKTOP, 1, "m" * 32, "s" * 64, "text/csv") for n in range(93)]
    chain.opened.ledger.releases.add_artifacts(release, many)
    watched = replace(chain.opened, archive=Untouched())  # type: ignore[arg-type]
    with pytest.raises(PermanentError, match=r"102 files are more than the 100 .*Pack the small ones"):
        reserve_doi(watched, chain.dataset, VINTAGE)
    huge = replace(many[0], size=50 * 10**9)
    chain.opened.ledger.releases.add_artifacts(release, [huge])
    with pytest.raises(PermanentError, match="files are more than the 100"):
        reserve_doi(watched, chain.dataset, VINTAGE)
    assert chain.opened.ledger.deposits.of(release) is None


def test_outside_the_local_archive_a_first_release_and_a_major_wait_unless_said_otherwise(chain: Chain) -> None:
    release = chain.run_up_to("checksums").release
    real = replace(chain.opened, settings=chain.settings.model_copy(update={"archive": "zenodo-sandbox"}))
    automatic = chain.dataset.publication.model_copy(update={"first_release": "automatic", "major": "automatic"})
    trusting = chain.dataset.model_copy(update={"publication": automatic})
    assert reasons_for_review(chain.opened, chain.dataset, release) == ()
    assert reasons_for_review(real, chain.dataset, release) == ("it is the first release of this vintage",)
    assert reasons_for_review(real, trusting, release) == ()
    chain.run()
    major = replace(release, change=replace(release.change, bump=Bump.MAJOR))
    assert reasons_for_review(real, chain.dataset, major) == ("it is a MAJOR version",)
    assert reasons_for_review(real, trusting, major) == ()
    minor = replace(release, change=replace(release.change, bump=Bump.MINOR))
    assert reasons_for_review(real, chain.dataset, minor) == ()
    # An edition is a product of its own; in a rolling series a newer vintage is the next of the same.
    newer = replace(minor, vintage=Vintage.parse("2026"))
    assert reasons_for_review(real, chain.dataset, newer) == ("it is the first release of this vintage",)
    assert reasons_for_review(real, chain.dataset.model_copy(update={"series": "rolling"}), newer) == ()


def test_the_vintage_before_is_continued(chain: Chain) -> None:
    chain.run()
    release = chain.newest()
    deposit = chain.opened.ledger.deposits.of(release)
    assert deposit is not None
    later = replace(release, vintage=Vintage.parse("2026"), id=99)
    related = {one.relation: one.identifier for one in metadata_of(chain.opened, chain.dataset, later).related}
    assert related["continues"] == deposit.concept_doi
    assert "continues" not in {one.relation for one in metadata_of(chain.opened, chain.dataset, release).related}
