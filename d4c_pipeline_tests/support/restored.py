"""Items restored from the Parquet files of a store, beside the documents that the catalogue wrote of the same items."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from d4c_pipeline.catalogue.items_of_rows import items_of
from d4c_pipeline.catalogue.record_parts import files_of
from d4c_pipeline.metadata.published_json import loaded_files
from d4c_pipeline.model.addresses import CATALOGUE_PARQUET, catalogue_item_address


def restored_items(store: Path, url: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each item from the Parquet files of a store at `url`, with its document; links are absolute in both."""
    records = [row for part in files_of(store) for row in pq.read_table(part, columns=["id", "facts"]).to_pylist()]
    files = {row["id"]: loaded_files(row["facts"]) for row in records}
    rows = pq.read_table(store / CATALOGUE_PARQUET)
    return [(item, document_of(item, store, url)) for item in items_of(rows, f"{url}/{CATALOGUE_PARQUET}", files)]


def document_of(item: Mapping[str, Any], store: Path, url: str) -> dict[str, Any]:
    """Return the document of an item in a store at `url`, with absolute links, `self` first."""
    stated = item["properties"]
    address = catalogue_item_address(item["collection"], stated["d4c:vintage"], stated["version"])
    document = orjson.loads((store / address).read_bytes())
    own = {"rel": "self", "href": f"{url}/{address}", "type": "application/geo+json"}
    others = [each for each in document["links"] if each["rel"] != "self"]
    document["links"] = [own, *({**each, "href": absolute(each["href"], f"{url}/{address}")} for each in others)]
    return document


def absolute(href: str, own: str) -> str:
    """Return a link of the document at `own` as an absolute address."""
    if not href.startswith(("./", "../")):
        return href
    steps, folder = href.removeprefix("./").split("/"), own.split("/")[:-1]
    up = steps.count("..")
    return "/".join([*folder[: len(folder) - up], *steps[up:]])
