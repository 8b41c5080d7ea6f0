"""Catalogues of made-up datasets without a ledger: for tests and benchmarks of the services.

`make` writes N datasets with words from English and French lists, places over Canada, years, licences; `write` writes
the catalogue of given items: Parquet, items and collections in the store of a home.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from d4c_pipeline.catalogue.record_parts import writing_parts
from d4c_pipeline.catalogue.stac_geoparquet import write_catalogue
from d4c_pipeline.catalogue.stac_item import item_bytes, item_place
from d4c_pipeline.catalogue.static_stac import collection, documents, entry_of, newest_of
from d4c_pipeline.model.addresses import (
    CATALOGUE_PARQUET,
    catalogue_collection_address,
    catalogue_item_address,
)
from d4c_pipeline.model.settings import OWN_STORE
from d4c_pipeline_tests.support.releases import PROVINCES, STORE, published

SUBJECTS = (
    ("Census population", "Population du recensement"), ("Electoral districts", "Circonscriptions électorales"),
    ("Road network", "Réseau routier"), ("Hospital beds", "Lits d'hôpital"), ("Exchange rates", "Taux de change"),
    ("Lakes and rivers", "Lacs et rivières"), ("Building footprints", "Empreintes de bâtiments"),
    ("Transit stops", "Arrêts de transport en commun"), ("Land use", "Utilisation des terres"),
    ("School boundaries", "Limites scolaires"), ("Air temperature", "Température de l'air"),
    ("Housing starts", "Mises en chantier"), ("Labour force", "Population active"), ("Wildfires", "Feux de forêt"),
)  # fmt: skip
PLACES = (
    "Montréal", "Toronto", "Vancouver", "Québec", "Calgary", "Ottawa", "Edmonton", "Winnipeg", "Halifax", "Gatineau",
    "Saskatoon", "Regina", "Moncton", "Sherbrooke", "Trois-Rivières", "Iqaluit", "Whitehorse", "Yellowknife",
)  # fmt: skip
_SYLLABLES = ("ba", "ko", "ri", "ta", "ne", "lu", "mi", "so", "va", "dre")
PROVIDERS = (
    "Statistics Canada",
    "Natural Resources Canada",
    "Elections Canada",
    "Ville de Montréal",
    "City of Toronto",
)
LICENCES = ("OGL-Canada-2.0", "CC-BY-4.0", "ODC-By-1.0")


def make(home: Path, datasets: int, *, releases: int = 1, store_url: str = STORE) -> None:
    """Write a catalogue of `datasets` with `releases` each into the store of `home`: the same one each time."""
    chance, base = random.Random(20_000), published(PROVINCES, "2021", "1.0.0")
    write(home, (item for number in range(datasets) for item in _random(chance, base, number, releases)), store_url)


def write(home: Path, items: Iterable[dict[str, Any]], store_url: str = STORE) -> None:
    """Write the catalogue of `items`, ordered by dataset, vintage and version, into the store of `home`."""
    store, kept = home / OWN_STORE, []
    for dataset, members in groupby(items, key=lambda item: item["collection"]):
        own = list(members)
        described = collection(dataset, [entry_of(item) for item in own], newest_of(own), None, store_url)
        _put(store / catalogue_collection_address(dataset), item_bytes(described))
        for item in own:
            address = catalogue_item_address(*item_place(item))
            _put(store / address, documents(item, store_url)[address])
        kept += own
    write_catalogue(kept, store / CATALOGUE_PARQUET, store_url)
    with writing_parts(store):
        pass  # the facts of records come from a ledger


def item_of(
    dataset: str,
    year: int,
    *,
    title: Sequence[str],
    keywords: Sequence[Sequence[str]] = (("boundaries",), ("limites",)),
    description: Sequence[str] = ("Digital boundaries.", "Limites numériques."),
    west: float = -80.0,
    south: float = 45.0,
    base: dict[str, Any] | None = None,
    **properties: Any,
) -> dict[str, Any]:
    """Return a finalised item: a box of 2 x 1 degrees, texts in English and French, other `properties`."""
    item = copy.deepcopy(base or published(PROVINCES, "2021", "1.0.0"))
    (en, fr), version = title, properties.get("version", "1.0.0")
    name = f"ca_statcan_2021A000011124_d4c-datapkg-statistical_{dataset}_{year}_v{version}"
    ring = [[west, south], [west + 2, south], [west + 2, south + 1], [west, south + 1], [west, south]]
    item |= {"id": properties.pop("id", name), "collection": dataset, "bbox": [west, south, west + 2, south + 1]}
    item["geometry"] = {"type": "Polygon", "coordinates": [ring]}
    titles = [f"{text}, {year}, v{version}" for text in (en, fr)]
    item["properties"] |= {
        "dataset": dataset, "d4c:dataset": dataset, "vintage": str(year), "d4c:vintage": str(year), "version": version,
        "is_latest": True, "d4c:latest": True, "deprecated": False,
        "title": titles[0], "title_fr": titles[1], "d4c:title_fr": titles[1],
        "description": description[0], "d4c:description_fr": description[1],
        "keywords": list(keywords[0]), "d4c:keywords_fr": list(keywords[1]),
        "start_datetime": f"{year}-01-01T00:00:00Z", "end_datetime": f"{year}-12-31T23:59:59Z",
        "published": f"{year + 1}-02-03T00:00:00Z",
    } | properties  # fmt: skip
    return item


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _random(chance: random.Random, base: dict[str, Any], number: int, releases: int) -> list[dict[str, Any]]:
    dataset, (en, fr), place = f"set_{number:06}", chance.choice(SUBJECTS), chance.choice(PLACES)
    word = "".join(chance.choices(_SYLLABLES, k=3))
    west, south, first = chance.uniform(-140, -60), chance.uniform(42, 70), chance.randrange(1990, 2020)
    provider, licence = chance.choice(PROVIDERS), chance.choice(LICENCES)
    return [
        item_of(
            dataset,
            year,
            title=(f"{en}, {place} {word}", f"{fr}, {place} {word}"),
            keywords=((en, place, word), (fr, place, word)),
            description=(
                f"{en} of {place} in {year}: counts and boundaries of {word}. " * 3,
                f"{fr} de {place} en {year} : nombres et limites de {word}. " * 3,
            ),
            west=west,
            south=south,
            base=base,
            providers=[{"name": provider, "roles": ["producer"]}],
            licence=licence,
            license=licence,
            doi=f"10.5072/d4c.{number}.{year}",
            published=f"{2020 + number % 7}-{1 + number % 12:02}-{1 + number % 28:02}T00:00:00Z",
        )
        for year in range(first, first + 5 * releases, 5)
    ]
