"""What hands and lost disks do between two publications, over the whole chain and a fake InvenioRDM.

A case survives when nothing that we did not put there was overwritten or deleted: every file under `releases/` keeps
its bytes, every published record and every foreign draft stays as it was, and a version has one record.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.fakes.invenio import FakeInvenio
from d4c_pipeline_tests.fakes.invenio_state import Record, State
from d4c_pipeline_tests.support.inspection import tree
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES_URL, Origin, corrected, define, geojson
from d4c_pipeline_tests.support.steps import STEPS


@dataclass
class Desk:
    """A home that has published once, the source of its dataset, and the archive."""

    settings: Settings
    origin: Origin
    fake: FakeInvenio

    def run(self, settings: Settings | None = None) -> None:
        """Run the whole chain on a home, by default ours."""
        used = settings or self.settings
        dataset = load_datasets(used.definitions)["places"]
        with Deployment.open(used) as opened:
            for step in STEPS.values():
                step(opened, dataset, Vintage.parse("2021"))

    def change_the_source(self, days: int, content: bytes) -> None:
        self.origin.put(PLACES_URL, content, DAY + timedelta(days=days))

    def newest(self) -> Record:
        return max(self.fake.state.published(), key=lambda one: one.index)


def _lost_ledger(desk: Desk) -> None:
    for path in desk.settings.home.glob("ledger.sqlite*"):
        path.unlink()
    desk.change_the_source(1, corrected())


def _restored_ledger(desk: Desk) -> None:
    backup = desk.settings.home.with_name("backup")
    backup.mkdir()
    for path in desk.settings.home.glob("ledger.sqlite*"):
        shutil.copy(path, backup / path.name)
    desk.change_the_source(1, corrected())
    desk.run()
    for path in desk.settings.home.glob("ledger.sqlite*"):
        path.unlink()
    for path in backup.iterdir():
        shutil.copy(path, desk.settings.home / path.name)
    desk.change_the_source(2, geojson([(9, "Oka", 3000, -74.0, 45.5)]))


def _second_home(desk: Desk) -> None:
    other = desk.settings.home.with_name("other")
    other.mkdir()
    (other / "store").symlink_to(desk.settings.home / "store")
    desk.change_the_source(1, corrected())
    try:  # it publishes into an archive of its own, and names our store
        desk.run(desk.settings.model_copy(update={"home": other, "archive": "local", "archive_url": None}))
    except D4CError:
        return
    raise AssertionError("the second home published")


def _edited_draft(desk: Desk) -> None:
    state = desk.fake.state
    state.answer("POST", f"/records/{desk.newest().id}/versions", {}, "1", None, None, "")
    (draft,) = state.drafts()
    draft.metadata["description"] = "<p>Ana is working on this by hand.</p>"
    desk.change_the_source(1, corrected())


def _edited_record(desk: Desk) -> None:
    desk.newest().metadata["funding"] = [{"funder": {"name": "SSHRC"}}]
    desk.change_the_source(1, corrected())


CASES: dict[str, Callable[[Desk], None]] = {
    "lost ledger": _lost_ledger,
    "restored older ledger": _restored_ledger,
    "second home on the same store": _second_home,
    "draft edited by hand": _edited_draft,
    "record edited by a curator": _edited_record,
}


def try_hand(name: str, folder: Path, fake: FakeInvenio) -> str | None:
    """Let a case happen after a first publication, run the chain again, and return what is wrong then, if anything."""
    fake.restore(State())
    with _desk(Path(tempfile.mkdtemp(dir=folder)), fake) as desk:
        desk.run()
        CASES[name](desk)
        store = desk.settings.home / "store"
        files, records = _immutable(store), _said(desk)
        refused = ""
        for _ in range(2):
            try:
                desk.run()
            except D4CError as error:
                refused = str(error)
        wrong = [address for address, sha256 in files.items() if _immutable(store).get(address) != sha256]
        wrong += [key for key, one in records.items() if _said(desk).get(key) != one]
        versions = [one.metadata.get("version") for one in fake.state.published()]
        if len(set(versions)) < len(versions) or len({one.parent for one in fake.state.published()}) > 1:
            wrong.append(f"versions {versions}")
        if (name == "draft edited by hand") != ("foreign draft" in refused):
            wrong.append(refused or "nobody was told")
        if name == "record edited by a curator" and desk.newest().metadata.get("funding") is None:
            wrong.append("the curator's addition is not in the next version")
        return f"{name}: {'; '.join(map(str, wrong))}" if wrong else None


def _immutable(store: Path) -> dict[str, str]:
    return {address: sha256 for address, sha256 in tree(store).items() if address.startswith("releases/")}


def _said(desk: Desk) -> dict[str, Any]:
    """Every record, and every draft: what they say and hold."""
    return {key: deepcopy((one.metadata, sorted(one.files))) for key, one in desk.fake.state.records.items()}


@contextmanager
def _desk(folder: Path, fake: FakeInvenio) -> Iterator[Desk]:
    from d4c_pipeline_tests.support.ports import free_port

    policy = {"policy": "automatic", "first_release": "automatic"}
    define(folder / "definitions", license="cc-by-4.0", publication=policy)
    origin = Origin(folder / "origin")
    origin.host(HOST)
    origin.put(PLACES_URL, geojson())
    settings = Settings(
        home=folder / "home",
        definitions=(folder / "definitions",),
        origins=origin.origins,
        port=free_port(),
        archive="invenio",
        archive_url=fake.url,
        archive_test=True,
    )
    try:
        yield Desk(settings, origin, fake)
    finally:
        origin.close()
