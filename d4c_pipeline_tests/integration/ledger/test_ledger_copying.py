"""The ledger of PostgreSQL is copied at one moment into one file, and back; numbering goes on after the copy."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select

from d4c_pipeline.ledger import Ledger, schema
from d4c_pipeline.ledger.copying import copy_in, copy_out, examine_copy
from d4c_pipeline.ledger.diagnosis import examine
from d4c_pipeline.model.errors import NeedsPersonError, PermanentError
from d4c_pipeline_tests.integration.ledger.conftest import _database
from d4c_pipeline_tests.support.catalogued import fill, publish


def rows(url: str) -> dict[str, list[tuple[object, ...]]]:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return {
                table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
                for table in schema.metadata.sorted_tables
                if table.name not in ("lease", "active_run")
            }
    finally:
        engine.dispose()


@pytest.mark.postgres
def test_a_ledger_goes_from_postgresql_to_a_file_and_back(postgres: str, tmp_path: Path) -> None:
    source, target = _database(postgres), _database(postgres)
    ledger = Ledger(source)
    fill(ledger, 3)
    held = ledger.leases.hold("vintage/x")
    with held:
        # A transaction of another process is open and neither waits nor is copied.
        engine = create_engine(source)
        with engine.connect() as writer, writer.begin() as open_one:
            row = {"at": datetime.now(UTC), "kind": "unfinished", "detail": {}}
            writer.execute(schema.event.insert(), [row])
            copy_out(source, tmp_path / "copy.sqlite")
            open_one.rollback()
        engine.dispose()
    _, counts = examine_copy(tmp_path / "copy.sqlite")
    assert (counts["release"], counts["lease"]) == (3, 1)
    copy_in(tmp_path / "copy.sqlite", target)
    assert rows(target) == rows(source)
    restored = Ledger(target)
    publish(restored, 12, "set_000000", "2011", "1.9.0")
    assert len(restored.releases.published()) == 4
    restored.close()
    ledger.close()
    with pytest.raises(NeedsPersonError, match="has rows in"):
        copy_in(tmp_path / "copy.sqlite", target)


@pytest.mark.postgres
def test_a_server_is_examined_without_a_change(postgres: str) -> None:
    url = _database(postgres)
    facts = examine(url)
    assert facts is not None
    assert (facts.revision, facts.writable) == (None, True)
    assert facts.clock is not None
    assert abs((facts.clock - datetime.now(UTC)).total_seconds()) < 60
    with pytest.raises(PermanentError, match="has revision None"):
        copy_out(url, Path("/nonexistent/copy.sqlite"))
