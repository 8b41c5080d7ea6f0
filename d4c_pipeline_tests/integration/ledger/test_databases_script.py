"""databases.sql on a real PostgreSQL: two databases of a role that is no superuser, however often it runs."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from d4c_pipeline.ledger import Ledger

SCRIPT = Path(__file__).parents[3] / "databases.sql"


@pytest.mark.postgres
def test_the_platform_s_role_owns_two_databases_and_may_do_nothing_else(postgres: str) -> None:
    server = make_url(postgres)
    words = ["psql", "--host", str(server.host), "--port", str(server.port), "--username", str(server.username)]
    for _ in range(2):
        done = subprocess.run(
            [*words, "--no-psqlrc", "--set", "password=a'b\\c$d", "--file", SCRIPT],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    owned = f"postgresql+psycopg2://d4c@{server.host}:{server.port}"
    with closing(Ledger(f"{owned}/d4c")):  # creates its tables
        pass
    engine = create_engine(f"{owned}/dagster")
    with engine.connect() as connection:
        rights = connection.execute(
            text("SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = 'd4c'")
        ).one()
        databases = connection.execute(
            text("SELECT datname FROM pg_database WHERE datdba = 'd4c'::regrole ORDER BY datname")
        ).scalars()
        assert tuple(rights) == (False, False, False)
        assert list(databases) == ["d4c", "dagster"]
    engine.dispose()
