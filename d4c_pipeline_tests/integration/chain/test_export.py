"""Records and the DuckLake of what the chain published, out of the ledger."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from d4c_pipeline.catalogue.site_documents import documents
from d4c_pipeline.chain.catalogue import latest_declarations
from d4c_pipeline.chain.export import export_lake, export_record
from d4c_pipeline.chain.published import all_published, site_of
from d4c_pipeline.metadata.records.registry import record_documents
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.tables.duckdb_engine import connect
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, corrected

__all__ = ["chain", "definitions"]  # fixtures, found by their names here


def test_a_correction_is_a_version_of_the_lake_and_a_successor_in_the_records(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    first = chain.newest()
    chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
    chain.run()
    second = chain.newest()

    known = latest_declarations(chain.opened, ())
    earlier, newest = all_published(chain.opened, known)
    assert (earlier.name, newest.name) == (first.name, second.name)
    assert earlier.line.superseded_by == newest.link
    assert newest.line.previous == earlier.link
    assert (earlier.latest, newest.latest) == (False, True)
    for file in newest.files:  # every address is that of bytes in the store
        assert chain.opened.primary.stat(file.address) == file.size
    assert newest.torrents[0].info_hash in newest.torrents[0].magnet
    assert dict(record_documents(newest)) == dict(record_documents([*all_published(chain.opened, known)][1]))
    assert dict(documents([earlier, newest], site_of(chain.opened)))["catalogue/places/versions.json"]

    linkset = json.loads(export_record(chain.opened, "linkset", first.name))["linkset"][0]
    assert linkset["latest-version"][0]["href"] == "../latest.json"
    with pytest.raises(UnknownNameError, match="No release nothing"):
        export_record(chain.opened, "linkset", "nothing")

    lake = export_lake(chain.opened, tmp_path / "lake.ducklake")
    connection = connect(extensions=("ducklake",))
    connection.execute(f"ATTACH 'ducklake:{lake.path}' AS l (READ_ONLY)")
    ((table, ((before, _), (after, _))),) = lake.tables.items()

    def population(version: int) -> object:
        query = f"SELECT population FROM l.{table} AT (VERSION => {version}) WHERE id = 3"
        return connection.execute(query).fetchall()[0][0]

    assert (population(before), population(after)) == (7429, 7430)
    with pytest.raises(duckdb.Error, match="read-only"):
        connection.execute(f"DELETE FROM l.{table}")
    connection.close()
