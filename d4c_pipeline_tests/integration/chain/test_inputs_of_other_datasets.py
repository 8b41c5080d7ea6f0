"""A dataset whose SQL or notebook reads the latest release of another one, through the whole chain."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from d4c_pipeline.commands.demo import serve
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.orchestration.publishing import publish_vintage
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline_tests.support.declarations import declaration, write_definition

HOST = "data.example.org"
CELL = (
    "import pyarrow.parquet as pq\\n"
    "stops = pq.read_table(inputs['stops']).to_pydict()\\n"
    "rows = pq.read_table(inputs['source'])\\n"
    "names = dict(zip(stops['id'], stops['name']))\\n"
    "rows = rows.append_column('name', [[names[str(i)] for i in rows['stop'].to_pylist()]])\\n"
    "pq.write_table(rows, f'{tables}/rows.parquet')"
)

PROCESSING: dict[str, dict[str, Any]] = {
    "stops": {"kind": "table", "key": ["id"]},
    "counts_sql": {"kind": "table", "sql": "transform.sql", "inputs": {"stops": "stops"}},
    "counts_notebook": {"kind": "table", "notebook": "transform.ipynb", "inputs": {"stops": "stops"}},
}
Publish = Callable[[str], dict[str, Any]]


def define(folder: Path, name: str, **fields: Any) -> None:
    source = {"kind": "http", "urls": [f"https://{HOST}/{name}.csv"]}
    write_definition(
        folder / name / "defs.yaml", declaration(name, source=source, processing=PROCESSING[name], **fields)
    )


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publish]:
    web = tmp_path / "web" / HOST
    web.mkdir(parents=True)
    (web / "stops.csv").write_text("id,name\n1,Montréal\n2,Iqaluit\n", "utf-8")
    for name in ("counts_sql", "counts_notebook"):
        (web / f"{name}.csv").write_text("stop,riders\n1,10\n2,20\n1,5\n", "utf-8")
    for name in PROCESSING:
        define(tmp_path / "defs", name)
    (tmp_path / "defs" / "counts_sql" / "transform.sql").write_text(
        "SELECT stops.name, sum(riders::INTEGER)::INTEGER AS riders FROM source JOIN stops ON stops.id = source.stop"
        " GROUP BY stops.name",
        "utf-8",
    )
    parameters = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "outputs": [], "execution_count": None}
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    notebook = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python", "language": "python"}},
        "cells": [
            {**parameters, "id": "a", "source": "inputs = {}\ntables = ''"},
            {**cell, "id": "b", "source": CELL.replace("\\n", "\n")},
        ],
    }
    (tmp_path / "defs" / "counts_notebook" / "transform.ipynb").write_text(json.dumps(notebook), "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("D4C_PORT", str(probe.getsockname()[1]))
    monkeypatch.setenv("D4C_DEFS", str(tmp_path / "defs"))
    monkeypatch.setenv("D4C_HOME", str(tmp_path / "home"))
    with serve(tmp_path / "web") as origins:
        monkeypatch.setenv("D4C_ORIGIN_MAP", ",".join(f"{old}={new}" for old, new in origins.items()))

        def run(name: str) -> dict[str, Any]:
            settings = Settings.from_environment()
            datasets = load_datasets(settings.definitions)
            return publish_vintage(settings, datasets[name], "2021", list(datasets.values()))

        yield run


def test_sql_reads_the_latest_release_of_another_dataset_and_the_manifest_names_it(publish: Publish) -> None:
    with pytest.raises(D4CError, match=r"which has no published release.*d4c publish stops"):
        publish("counts_sql")
    stops = publish("stops")

    counts = publish("counts_sql")

    assert pq.read_table(counts["path"]).to_pylist() == [
        {"name": "Iqaluit", "riders": 20},
        {"name": "Montréal", "riders": 15},
    ]
    manifest = json.loads((Path(counts["path"]).parent / "manifest.json").read_text("utf-8"))
    assert manifest["parameters"]["inputs"] == {"stops": {"release": stops["name"], "sha256": stops["sha256"]}}
    assert publish("counts_sql")["outcome"] == "unchanged"


def test_an_input_in_parts_is_read_as_one_by_sql_and_as_a_folder_by_a_notebook(
    publish: Publish, tmp_path: Path
) -> None:
    define(tmp_path / "defs", "stops", outputs={"partition": {"by": "name", "over": 0}})
    released = publish("stops")
    assert [file["part"] for file in released["files"]] == ["name-iqaluit", "name-montreal"]

    counts = publish("counts_sql")

    assert pq.read_table(counts["path"])["name"].to_pylist() == ["Iqaluit", "Montréal"]
    manifest = json.loads((Path(counts["path"]).parent / "manifest.json").read_text("utf-8"))
    assert manifest["parameters"]["inputs"] == {"stops": {"release": released["name"], "sha256": released["sha256"]}}
    by_notebook = publish("counts_notebook")
    assert sorted(pq.read_table(by_notebook["path"])["name"].to_pylist()) == ["Iqaluit", "Montréal", "Montréal"]


def test_the_executed_copy_of_a_notebook_is_an_artifact(publish: Publish) -> None:
    publish("stops")

    counts = publish("counts_notebook")

    assert sorted(row["name"] for row in pq.read_table(counts["path"]).to_pylist()) == [
        "Iqaluit",
        "Montréal",
        "Montréal",
    ]
    executed = json.loads((Path(counts["path"]).parent / f"{counts['name']}_notebook.ipynb").read_text("utf-8"))
    assert "pq.read_table" in "".join(executed["cells"][-1]["source"])
    assert publish("counts_notebook")["outcome"] == "unchanged"
