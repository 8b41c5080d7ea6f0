"""The zip of the code: the same bytes wherever it is made, and nothing of other datasets, caches or machines in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import pytest

from d4c_pipeline.files import stable_zip
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.model.sources import FolderSource
from d4c_pipeline.workspace import code_archive as module
from d4c_pipeline.workspace.code_archive import code_archive, definition_digest
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.provenance import lock_file, package_folder

DATASET = load_datasets([])["natural_earth_countries"]


def names(content: bytes) -> list[str]:
    return ZipFile(BytesIO(content)).namelist()


def test_it_holds_the_package_this_definition_and_the_lock() -> None:
    found = names(code_archive(DATASET))
    assert found == sorted(found)
    assert {
        "d4c_pipeline/workspace/code_archive.py",
        "d4c_pipeline/defs/natural_earth_countries/defs.yaml",
        "d4c_pipeline/defs/natural_earth_countries/transform.sql",
        "requirements.lock",
    } <= set(found)
    assert [name for name in found if name.startswith("d4c_pipeline/defs/geonames")] == []
    assert [name for name in found if "__pycache__" in name or name.endswith(".pyc")] == []


def test_another_place_times_modes_and_a_wheel_s_layout_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = code_archive(DATASET)
    package = tmp_path / "site-packages" / "d4c_pipeline"
    shutil.copytree(package_folder(), package, ignore=shutil.ignore_patterns("__pycache__"))
    lock = lock_file()
    assert lock is not None
    shutil.copy(lock, package / "requirements.lock")
    shutil.copy(package_folder().parent / "dagster.yaml", package / "orchestration" / "dagster.yaml")
    (package / "chain" / "__pycache__").mkdir()
    (package / "chain" / "__pycache__" / "x.pyc").write_bytes(b"x")
    (package / "chain" / "deposit.py~").write_bytes(b"an editor's")
    for path in package.rglob("*.py"):
        path.chmod(0o600)
        os.utime(path, (0, 0))
    monkeypatch.setattr(module, "package_folder", lambda: package)
    monkeypatch.setattr(module, "lock_file", lambda: package / "requirements.lock")
    monkeypatch.setenv("TZ", "Asia/Tokyo")

    assert code_archive(DATASET) == here


def test_a_definition_of_one_s_own_lies_where_shipped_ones_do(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / ".ipynb_checkpoints" / "x.ipynb").write_text("{}")
    (folder / "defs.yaml").write_text("mine")
    found = names(code_archive(DATASET.model_copy(update={"id": "mine", "folder": folder})))
    assert [name for name in found if name.startswith("d4c_pipeline/defs/mine/")] == [
        "d4c_pipeline/defs/mine/defs.yaml"
    ]


def own(folder: Path, **files: str) -> Dataset:
    folder.mkdir()
    for name, text in {"defs.yaml": "mine", **files}.items():
        (folder / name).write_text(text, "utf-8")
    processing = DATASET.processing.model_copy(update={"sql": "transform.sql"})
    return DATASET.model_copy(update={"id": "mine", "folder": folder, "processing": processing})


def test_only_the_definition_and_what_it_names_is_published(tmp_path: Path) -> None:
    others = ("token.txt", "id_rsa", "notes.sql", ".env", "transform.sql.bak")
    dataset = own(tmp_path / "mine", **{"transform.sql": "SELECT 1"}, **dict.fromkeys(others, "x"))
    (tmp_path / "mine" / "secrets").mkdir()
    (tmp_path / "mine" / "secrets" / "a.sql").write_text("x", "utf-8")
    found = [name for name in names(code_archive(dataset)) if "/defs/mine/" in name]
    assert found == ["d4c_pipeline/defs/mine/defs.yaml", "d4c_pipeline/defs/mine/transform.sql"]


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_followed(tmp_path: Path) -> None:
    dataset = own(tmp_path / "mine", **{"real.sql": "SELECT 1"})
    (tmp_path / "outside.sql").write_text("the operator's own", "utf-8")
    link = tmp_path / "mine" / "transform.sql"
    link.symlink_to(tmp_path / "outside.sql")
    with pytest.raises(DefinitionError, match=r"transform\.sql is a link that leads out of the dataset's folder"):
        code_archive(dataset)
    link.unlink()
    link.symlink_to("real.sql")
    assert ZipFile(BytesIO(code_archive(dataset))).read("d4c_pipeline/defs/mine/transform.sql") == b"SELECT 1"
    # The folder of definitions itself may be reached by a link.
    (tmp_path / "linked").symlink_to(tmp_path / "mine")
    assert code_archive(dataset.model_copy(update={"folder": tmp_path / "linked"})) == code_archive(dataset)


@pytest.mark.parametrize("name", ["defs.yaml", "transform.sql"])
def test_a_key_in_a_file_is_refused_with_its_line_and_not_repeated(tmp_path: Path, name: str) -> None:
    key = "ghp_" + "a1B2" * 9
    files = {"transform.sql": "SELECT 1", name: f"one\n-- {key}\n"}
    with pytest.raises(DefinitionError, match=rf"{name}:2 holds a GitHub token") as caught:
        code_archive(own(tmp_path / "mine", **files))
    assert key not in str(caught.value)


def test_where_an_operator_s_disks_lie_is_not_published(tmp_path: Path) -> None:
    text = "source: {kind: folder, path: '/srv/ana/drop/{vintage}'}"
    dataset = own(tmp_path / "mine", **{"defs.yaml": text, "transform.sql": "SELECT 1"})
    source = FolderSource(kind="folder", path="/srv/ana/drop/{vintage}")
    packed = ZipFile(BytesIO(code_archive(dataset.model_copy(update={"source": source}))))
    assert packed.read("d4c_pipeline/defs/mine/defs.yaml").decode() == text.replace(
        "/srv/ana/drop/", "/folder-of-the-operator/"
    )


def test_the_digest_is_that_of_what_is_published() -> None:
    assert definition_digest(DATASET) == definition_digest(DATASET.model_copy(update={"folder": Path("/elsewhere")}))
    other = DATASET.model_copy(update={"license": "cc0-1.0"})
    assert definition_digest(other) != definition_digest(DATASET)
    reviewed = DATASET.publication.model_copy(update={"policy": "review"})
    assert definition_digest(DATASET.model_copy(update={"publication": reviewed})) == definition_digest(DATASET)


def test_a_process_reads_and_packs_the_package_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = code_archive(DATASET)
    packed = stable_zip._deflate.cache_info().misses

    def fail(_folder: Path) -> Iterator[tuple[str, Path]]:
        raise AssertionError("read again")

    monkeypatch.setattr(module, "_package", fail)
    assert code_archive(DATASET) == first
    assert stable_zip._deflate.cache_info().misses == packed
