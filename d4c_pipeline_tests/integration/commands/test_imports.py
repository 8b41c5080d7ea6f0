"""What the command line and the code server import: `d4c --help` takes 0.3 s, of which typer and rich take 0.2 s."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HELP = {"pydantic", "sqlalchemy", "yaml", "httpx"}
LISTS = {
    *("alembic", "boto3", "botocore", "dagster", "duckdb", "geopandas", "jinja2", "libtorrent", "numpy", "pandas"),
    *("pyarrow", "pyogrio", "pyproj", "shapely", "starlette", "uvicorn"),
}
OF_DATA = {
    *("PIL", "babel", "geopandas", "jinja2", "libtorrent", "lxml", "numpy", "pandas", "pyarrow", "pyogrio", "pyproj"),
    *("pystac", "shapely", "uvicorn"),
}
PROGRAM = """
import json, sys
from d4c_pipeline.commands.main import app
found = []
for arguments in json.loads(sys.argv[1]):
    try:
        app(arguments, standalone_mode=False)
    except SystemExit:
        pass
    found.append(sorted({name.partition(".")[0] for name in sys.modules} & set(json.loads(sys.argv[2]))))
print(json.dumps(found))
"""


def test_help_and_lists_import_no_heavy_library(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "DAGSTER_"))}
    environment["D4C_HOME"] = str(tmp_path)

    def imported(*commands: list[str], of: set[str]) -> list[list[str]]:
        program = [sys.executable, "-c", PROGRAM, json.dumps(commands), json.dumps(sorted(of))]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    assert imported(["status"], of={"sqlalchemy"}) == [["sqlalchemy"]]  # and the ledger has its schema from here on
    assert imported(["--help"], ["publish", "--help"], of=HELP | LISTS) == [[], []]
    assert imported(["datasets"], ["releases"], ["status"], of=LISTS) == [[], [], []]


def test_a_code_server_builds_definitions_without_the_libraries_of_data(tmp_path: Path) -> None:
    program = """
import json, sys
from d4c_pipeline.definitions import defs
assert len(defs().get_repository_def().asset_graph.get_all_asset_keys()) > 70
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} & set(json.loads(sys.argv[1])))))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("D4C_", "DAGSTER_"))}
    environment |= {"D4C_HOME": str(tmp_path), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", program, json.dumps(sorted(OF_DATA))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
