"""The documents that a rebuild keeps in stores: few requests, all links alive, nothing stale, every crash survived."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from sqlalchemy import update

from d4c_pipeline.catalogue import dcat_pages, feeds, row_groups
from d4c_pipeline.chain import catalogue, latest, versions
from d4c_pipeline.ledger import schema
from d4c_pipeline.metadata.records import linkset, registry
from d4c_pipeline.model.addresses import RECORD_PARTS
from d4c_pipeline.model.errors import PermanentError, StorageError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.upkeep import reissue
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.catalogued import ROLLING, engine_of, fill, publish
from d4c_pipeline_tests.support.inspection import tree

BASE = "https://data.example.ca"
_METHODS = ("replace", "share", "put_immutable", "stat", "facts", "open", "read_bytes", "move", "delete", "verify")


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployment]:
    """A public deployment with 50 published releases: two datasets of editions and a rolling one."""
    monkeypatch.setattr(row_groups, "GROUP_ROWS", 20)
    with Deployment.open(Settings(home=tmp_path / "home", store_url=BASE), archive=False) as opened:
        fill(opened.ledger, 50, rolling=10)
        yield opened


@pytest.fixture
def requests(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests to the deployment's stores: the method for each file.

    An index of another test's catalogue looks at its own store in the same process, twice every few seconds.
    """
    calls: list[str] = []
    home = deployment.settings.home

    def counted(name: str) -> Any:
        method = getattr(FolderStore, name)

        def call(store: FolderStore, *arguments: Any, **options: Any) -> Any:
            if store.root.is_relative_to(home):
                calls.extend([name] * (len(arguments[0]) if name == "replace_many" else 1))
            return method(store, *arguments, **options)

        return call

    for name in (*_METHODS, "replace_many"):
        monkeypatch.setattr(FolderStore, name, counted(name))
    return calls


def files(deployment: Deployment) -> dict[str, str]:
    found = tree(deployment.settings.home / "store")
    return {path: content for path, content in found.items() if not path.startswith(("snapshots/", "torrents/"))}


def rebuilt(deployment: Deployment) -> dict[str, str]:
    deployment.ledger.catalogue.forget_form()
    catalogue.rebuild(deployment)
    return files(deployment)


def read(deployment: Deployment, address: str) -> Any:
    return json.loads(deployment.primary.read_bytes(address))


def test_one_release_more_takes_at_most_40_requests_even_where_pages_are_full_or_cut(
    deployment: Deployment, requests: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAGE", 10)
    monkeypatch.setattr(feeds, "ARCHIVED", 5)
    catalogue.rebuild(deployment)
    counts: dict[str, int] = {}

    def counted(case: str) -> None:
        requests.clear()
        catalogue.rebuild(deployment)
        counts[case] = len(requests)

    # 51 to 56 releases of all, 21 to 26 of the dataset: pages of both archives fill at the same time.
    for number in range(51, 57):
        publish(deployment.ledger, number, "set_000001", "2021", f"1.{number}.0")
        counted(f"series {number}")
    archived = re.compile(r"set_000001/releases\.(..)\.(\d+)\.atom$")
    pages = {match.groups() for path in files(deployment) if (match := archived.search(path))}
    assert pages == {(language, str(page)) for language in ("en", "fr") for page in range(5)}
    for number in (57, 58, 59, 60):
        publish(deployment.ledger, number, ROLLING, f"1990-02-{number - 50:02}", "1.0.0")
        counted(f"rolling {number}")
    publish(deployment.ledger, 61, "set_000000", "2021", "1.61.0")
    counted("in parts")
    numbers = iter(range(62, 99))
    # The first release of all is one that fills a page of the archive of all.
    for kind, name in _new_datasets().items():
        while deployment.ledger.announcements.published() % 5 != 4:
            publish(deployment.ledger, number := next(numbers), "set_000000", "2021", f"1.{number}.0")
        catalogue.rebuild(deployment)
        publish(deployment.ledger, next(numbers), name, "2021", "1.0.0")
        counted(f"new {kind}")
    assert rebuilt(deployment) == files(deployment)
    (listed,) = deployment.ledger.catalogue.listed(["set_000001"])
    newest = max(listed, key=lambda entry: entry.published_at)
    with engine_of(deployment.ledger).begin() as connection:
        withdrawn = {"withdrawn_at": datetime(2026, 12, 1, tzinfo=UTC), "withdrawn_reason": "Wrong rows"}
        connection.execute(update(schema.release).where(schema.release.c.id == newest.id).values(**withdrawn))
        catalogue_change(connection, newest.id)
    counted("withdrawn")
    assert {case: count for case, count in counts.items() if count > 40} == {}


def _new_datasets() -> dict[str | None, str]:
    """Return an id between two others for each kind of page that it begins, and for none."""
    names = (f"set_000000_{number}" for number in range(200))
    return {dcat_pages.begins_page(name): name for name in names}


def test_a_full_page_of_an_archive_is_never_put_again(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "PAGE", 10)
    monkeypatch.setattr(feeds, "ARCHIVED", 5)
    catalogue.rebuild(deployment)
    pages = {path: content for path, content in files(deployment).items() if re.search(r"\.\d+\.atom$", path)}
    assert len(pages) > 20
    publish(deployment.ledger, 51, "set_000000", "2021", "1.9.0")
    publish(deployment.ledger, 52, "zebra", "2021", "1.0.0")
    catalogue.rebuild(deployment)
    after = files(deployment)
    assert {path: after[path] for path in pages} == pages


def test_every_link_leads_to_a_document(deployment: Deployment) -> None:
    catalogue.rebuild(deployment)
    store = deployment.settings.home / "store"
    known = {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}
    linked: set[str] = set()
    for path in sorted(known):
        if not path.startswith(("catalogue/", "llms", "sitemap")) or path.endswith(".parquet"):
            continue
        text = (store / path).read_text()
        linked |= {unquote(found) for found in re.findall(rf"{BASE}/([^\s\"'<>)#\]\\]*)", text)}
        if path.endswith("json") and "stac_version" in text[:4000]:
            for link in json.loads(text)["links"]:
                if not urlsplit(link["href"]).scheme:
                    linked.add(posixpath.normpath(posixpath.join(posixpath.dirname(path), link["href"])))
    # The files of releases are not in this test's store.
    missing = {each for each in linked - known if not each.startswith(("releases/", "torrents/"))}
    assert missing == set()
    item = read(deployment, "catalogue/set_000001/2021/1.3.0.json")
    by_relation: dict[str, set[str]] = {}
    for link in item["links"]:
        by_relation.setdefault(link["rel"], set()).add(link["href"])
    assert by_relation["alternate"] == {
        f"./1.3.0/{name}" for name in ("croissant.json", "ro-crate-metadata.json", "schema.jsonld", "schema.fr.jsonld")
    }
    assert "./1.3.0/linkset.json" in by_relation["describedby"]
    collection = read(deployment, "catalogue/set_000001/collection.json")
    assert "./versions.json" in {link["href"] for link in collection["links"] if link["rel"] == "alternate"}
    root = read(deployment, "catalogue/catalog.json")
    assert {"./dcat.jsonld", "./releases.fr.atom"} <= {link["href"] for link in root["links"]}


def _without_item(deployment: Deployment, number: int) -> dict[str, Any]:
    """Take the item of a release away, so that its dataset can't be catalogued; return the item."""
    table = schema.stac_item
    with engine_of(deployment.ledger).begin() as connection:
        item = connection.execute(table.select().where(table.c.release_id == number)).mappings().one()
        connection.execute(table.delete().where(table.c.release_id == number))
    return dict(item)


def test_the_documents_of_a_dataset_that_is_left_out_go_and_those_of_others_stay(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAGE", 40)
    monkeypatch.setattr(feeds, "ARCHIVED", 20)
    catalogue.rebuild(deployment)
    before = files(deployment)
    foreign = deployment.settings.home / "store" / "catalogue" / "set_000001" / "notes.txt"
    foreign.write_text("an operator's own file")
    released = deployment.settings.home / "store" / "releases" / "set_000001" / "2021" / "v1.3.0" / "data.parquet"
    released.parent.mkdir(parents=True)
    released.write_text("data")
    item = _without_item(deployment, 50)
    publish(deployment.ledger, 51, "set_000000", "2021", "1.9.0")
    with engine_of(deployment.ledger).begin() as connection:
        catalogue_change(connection, 50)
    done = catalogue.rebuild(deployment)
    assert [entry.dataset for entry in done.left_out] == ["set_000001"]
    after = files(deployment)
    assert {path for path in after if "set_000001" in path} == {
        "catalogue/set_000001/notes.txt",
        "releases/set_000001/2021/v1.3.0/data.parquet",
    }
    assert {path for path in before if "set_000000" in path} <= after.keys()
    for path in after:
        if path.startswith(("catalogue/", "llms", "sitemap")) and not path.endswith("notes.txt"):
            assert b"set_000001" not in (deployment.settings.home / "store" / path).read_bytes(), path
    assert rebuilt(deployment) == after
    with engine_of(deployment.ledger).begin() as connection:
        connection.execute(schema.stac_item.insert().values(**item))
    assert catalogue.rebuild(deployment).left_out == ()
    assert {path for path in before if not path.startswith(RECORD_PARTS)} <= files(deployment).keys()


def catalogue_change(connection: Any, number: int) -> None:
    connection.execute(schema.catalogue_change.insert().values(release_id=number, mark=1))


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("returns", [True, False], ids=["which returns", "which stays away"])
def test_a_rebuild_killed_while_it_removes_a_dataset_leaves_neither_orphans_nor_marks(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, moment: str, returns: bool
) -> None:
    catalogue.rebuild(deployment)
    before, state = files(deployment), deployment.ledger.catalogue
    item = _without_item(deployment, 50)
    with engine_of(deployment.ledger).begin() as connection:
        catalogue_change(connection, 50)
    deleting = FolderStore.delete

    def killed(store: FolderStore, *addresses: str) -> None:
        if not any("set_000001" in address for address in addresses):
            return deleting(store, *addresses)
        if moment == "after":
            deleting(store, *addresses)
        raise RuntimeError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "delete", killed)
        with pytest.raises(RuntimeError, match="killed"):
            catalogue.rebuild(deployment)
    marked = state.documents("primary", before)
    assert {address for address, sha256 in marked.items() if sha256 and "set_000001" in address} == set()
    if returns:
        with engine_of(deployment.ledger).begin() as connection:
            connection.execute(schema.stac_item.insert().values(**item))
    catalogue.rebuild(deployment)
    after = {path for path in files(deployment) if "set_000001" in path}
    assert after == ({path for path in before if "set_000001" in path} if returns else set())
    assert state.documents_under("primary", "catalogue/set_000001") == {
        path for path in after if path.startswith("catalogue/")
    }


def test_a_release_whose_records_cant_be_made_is_catalogued_without_them(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue.rebuild(deployment)
    before = files(deployment)

    def refuse(published: Any) -> bytes:
        if (published.dataset, str(published.version)) == ("set_000001", "1.3.0"):
            raise PermanentError("A fact does not fit", "Correct it")
        return linkset.FORMATS[0].render(published)

    forms = tuple(
        replace(form, render=refuse) if form.name == "linkset" else form for form in registry.static_formats()
    )
    monkeypatch.setattr(registry, "static_formats", lambda: forms)
    with engine_of(deployment.ledger).begin() as connection:
        for number, _ in _numbers(deployment, "set_000001", "1.3.0"):
            catalogue_change(connection, number)
    done = catalogue.rebuild(deployment)
    assert {(each.dataset, each.cause) for each in done.without_records} == {("set_000001", "A fact does not fit")}
    assert done.left_out == ()
    after = files(deployment)
    gone = {path for path in before.keys() - after.keys() if not path.startswith(RECORD_PARTS)}
    assert gone == {path for path in before if "/1.3.0/" in path and "set_000001" in path}
    item = read(deployment, "catalogue/set_000001/2021/1.3.0.json")
    assert not {"describedby", "alternate"} & {link["rel"] for link in item["links"]}
    sitemaps = b"".join(
        (deployment.settings.home / "store" / path).read_bytes() for path in after if "sitemap-pages" in path
    )
    assert b"set_000001/2021/1.3.0/" not in sitemaps
    assert catalogue.rebuild(deployment).without_records == done.without_records  # it stays reported
    assert rebuilt(deployment) == after


def _numbers(deployment: Deployment, dataset: str, version: str) -> list[tuple[int, str]]:
    (listed,) = deployment.ledger.catalogue.listed([dataset])
    return [(entry.id, entry.name) for entry in listed if str(entry.version) == version]


def test_a_vintage_in_the_future_becomes_the_newest_when_it_is_due(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [datetime(2026, 12, 1, tzinfo=UTC)]
    monkeypatch.setattr(versions, "present", lambda: now[0])
    declared = deployment.ledger.declarations.of(ROLLING)
    assert declared is not None
    discovered = declared.model_copy(update={"vintages": "discovered"})
    publish(deployment.ledger, 51, ROLLING, "2026-12-24", "1.0.0")

    def newest() -> str:
        return read(deployment, f"catalogue/{ROLLING}/latest.json")["properties"]["vintage"]

    catalogue.rebuild(deployment, [discovered])
    assert newest() == "1990-01-10"
    now[0] = datetime(2026, 12, 23, 23, tzinfo=UTC)
    catalogue.rebuild(deployment)
    assert newest() == "1990-01-10"
    now[0] = datetime(2026, 12, 24, 0, 1, tzinfo=UTC)
    catalogue.rebuild(deployment)
    assert newest() == "2026-12-24"
    first = read(deployment, f"catalogue/{ROLLING}/1990-01-01/1.0.0.json")
    assert "predecessor-version" not in {link["rel"] for link in first["links"]}
    grown = files(deployment)
    assert rebuilt(deployment) == grown


def test_the_daily_check_switches_a_vintage_that_became_due(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [datetime(2026, 12, 23, 23, tzinfo=UTC)]
    switched: list[tuple[str, str]] = []
    monkeypatch.setattr(versions, "present", lambda: now[0])
    monkeypatch.setattr(reissue, "reissue", lambda _: ())
    monkeypatch.setattr(latest, "switch", lambda _, dataset, vintage: switched.append((dataset.id, str(vintage))))
    declared = deployment.ledger.declarations.of(ROLLING)
    assert declared is not None
    publish(deployment.ledger, 51, ROLLING, "2026-12-24", "1.0.0")

    reissue.follow_copies(deployment, [declared.model_copy(update={"vintages": "discovered"})])
    assert switched == []
    now[0] = datetime(2026, 12, 24, 0, 1, tzinfo=UTC)
    reissue.follow_copies(deployment)
    reissue.follow_copies(deployment)  # once: the rebuild noted it
    assert switched == [(ROLLING, "2026-12-24")]
    assert read(deployment, f"catalogue/{ROLLING}/latest.json")["properties"]["vintage"] == "2026-12-24"


def test_backfills_and_redeclarations_end_in_the_bytes_of_a_rebuild(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAGE", 14)
    monkeypatch.setattr(feeds, "ARCHIVED", 7)
    catalogue.rebuild(deployment)
    publish(deployment.ledger, 51, "set_000000", "2003", "1.0.0")  # between two vintages
    publish(deployment.ledger, 52, ROLLING, "1989-01-01", "1.0.0")  # before all
    catalogue.rebuild(deployment)
    assert rebuilt(deployment) == (grown := files(deployment))
    datacite = read(deployment, "catalogue/set_000000/2006/1.0.0/datacite.json")
    continued = [each for each in datacite["relatedIdentifiers"] if each["relationType"] == "Continues"]
    assert [each["relatedIdentifier"] for each in continued] == ["10.5072/d4c.2001"]  # as in the archive's record
    declared = deployment.ledger.declarations.of("set_000001")
    assert declared is not None
    title = declared.title.model_copy(update={"en": "Renamed"})
    catalogue.rebuild(deployment, [declared.model_copy(update={"title": title, "keywords": declared.keywords})])
    assert read(deployment, "catalogue/set_000001/collection.json")["title"] == "Renamed"
    assert rebuilt(deployment) == (renamed := files(deployment))
    assert {path for path in renamed if renamed[path] != grown[path]} <= {
        "catalogue/catalog.json",
        "catalogue/set_000001/collection.json",
        "catalogue/set_000001/items.parquet",
        "llms.txt",
    }


def test_the_order_of_feeds_follows_the_publication_of_an_adopted_release(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "PAGE", 10)
    monkeypatch.setattr(feeds, "ARCHIVED", 5)
    catalogue.rebuild(deployment)
    publish(deployment.ledger, 51, "set_000001", "2021", "1.9.0")
    with engine_of(deployment.ledger).begin() as connection:
        early = datetime(2026, 1, 1, 0, 0, 7, 500_000, tzinfo=UTC)
        connection.execute(update(schema.release).where(schema.release.c.id == 51).values(published_at=early))
    catalogue.rebuild(deployment)
    grown = files(deployment)
    assert rebuilt(deployment) == grown
    page = (deployment.settings.home / "store" / "catalogue" / "releases.en.1.atom").read_text()
    assert "v1.9.0" in page


@pytest.mark.parametrize("after", range(0, 26, 5))
def test_a_death_between_two_files_leaves_nothing_behind(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    catalogue.rebuild(deployment)
    publish(deployment.ledger, 51, "set_000001", "2021", "1.9.0")
    publish(deployment.ledger, 52, "zebra", "2021", "1.0.0")
    done = [0]
    put_many, put = FolderStore.replace_many, FolderStore.replace

    def dying_many(store: FolderStore, contents: Mapping[str, bytes], _known: Any) -> dict[str, str | None]:
        for address, content in contents.items():
            dying(store, content, address)
        return {}

    def dying(store: FolderStore, source: Path | bytes, address: str, **options: Any) -> Any:
        done[0] += 1
        if done[0] > after:
            raise StorageError("The disk is full", "Free space")
        return put(store, source, address, **options)

    with monkeypatch.context() as patched:
        patched.setattr(FolderStore, "replace_many", dying_many)
        patched.setattr(FolderStore, "replace", dying)
        with pytest.raises(StorageError):
            catalogue.rebuild(deployment)
    assert FolderStore.replace_many is put_many
    store = deployment.settings.home / "store"
    root = read(deployment, "catalogue/catalog.json")
    for link in root["links"]:  # a reader in between finds every dataset that the root names
        assert (store / "catalogue" / link["href"].removeprefix(f"{BASE}/catalogue/")).exists()
    catalogue.rebuild(deployment)
    healed = files(deployment)
    assert "catalogue/zebra/2021/1.0.0/schema.jsonld" in healed
    assert rebuilt(deployment) == healed


def test_a_mirror_that_was_unreachable_gets_every_document_and_loses_the_stale_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mirror").mkdir()
    settings = Settings(home=tmp_path / "home", store_url=BASE)
    with Deployment.open(settings, archive=False) as opened:
        mirror = FolderStore(tmp_path / "mirror", "https://mirror.example.ca", name="mirror")
        deployment = replace(opened, stores=(*opened.stores, mirror))
        fill(deployment.ledger, 50, rolling=10)
        catalogue.rebuild(deployment)
        publish(deployment.ledger, 51, "set_000000x", "2021", "1.0.0")
        item = _without_item(deployment, 50)
        with engine_of(deployment.ledger).begin() as connection:
            catalogue_change(connection, 50)
        with monkeypatch.context() as patched:

            def unreachable(store: FolderStore, *arguments: Any, **options: Any) -> Any:
                if store.name == "mirror":
                    raise StorageError("The mirror is unreachable", "Wait")
                return replaced(store, *arguments, **options)

            replaced = FolderStore.replace_many
            patched.setattr(FolderStore, "replace_many", unreachable)
            catalogue.rebuild(replace(deployment))
        assert item
        again = replace(deployment)
        catalogue.rebuild(again)
        own, others = tree(settings.home / "store"), tree(tmp_path / "mirror")
        ours = {path: digest for path, digest in own.items() if path.startswith(("catalogue/", "llms", "sitemap"))}
        theirs = {path: digest for path, digest in others.items() if path.startswith(("catalogue/", "llms", "sitemap"))}
        assert theirs == ours
        assert not any("set_000001" in path for path in theirs)


def test_relative_links_of_a_store_without_an_address_resolve(tmp_path: Path) -> None:
    with Deployment.open(Settings(home=tmp_path / "home"), archive=False) as deployment:
        fill(deployment.ledger, 10)
        catalogue.rebuild(deployment)
        store = tmp_path / "home" / "store"
        document = json.loads((store / "catalogue/set_000000/2001/1.0.0/linkset.json").read_bytes())
        for described in document["linkset"][0]["describedby"]:
            path = urljoin("/catalogue/set_000000/2001/1.0.0/linkset.json", described["href"])
            assert (store / path.lstrip("/")).is_file(), path
        assert not (store / "sitemap.xml").exists()
        assert "catalogue/set_000000/README.md" in (store / "llms.txt").read_text()
