"""The metadata of a table of Statistics Canada, as getCubeMetadata of its Web Data Service returns them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from d4c_pipeline.drafting import publishers
from d4c_pipeline.drafting.facts import Facts, Found, documents, merged, plain
from d4c_pipeline.processing.statcan.cube import from_csv

# Codes of the service's code set `frequency` that have a duration.
# Source: https://www150.statcan.gc.ca/t1/wds/rest/getCodeSets
_FREQUENCIES = {
    "1": "P1D", "2": "P1W", "4": "P2W", "6": "P1M", "7": "P2M", "9": "P3M", "11": "P6M", "12": "P1Y", "13": "P2Y",
    "14": "P3Y", "15": "P4Y", "16": "P5Y", "17": "P10Y",
}  # fmt: skip
_CURRENT = "2"  # archiveStatusCode


def is_cube(document: Any) -> bool:
    """Return whether a JSON document is the metadata of a table, in the service's envelope or without it."""
    inner = unwrapped(document)
    return isinstance(inner, dict) and "cubeTitleEn" in inner and "productId" in inner


def unwrapped(document: Any) -> Any:
    """Return the metadata inside of the service's envelope."""
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if isinstance(document, dict) and isinstance(document.get("object"), dict):
        return document["object"]
    return document


def facts(cube: Mapping[str, Any]) -> Facts:
    """Return the facts of a table."""
    number = str(cube["productId"])
    table = f"{number[:2]}-{number[2:4]}-{number[4:8]}-01"
    out: Facts = {}
    for tongue, key, words in (
        ("en", "cubeTitleEn", "{}. Table {} of Statistics Canada in full, with its labels."),
        ("fr", "cubeTitleFr", "{}. Tableau {} de Statistique Canada au complet, avec ses libellés."),
    ):
        if title := plain(str(cube.get(key) or "")):
            out[f"title.{tongue}"] = Found(title, f"{key} of the table")
            out[f"description.{tongue}"] = Found(words.format(title, table), f"{key} and number of the table")
    # The service writes its codes as numbers, and in some answers as text.
    archived = "archiveStatusCode" in cube and str(cube["archiveStatusCode"]) != _CURRENT
    frequency = "not_planned" if archived else _FREQUENCIES.get(str(cube.get("frequencyCode")))
    if frequency is not None:
        why = f"archiveStatusEn {cube.get('archiveStatusEn')}" if archived else f"frequencyCode {cube['frequencyCode']}"
        out["publication.frequency"] = Found(frequency, why)
    out["languages"] = Found(["eng", "fra"], "the metadata name members in both languages")
    if _is_of_canada(cube):
        out["name.region"] = Found("ca", "the dimension Geography has the member Canada")
    return merged(out, _of_number(number))


def facts_of_csv(path: Path) -> Facts:
    """Return the facts of the `_MetaData.csv` in the zip of a full table, which is in one language.

    Raises DataError for a file that is none.
    """
    known = from_csv(path)
    out: Facts = {}
    for tongue, title in zip(("en", "fr"), known.title, strict=True):
        if title:
            out[f"title.{tongue}"] = Found(plain(title), f"title in {path.name}")
    return merged(out, _of_number(known.product_id))


def _of_number(number: str) -> Facts:
    page = f"https://www150.statcan.gc.ca/t1/tbl1/en/tv.action?pid={number[:8]}01"
    publisher = publishers.by_name("Statistics Canada")
    assert publisher is not None  # noqa: S101 - publishers.yaml has it
    return merged(
        {
            "id": Found(f"statcan_table_{number[:8]}", "number of the table"),
            "name.theme": Found(f"table_{number[:8]}", "number of the table"),
            "name.package": Found("d4c-datapkg-statistical", "the package of the shipped family of such tables"),
            "source.homepage": Found(page, "page of the table, by its number"),
        },
        publisher.facts("the Web Data Service is that of Statistics Canada", licence=True),
    )


def _is_of_canada(cube: Mapping[str, Any]) -> bool:
    for dimension in documents(cube.get("dimension")):
        if str(dimension.get("dimensionNameEn")).startswith("Geograph"):
            return any(member.get("memberNameEn") == "Canada" for member in documents(dimension.get("member")))
    return False
