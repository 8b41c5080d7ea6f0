"""Runs the dataset's own notebook with papermill on Parquet files, collects its tables, keeps the executed copy.

Showing a run in Dagster belongs to `orchestration`. A notebook runs with the rights of its process: unlike SQL it can
read files and use the network, so only reviewed notebooks belong beside a definition. https://papermill.readthedocs.io
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from d4c_pipeline.model import secrets
from d4c_pipeline.model.data_files import Files, listed
from d4c_pipeline.model.errors import DataError, PermanentError
from d4c_pipeline.sandbox import environment
from d4c_pipeline.tables.columns import BBOX, GEOMETRY
from d4c_pipeline.tables.native import GEOMETRY_COLUMN, GEOMETRY_FIELD

_NEEDED = ("papermill", "ipykernel")
_INPUTS = "inputs"
_IPYTHON = ".ipython"
_TABLES = "tables"
_MOMENTS = ("start_time", "end_time", "duration", "input_path", "output_path")


@dataclass(frozen=True)
class Executed:
    """The result of a notebook: its tables (Parquet files, sorted by name) and its executed copy."""

    tables: tuple[Path, ...]
    notebook: Path


def stream(
    notebook: Path,
    source: pa.RecordBatchReader,
    work: Path,
    *,
    variables: Mapping[str, str],
    with_geometry: bool,
    inputs: Mapping[str, Files] | None = None,
) -> tuple[pa.RecordBatchReader, Path]:
    """Run `notebook` over the rows of `source` as `transform.stream` runs SQL; return its rows and the executed copy.

    The notebook reads the rows from the Parquet file `inputs["source"]` (`GEOMETRY_COLUMN` as a GeoParquet column
    `geometry` in longitude and latitude) and writes one Parquet file, with a WKB column `geometry` if `with_geometry`.
    All files are in the folder `work`. Raises as `run_notebook` does, and DataError for a result without rows or
    geometry, or of several tables.
    """
    work.mkdir(parents=True, exist_ok=True)
    rows = work / "source.parquet"
    _store(source, rows)
    done = run_notebook(notebook, {**(inputs or {}), "source": rows}, variables, work)
    label = f"The notebook {notebook.name}"
    answered, *others = done.tables
    if others:
        names = ", ".join(path.name for path in done.tables)
        raise DataError(f"{label} wrote several tables: {names}", "Write one table")
    try:
        table = pq.ParquetFile(answered)
    except pa.ArrowException as error:
        raise DataError(
            f"{label} wrote a file that is not Parquet: {error}", "Write it with pyarrow or DuckDB"
        ) from error
    if table.metadata.num_rows == 0:
        raise DataError(f"{label} returns no rows", "Correct the notebook")
    schema = pa.schema([each for each in table.schema_arrow if each.name not in (GEOMETRY, BBOX)])
    if with_geometry:
        if GEOMETRY not in table.schema_arrow.names:
            raise DataError(f"{label} drops the geometry column", "Write it, or declare processing.kind: table")
        schema = schema.append(GEOMETRY_FIELD)
    return pa.RecordBatchReader.from_batches(schema, _read_back(table, schema)), done.notebook


def _store(source: pa.RecordBatchReader, path: Path) -> None:
    geo = {
        "version": "1.1.0",
        "primary_column": GEOMETRY,
        "columns": {GEOMETRY: {"encoding": "WKB", "geometry_types": []}},
    }
    names = [GEOMETRY if name == GEOMETRY_COLUMN else name for name in source.schema.names]
    metadata = {"geo": json.dumps(geo)} if GEOMETRY_COLUMN in source.schema.names else None
    fields = [each.with_name(name) for name, each in zip(names, source.schema, strict=True)]
    schema = pa.schema(fields, metadata)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for batch in source:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))


def _read_back(table: pq.ParquetFile, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for batch in table.iter_batches():
        columns = [batch.column(GEOMETRY if name == GEOMETRY_COLUMN else name) for name in schema.names]
        cast = [column.cast(each.type) for column, each in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(cast, schema=schema)


def _linked(name: str, files: Sequence[Path], folder: Path) -> str:
    """Link the files of an input into `folder`; return the path to read, relative to the notebook's working folder."""
    if len(files) == 1:
        link = folder / f"{name}{files[0].suffix}"
        link.unlink(missing_ok=True)
        link.symlink_to(files[0].absolute())
        return f"{folder.name}/{link.name}"
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir()
    for file in files:
        (folder / name / file.name).symlink_to(file.absolute())
    return f"{folder.name}/{name}"


def run_notebook(
    notebook: Path,
    inputs: Mapping[str, Files],
    parameters: Mapping[str, Any],
    into: Path,
    *,
    timeout: int = 3600,
) -> Executed:
    """Run a copy of `notebook` in the folder `into` (created if missing); return its tables and the executed copy.

    After its cell tagged `parameters` the notebook gets: each of `parameters`; `inputs`, name -> path of a Parquet file
    or of a folder of several; `tables`, the folder for Parquet files. Paths are relative to its working folder, so that
    the executed copy (`into`/<name of the notebook>, kept after a failure too) holds no path of the machine and no
    clock time. The kernel is ipykernel in this interpreter, with a fixed hash seed, UTC and the C locale, without the
    user's home and settings, and with only those environment variables that locate programs. `timeout`: seconds for a
    cell. Raises PermanentError when the extra `notebooks` is not installed, DataError when a cell fails or prints a
    secret, or no table is written.
    """
    _check_installed()
    import nbformat  # noqa: PLC0415 - needs the extra
    import papermill  # noqa: PLC0415
    from nbclient.exceptions import CellTimeoutError, DeadKernelError  # noqa: PLC0415
    from papermill.exceptions import PapermillException, PapermillExecutionError  # noqa: PLC0415

    if not notebook.is_file():
        raise DataError(f"{notebook.name} is not in the dataset's folder", "Correct processing.notebook or add it")
    (into / _TABLES).mkdir(parents=True, exist_ok=True)
    (into / _INPUTS).mkdir(exist_ok=True)
    linked: dict[str, str] = {}
    for name, files in sorted(inputs.items()):
        linked[name] = _linked(name, listed(files), into / _INPUTS)
    copy = into / notebook.name
    secrets.declare_environment(os.environ)
    label = f"The notebook {notebook.name}"
    try:
        papermill.execute_notebook(
            str(notebook),
            str(copy),
            parameters={**parameters, "inputs": linked, "tables": _TABLES},
            kernel_name="python3",
            language="python",
            cwd=str(into),
            progress_bar=False,
            execution_timeout=timeout,
            kernel_manager_class=_kernel_manager(into),
        )
    except PapermillExecutionError as error:
        message = " ".join(str(error.evalue).split())[:300]
        raise DataError(
            f"{label} failed in cell [{error.exec_count}]: {error.ename}: {message}",
            "Correct the notebook, then run again",
        ) from error
    except CellTimeoutError as error:
        raise DataError(f"{label} has a cell that takes longer than {timeout} s", "Make the cell faster") from error
    except DeadKernelError as error:
        raise DataError(
            f"{label} lost its kernel", "Check whether it needs more memory than the machine has"
        ) from error
    except (PapermillException, nbformat.ValidationError, nbformat.reader.NotJSONError) as error:
        raise DataError(
            f"{label} can't be run: {' '.join(str(error).split())[:300]}", "Correct the notebook"
        ) from error
    finally:
        shutil.rmtree(into / _IPYTHON, ignore_errors=True)
        if copy.is_file():
            _without_moments(copy)
    refuse_secrets(copy, label)
    tables = tuple(sorted((into / _TABLES).glob("*.parquet")))
    if not tables:
        raise DataError(f"{label} wrote no table", "Write Parquet files into the folder of its parameter `tables`")
    return Executed(tables, copy)


def _check_installed() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise PermanentError(
            f"A notebook is declared, but {' and '.join(missing)} is not installed",
            "Install d4c-pipeline with its extra `notebooks`",
        )


def _kernel_manager(folder: Path) -> type:
    from jupyter_client.kernelspec import KernelSpec  # noqa: PLC0415
    from jupyter_client.manager import AsyncKernelManager  # noqa: PLC0415

    # No kernel spec is loaded: a user's spec named python3 may run another interpreter.
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]
    home = str(folder.absolute() / _IPYTHON)
    # A notebook needs no token of an archive, and its executed copy is published.
    own = environment.allowed({"HOME": home, "IPYTHONDIR": home, "MPLCONFIGDIR": home})
    spec = KernelSpec(argv=argv, display_name="Python 3", language="python")

    class OwnKernelManager(AsyncKernelManager):
        """Starts the kernel of this interpreter, its connection file in the working folder."""

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

        async def pre_start_kernel(self, **options: Any) -> tuple[list[str], dict[str, Any]]:
            return await self._async_pre_start_kernel(**{**options, "env": own})

        def _connection_file_default(self) -> str:
            return str(folder.absolute() / f".kernel-{os.getpid()}.json")

    return OwnKernelManager


def refuse_secrets(copy: Path, label: str) -> None:
    """Delete an executed copy and raise DataError if a cell shows a secret: the copy would be published."""
    executed = json.loads(copy.read_text("utf-8"))
    for number, cell in enumerate(executed["cells"], 1):
        for output in cell.get("outputs", ()):
            text = "".join(_texts(output))
            if secrets.holds_declared(text) or any(secrets.secrets_in(text)):
                copy.unlink()
                raise DataError(
                    f"{label} shows a secret in the output of cell {number}", "Remove the secret from the output"
                )


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, list | dict):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _texts(child)
            yield "" if isinstance(node, list) else "\n"


def _without_moments(copy: Path) -> None:
    # Copies of the same run on different days are identical.
    import nbformat  # noqa: PLC0415

    executed = nbformat.read(copy, as_version=4)
    for holder in (executed.metadata, *(cell.metadata for cell in executed.cells)):
        holder.pop("execution", None)
        for moment in _MOMENTS:
            holder.get("papermill", {}).pop(moment, None)
    for number, cell in enumerate(executed.cells):
        cell["id"] = f"cell-{number}"  # papermill gives the cell of parameters a random one
    nbformat.write(executed, copy)
