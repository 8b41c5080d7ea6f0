"""Validation refuses what is wrong, names all of it, and never asks the network."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path

import pytest

import d4c_pipeline.catalogue.validation as validation_module
from d4c_pipeline.catalogue.validation import mismatches, schema_map, validate_item
from d4c_pipeline.model.errors import DataError
from d4c_pipeline_tests.support.releases import PROVINCES, RATES, a_release, an_item, published


@pytest.mark.parametrize("published_already", [False, True])
def test_items_validate_with_and_without_geometry(published_already: bool) -> None:
    for dataset, vintage in ((PROVINCES, "2021"), (RATES, "2025-06-04")):
        if published_already:
            item = published(dataset, vintage, "1.0.0", previous="0.1.0", after="1.1.0")
        else:
            item = an_item(dataset, a_release(dataset, vintage, "1.0.0-beta"))
        validate_item(item)


def test_all_mismatches_are_named_at_once() -> None:
    item = copy.deepcopy(an_item(PROVINCES, a_release(PROVINCES, "2021", "0.1.0")))
    item["assets"]["data"]["file:checksum"] = "sha256:NOTHEX"
    item["properties"]["sci:doi"] = "doi:10.5072/x"
    item["properties"]["table:row_count"] = "13"
    item["properties"]["start_datetime"] = "2021"
    item["properties"]["version"] = 1
    with pytest.raises(DataError) as caught:
        validate_item(item)
    told = str(caught.value)
    for word in ("sha256:NOTHEX", "doi:10.5072/x", "'13'", "'2021'", "version: 1 is not of type 'string'"):
        assert word in told
    for schema in ("file-v2.1.0", "scientific-v1.0.0", "table-v1.2.0", "version-v1.2.0", "STAC 1.1.0"):
        assert schema in told


def test_an_extension_without_a_kept_schema_is_an_error_not_a_download() -> None:
    item = copy.deepcopy(an_item(PROVINCES, a_release(PROVINCES, "2021", "0.1.0")))
    item["stac_extensions"].append("https://stac-extensions.github.io/eo/v1.1.0/schema.json")
    (told,) = mismatches(item)
    assert told.startswith(
        "stac_extensions: the schema https://stac-extensions.github.io/eo/v1.1.0/schema.json is not kept"
    )


def test_item_wants_an_item_and_document_takes_a_catalog() -> None:
    catalog = {"type": "Catalog", "stac_version": "1.1.0", "id": "c", "description": "d", "links": []}
    assert mismatches(catalog) == []
    with pytest.raises(DataError, match="'Catalog' is not 'Feature'"):
        validate_item(catalog)
    assert mismatches({"type": "Nothing"}) == ["type: 'Nothing' is not one of Feature, Collection, Catalog"]


def test_schemas_are_those_of_their_addresses_unchanged() -> None:
    for uri, place in schema_map().items():
        document = json.loads(Path(place).read_bytes())
        if "stac-extensions" in uri:
            assert document["$id"].removesuffix("#") == uri
    folder = Path(validation_module.__file__).parent / "schemas"
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in folder.glob("*.json")}
    assert digests == {
        "alternate-assets-v1.2.0.json": "30abedc36e8489b8",
        "file-v2.1.0.json": "03567215bb1402f5",
        "projection-v2.0.0.json": "77dd829eb10f5ea8",
        "scientific-v1.0.0.json": "fab3f50346dab2cb",
        "stac-basics-v1.0.0.json": "a60358449683e91c",
        "table-v1.2.0.json": "f31b81a6a5d64e56",
        "timestamps-v1.1.0.json": "ed076c154da7f419",
        "version-v1.2.0.json": "b1590d8c9599db82",
    }
