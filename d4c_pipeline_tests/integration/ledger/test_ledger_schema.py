"""Opening a ledger: its schema, several processes at once, foreign revisions, disks and servers that refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

import d4c_pipeline.ledger
from d4c_pipeline.ledger import Ledger, schema
from d4c_pipeline.ledger.database import HEAD, open_engine
from d4c_pipeline.model.errors import NeedsPersonError, StorageError, TransientError


def test_the_migrations_make_the_declared_schema(url: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()


def test_partial_indexes_are_in_the_database(url: str) -> None:
    # compare_metadata does not compare the conditions of indexes, and they are what makes plans exclusive.
    engine = open_engine(url)
    if engine.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql LIKE '%WHERE%'"
    else:
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE indexdef LIKE '%WHERE%'"
    with engine.begin() as connection:
        found = dict(connection.execute(text(query)).all())  # type: ignore[arg-type]
    engine.dispose()
    assert set(found) == {"uq_release_plan", "uq_release_version"}
    assert "planned" in found["uq_release_plan"]
    assert "abandoned" in found["uq_release_version"]
    assert all("UNIQUE" in definition for definition in found.values())


def test_the_head_is_alembics() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(d4c_pipeline.ledger.__file__).parent / "migrations"))

    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


OPEN = """
import sys
from d4c_pipeline.ledger import Ledger
print("ready", flush=True)
sys.stdin.readline()
ledger = Ledger(sys.argv[1])
print(len(ledger.releases.living()))
"""


def test_processes_may_open_a_new_ledger_at_once(url: str) -> None:
    command = [sys.executable, "-c", OPEN, url]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(3)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [(process.communicate(timeout=60), process.returncode) for process in running]
    assert ends == [(("0\n", ""), 0)] * 3


def test_a_ledger_of_the_first_revision_is_brought_up_to_date(url: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()  # where an SQLite ledger lies
    engine = create_engine(url)
    config = Config()
    config.set_main_option("script_location", str(Path(d4c_pipeline.ledger.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO release (id, dataset, vintage, version, name, state, key, bump, reasons, summary,"
                " planned_at) VALUES"
                " (1, 'd', '2021', '1.0.0', 'd_2021', 'published', 'k', 1, '[]', '{}', '2026-01-01 00:00:00')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO deposit (release_id, archive, state, doi, test, files, updated_at)"
                " VALUES (1, 'local', 'published', '10.5072/x', true, '{}', '2026-01-01 00:00:00')"
            )
        )
    engine.dispose()
    with closing(Ledger(url)) as ledger:
        (deposit,) = ledger.deposits.all()
    assert (deposit.doi, deposit.state, deposit.registered_at) == ("10.5072/x", "published", None)


def test_a_second_opening_finds_what_the_first_wrote(url: str) -> None:
    with closing(Ledger(url)) as first:
        first.judgements.record_check("d", _vintage("2021"), "a" * 64, "rows", "pass", {"rows": 13})
    with closing(Ledger(url)) as second:
        (check,) = second.judgements.checks("a" * 64)
    assert (check.check, check.verdict, check.detail) == ("rows", "pass", {"rows": 13})


def test_a_ledger_of_a_newer_revision_is_refused_and_not_touched(url: str) -> None:
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(NeedsPersonError, match="revision 9999, which this version does not know"):
        Ledger(url)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    engine.dispose()


def test_a_home_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")

    with pytest.raises(StorageError, match="ledger's folder can't be written"):
        Ledger.in_folder(tmp_path / "home")


def test_a_ledger_that_is_a_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").mkdir()

    with pytest.raises(StorageError, match="unable to open database file"):
        Ledger.in_folder(tmp_path)


def test_a_ledger_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite").write_text("not a database, but long enough to have a header " * 10)

    with pytest.raises(StorageError, match=r"ledger can't be opened .*file is not a database"):
        Ledger.in_folder(tmp_path)


def test_a_server_that_is_away_is_told_without_its_password() -> None:
    with pytest.raises(TransientError) as caught:
        Ledger("postgresql+psycopg2://d4c:s3cr3t@127.0.0.1:1/d4c")

    assert "can't be reached" in str(caught.value)
    assert "s3cr3t" not in json.dumps([str(caught.value), repr(caught.value)])


def _vintage(text: str) -> object:
    from d4c_pipeline.model.vintage import Vintage

    return Vintage.parse(text)
