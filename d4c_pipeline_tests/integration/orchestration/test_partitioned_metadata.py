"""What an operator sees of data in parts: its files, a torrent for each, every address it is served at."""

from __future__ import annotations

from typing import Any

from d4c_pipeline.orchestration import metadata
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions
from d4c_pipeline_tests.support.samples import define

__all__ = ["chain", "definitions"]  # fixtures, found by their names here


def table(value: Any) -> list[dict[str, Any]]:
    return [dict(record.data) for record in value.records]


def test_files_torrents_and_addresses_of_parts(chain: Chain) -> None:
    define(chain.settings.definitions[0], outputs={"partition": {"by": "id", "over": 0}})
    chain.run_up_to("processed")
    build = chain.results["processed"]
    processed = metadata.of_processed(build)
    chain.run_up_to("latest")  # which removes the build from staging
    release = chain.newest()
    assert [(row["part"], row["rows"]) for row in table(processed["files"])] == [
        ("id-1", 1), ("id-2", 1), ("id-3", 1), ("id-4", 1)
    ]  # fmt: skip
    assert processed["sha256"] == release.data_sha256
    assert processed["size"] == sum(file.size for file in release.data_files)
    assert processed["path"].path == str(build.paths[0].parent)
    assert "map of the geometry" in processed["map"].md_str
    checksums = metadata.of_checksums(chain.results["checksums"])
    assert (checksums["files"], checksums["sha256"]) == (4, release.data_sha256)
    torrents = table(metadata.of_torrent(chain.results["torrent"])["torrents"])
    assert [row["file"] for row in torrents] == [file.name for file in release.data_files]
    assert len({row["info_hash"] for row in torrents}) == 4
    addresses = metadata.of_latest(chain.results["latest"])["addresses"].md_str.splitlines()
    assert len(addresses) == 5
    assert addresses[-1].endswith("/manifest.json")
