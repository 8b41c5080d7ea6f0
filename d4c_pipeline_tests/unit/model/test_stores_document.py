"""The document of stores: what it may say, what it refuses, and that no secret of it is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings, store_root
from d4c_pipeline.model.stores import FolderPlace, S3Place, Stores, read_stores
from d4c_pipeline.stores.folder import FolderStore
from d4c_pipeline.stores.s3 import S3Store
from d4c_pipeline.workspace.stores import opened_stores

BUCKET = """
primary:
  kind: s3
  url: https://data.example.ca/
  bucket: open-data
  prefix: d4c
  endpoint: https://s3.example.ca
  region: ca-east
  addressing: path
  access_key_env: DATA_KEY
  secret_key_file: secrets/data
"""
MIRROR = "mirrors: [{name: attic, kind: folder, path: attic, url: 'https://attic.example.ca'}]\n"


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "stores.yaml"
    file.write_text(text, "utf-8")
    return file


def settings_of(tmp_path: Path, text: str, **more: str) -> Settings:
    return Settings.from_environment({"D4C_HOME": str(tmp_path), "D4C_STORES": str(write(tmp_path, text)), **more})


def test_a_primary_in_a_bucket_and_a_mirror_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_KEY", "a key\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "data").write_text("a secret\n", "utf-8")

    settings = settings_of(tmp_path, BUCKET + MIRROR)
    primary, mirror = opened_stores(settings)

    assert settings.store_url == "https://data.example.ca"
    assert store_root(settings) is None
    assert isinstance(primary, S3Store)
    assert (primary.name, primary.url("raw/x")) == ("primary", "https://data.example.ca/raw/x")
    bucket = primary.bucket
    assert (bucket.name, bucket.prefix, bucket.endpoint) == ("open-data", "d4c", "https://s3.example.ca")
    assert (bucket.region, bucket.addressing) == ("ca-east", "path")
    assert (bucket.access_key, bucket.secret_key) == ("a key", "a secret")
    assert isinstance(mirror, FolderStore)
    assert (mirror.name, mirror.root, mirror.url("raw/x")) == (
        "attic",
        tmp_path / "attic",
        "https://attic.example.ca/raw/x",
    )
    assert "a secret" not in f"{settings!r} {primary!r} {bucket!r} {settings.stores.model_dump_json()}"


def test_without_a_document_the_primary_is_a_folder_of_the_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port=8001)
    (primary,) = opened_stores(settings)
    assert isinstance(primary, FolderStore)
    assert (primary.root, primary.name, primary.base_url) == (tmp_path / "store", "primary", "http://127.0.0.1:8001")


def test_mirrors_alone_leave_the_primary_where_it_was(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, MIRROR, D4C_STORE_URL="https://here.example.ca")
    primary, mirror = opened_stores(settings)
    assert isinstance(primary, FolderStore)
    assert (primary.root, primary.base_url, mirror.name) == (tmp_path / "store", "https://here.example.ca", "attic")


def test_a_primary_folder_of_ones_own_is_what_d4c_serve_serves(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "primary: {kind: folder, path: disk/d4c}\n")
    assert store_root(settings) == tmp_path / "disk" / "d4c"
    assert settings.store_url is None


def test_an_empty_document_changes_nothing(tmp_path: Path) -> None:
    assert settings_of(tmp_path, "# nothing yet\n").stores == Stores()


def test_two_public_addresses_of_the_primary_are_refused(tmp_path: Path) -> None:
    said = r"D4C_STORE_URL is 'https://other.ca', but the document of stores says .* https://data.example.ca. Leave"
    with pytest.raises(PermanentError, match=said):
        settings_of(tmp_path, BUCKET, D4C_STORE_URL="https://other.ca")
    assert settings_of(tmp_path, BUCKET, D4C_STORE_URL="https://data.example.ca/").store_url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("primary: {kind: ftp}\n", "primary.kind: write folder or s3"),
        ("primary: {path: x}\n", "primary.kind: write folder or s3"),
        ("primary: {kind: s3, url: 'https://x'}\n", "primary.bucket: Field required"),
        ("primary: {kind: s3, bucket: abc}\n", "primary: url is missing"),
        ("primary: {kind: s3, bucket: abc, url: x}\n", r"primary.url: 'x' is not an http\(s\) address"),
        (
            "primary: {kind: s3, bucket: abc, url: 'https://u:hunter2@x'}\n",
            "primary.url: no user or password stands in",
        ),
        ("primary: {kind: s3, bucket: abc, url: 'https://x', prefix: /d4c}\n", "primary.prefix: write it without"),
        (
            "primary: {kind: s3, bucket: abc, url: 'https://x', secret_key: hunter2}\n",
            "primary.secret_key: no secret stands here: write secret_key_env or secret_key_file",
        ),
        (
            "primary: {kind: s3, bucket: abc, url: 'https://x', secret_key_env: K}\n",
            "primary: access_key and secret_key are wanted both",
        ),
        (
            "primary: {kind: s3, bucket: abc, url: 'https://x', access_key_env: K, access_key_file: F}\n",
            "primary: write access_key_env or access_key_file, not both",
        ),
        ("mirrors: [{kind: folder, path: a, url: 'https://x'}]\n", "mirrors: a mirror has no name"),
        ("mirrors: [{name: a, kind: folder, path: a}]\n", "mirrors: the mirror a has no url"),
        ("mirrors: [{name: A B, kind: folder, path: a, url: 'https://x'}]\n", "mirrors.0.name: 'A B' is not a name"),
        (
            "mirrors: [{name: primary, kind: folder, path: a, url: 'https://x'}]\n",
            "the document: two stores have the name primary",
        ),
        (
            "mirrors: [&a {name: a, kind: folder, path: a, url: 'https://x'}, {<<: *a, name: b, url: 'https://x/'}]\n",
            "the document: two stores have the url https://x",
        ),
        ("mirror: []\n", "mirror: Extra inputs are not permitted"),
        ("- a\n", "the document: Input should be a valid dictionary"),
        ("a: [\n", "stores.yaml is not YAML, line 2"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(PermanentError, match=said) as caught:
        read_stores(write(tmp_path, text))
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert "docs/stores.md" in caught.value.remedy


def test_a_document_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match=r"nowhere.yaml \(D4C_STORES\) can't be read: No such file"):
        Settings.from_environment({"D4C_STORES": str(tmp_path / "nowhere.yaml")})


def test_a_secret_that_is_not_where_it_should_be(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n", "utf-8")
    place = S3Place(kind="s3", bucket="abc", access_key_env="NO_KEY", secret_key_file=tmp_path / "empty", name="r2")
    with pytest.raises(PermanentError, match=r"Store r2 has its access_key in the variable NO_KEY, which is empty"):
        place.secret("access_key", {})
    with pytest.raises(PermanentError, match=r"its secret_key in the file .*empty, which is empty or not set"):
        place.secret("secret_key", {})
    (tmp_path / "empty").unlink()
    with pytest.raises(PermanentError, match=r"\(secret_key_file of store r2\) can't be read"):
        place.secret("secret_key", {})
    assert FolderPlace(kind="folder", path=tmp_path).name == "primary"
