"""What tests of retention share: three releases in a store with two mirrors, of which `west` may be a bucket.

The bucket is moto's, or one at the real S3 server of D4C_S3_URL.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from d4c_pipeline.files.hashing import hash_file
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.stores import read_stores
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.port import is_immutable
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.upkeep import retention
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import DAY, HOST, PLACES, PLACES_URL, Origin, declared, define, geojson

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


@pytest.fixture(params=["folder", "moto", pytest.param("real", marks=pytest.mark.s3)])
def west(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any] | None:
    """How the mirror `west` is declared where it is a bucket of its own."""
    if request.param == "folder":
        return None
    if request.param == "moto":
        url, key, secret = request.getfixturevalue("moto").url, "testkey", "testsecret"
    else:
        url, key, secret = request.getfixturevalue("s3_lane")
    monkeypatch.setenv("WEST_KEY", key)
    monkeypatch.setenv("WEST_SECRET", secret)
    place = {"kind": "s3", "bucket": f"retention-{uuid.uuid4().hex}", "prefix": "d4c", "endpoint": url}
    keys = {"access_key_env": "WEST_KEY", "secret_key_env": "WEST_SECRET"}
    return {"name": "west", "url": WEST, "addressing": "path", **place, **keys}


@pytest.fixture
def mirrored(thrice: Chain, west: dict[str, Any] | None, tmp_path: Path) -> Iterator[Chain]:
    """A home of its own with those three releases, and a definition of its own."""
    home = tmp_path / "home"
    shutil.copytree(thrice.home, home)
    define(tmp_path / "definitions")
    if west is not None:
        declared_stores = yaml.safe_load((home / "stores.yaml").read_text("utf-8"))
        declared_stores["mirrors"][0] = west
        (home / "stores.yaml").write_text(yaml.safe_dump(declared_stores), "utf-8")
    settings = thrice.settings.model_copy(
        update={
            "home": home,
            "definitions": (tmp_path / "definitions",),
            "stores": read_stores(home / "stores.yaml"),
        }
    )
    with Deployment.open(settings) as opened:
        bucket = mirror_of(opened, "west")
        if isinstance(bucket, S3Store):
            bucket.bucket.client().create_bucket(Bucket=bucket.bucket.name)
            fill(bucket, home / "west")
        yield Chain(settings, thrice.origin, opened)


def mirror_of(opened: Deployment, name: str) -> FolderStore | S3Store:
    found = next(store for store in opened.stores if store.name == name)
    assert isinstance(found, FolderStore | S3Store)
    return found


def fill(bucket: S3Store, folder: Path) -> None:
    """Move what lies in a folder into a bucket."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        address = str(path.relative_to(folder))
        if is_immutable(address):
            bucket.put_immutable(path, address, hash_file(path))
        else:
            bucket.replace(path, address)
    shutil.rmtree(folder)


def declare(chain: Chain, **kept: Any) -> None:
    """Have the definition say what each mirror keeps."""
    define(chain.settings.definitions[0], publication={**declared()["publication"], "retention": kept})


def keep(chain: Chain, **how: Any) -> list[tuple[str, str, str]]:
    """What is done: version, mirror, deed."""
    done = retention.apply(chain.opened, [chain.dataset], **how)
    assert all(bool(one.reason) == (one.action in ("held back", "missed")) for one in done)
    return [(one.release.rpartition("_v")[2], one.mirror, one.action) for one in done]


def releases(chain: Chain) -> dict[str, Release]:
    return {str(release.version): release for release in chain.opened.ledger.releases.published("places")}


def on(home: Path, mirror: str) -> dict[str, int]:
    """The versions of which files lie in a folder's store, with the numbers of files."""
    root = (home / mirror if mirror != "primary" else home / "store") / "releases" / "places" / "2021"
    found = {folder.name[1:]: len(list(folder.iterdir())) for folder in root.iterdir()}
    return {version: files for version, files in sorted(found.items()) if files}


def on_west(chain: Chain) -> dict[str, int]:
    """The same of the mirror `west`, whatever it is."""
    west = mirror_of(chain.opened, "west")
    if isinstance(west, FolderStore):
        return on(chain.home, "west")
    pages = (
        west.bucket.client()
        .get_paginator("list_objects_v2")
        .paginate(Bucket=west.bucket.name, Prefix=west.bucket.key("releases/places/2021/"))
    )
    keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
    return dict(sorted(Counter(key.split("/")[-2][1:] for key in keys).items()))


def named(home: Path, version: str) -> set[str]:
    """The mirrors that the catalogue names for the files of a release."""
    item = json.loads((home / "store" / "catalogue" / "places" / "2021" / f"{version}.json").read_text("utf-8"))
    alternates = [asset.get("alternate", {}) for asset in item["assets"].values()]
    urls = {other["href"] for each in alternates for key, other in each.items() if key.startswith("mirror")}
    assert all(f"/releases/places/2021/v{version}/" in url for url in urls)
    return {url.split("/")[3] for url in urls}
