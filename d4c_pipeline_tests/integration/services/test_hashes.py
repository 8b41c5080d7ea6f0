"""`/hash/sha256/...` leads to the file with these bytes, and says so where there is none or it was withdrawn."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline_tests.support.served import protocols


def rows(settings: Settings) -> list[dict[str, Any]]:
    columns = ["dataset", "vintage", "version", "sha256", "d4c:parts", "assets", "data_urls", "withdrawn_reason"]
    return pq.read_table(settings.home / "store" / "catalogue" / "stac.parquet", columns=columns).to_pylist()


def test_every_file_of_a_release_is_found_by_its_sha256(published: Settings) -> None:
    """Bytes of the store, hashed here: data, parts and documents; the address leads back to the same bytes."""
    files = [path for path in (published.home / "store" / "releases").rglob("*") if path.is_file()]
    listed = {asset["href"] for row in rows(published) for asset in row["assets"].values() if asset}
    listed |= {part["href"] for row in rows(published) for part in row["d4c:parts"] or ()}
    wanted = [path for path in files if any(href.endswith(f"/{path.name}") for href in listed)]
    assert {path.suffix for path in wanted} >= {".parquet", ".zip", ".json", ".sha256", ".md"}
    with protocols(published, "hashes", "processes") as client:
        for path in wanted:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            answer = client.get(f"/hash/sha256/{digest.upper()}")
            assert answer.status_code == 302, (path, answer.text)
            stored = published.home / "store" / httpx.URL(answer.headers["location"]).path.lstrip("/")
            assert hashlib.sha256(stored.read_bytes()).hexdigest() == digest
            assert 'rel="describedby"' in answer.headers["link"]


def test_a_withdrawn_file_is_gone_unless_it_is_asked_for(services_url: str, catalogued: Settings) -> None:
    standing = {row["sha256"] for row in rows(catalogued) if row["withdrawn_reason"] is None}
    withdrawn = next(
        row for row in rows(catalogued) if row["withdrawn_reason"] is not None and row["sha256"] not in standing
    )
    address = f"{services_url}/hash/sha256/{withdrawn['sha256']}"
    answer = httpx.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (410, "application/problem+json")
    assert withdrawn["withdrawn_reason"] in answer.json()["detail"]
    asked = httpx.get(address, params={"withdrawn": "true"})
    assert (asked.status_code, asked.headers["location"]) == (302, withdrawn["data_urls"][0])


@pytest.mark.parametrize(
    ("path", "status"),
    [("sha256/" + "0" * 64, 404), ("sha256/abc", 400), ("md5/" + "0" * 32, 400), ("sha256/" + "g" * 64, 400)],
)
def test_what_is_no_file_is_a_problem_document(services_url: str, path: str, status: int) -> None:
    answer = httpx.get(f"{services_url}/hash/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["remedy"]
