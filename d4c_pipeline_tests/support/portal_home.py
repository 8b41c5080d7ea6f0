"""A home with several published datasets, its portal, and a server of both: for tests and for the benchmark."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from d4c_pipeline.chain.portal import build
from d4c_pipeline.chain.portal_result import PortalBuilt
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.portal.bundle import Bundle
from d4c_pipeline.services.embedded import mounts
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.services.portal_files import PATHS
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import DAY, HOST, Origin, corrected, define, geojson
from d4c_pipeline_tests.support.steps import STEPS

WIDE = 300
HOSTILE_TITLE = "<script>alert(1)</script>".replace("<", "‹").replace(">", "›") + " " + "x" * 10_000


def table(rows: int) -> bytes:
    """A table of measurements without geometry; every eleventh value and ratio is missing."""
    facts = ((number, "abc"[number % 3], number * 7 % 101, number / 7) for number in range(rows))
    lines = (
        f"{number},{kind},," if number % 11 == 0 else f"{number},{kind},{value},{ratio:.3f}"
        for number, kind, value, ratio in facts
    )
    return ("id,kind,value,ratio\n" + "\n".join(lines) + "\n").encode()


def wide() -> bytes:
    """A table of many columns."""
    names = ["id", *(f"c{number:03}" for number in range(1, WIDE))]
    rows = (",".join(str(row * place % 13) if place else str(row) for place in range(WIDE)) for row in range(20))
    return (",".join(names) + "\n" + "\n".join(rows) + "\n").encode()


DATASETS: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "places": (
        "places_2021.geojson",
        geojson(),
        {
            "title": {"en": "Museums and places", "fr": "Musées et lieux"},
            "publication": {"frequency": "P50Y"},
            "attribution": {"en": "Contains data & texts of Example", "fr": "Contient des données d’Example"},
        },
    ),
    "measurements": (
        "measurements_2021.csv",
        table(5_000),
        {
            "title": {"en": "Measurements", "fr": "Mesures"},
            "series": "editions",
            "source": {"kind": "http", "urls": [f"{HOST}/measurements_{{vintage}}.csv"]},
            "processing": {"kind": "table", "key": ["id"], "columns": {"id": {"type": "integer"}}},
            "extent": {"west": -80, "south": 43, "east": -79, "north": 44},
        },
    ),
    "wide": (
        "wide_2021.csv",
        wide(),
        {
            "title": {"en": HOSTILE_TITLE, "fr": HOSTILE_TITLE},
            "source": {"kind": "http", "urls": [f"{HOST}/wide_{{vintage}}.csv"]},
            "processing": {"kind": "table", "key": ["id"]},
        },
    ),
    "parts": (
        "parts_2021.csv",
        table(90),
        {
            "title": {"en": "Measurements in parts", "fr": "Mesures en parties"},
            "source": {"kind": "http", "urls": [f"{HOST}/parts_{{vintage}}.csv"]},
            "processing": {"kind": "table", "key": ["id"]},
            "outputs": {"partition": {"by": "kind", "over": 0}},
        },
    ),
}


def museums(count: int) -> bytes:
    """Points from west to east, of two kinds in turn; `id` counts from 1."""
    features = [
        {
            "type": "Feature",
            "properties": {"id": number, "kind": "ab"[number % 2]},
            "geometry": {"type": "Point", "coordinates": [-80 + number / 10, 45 + number % 3 / 10]},
        }
        for number in range(1, count + 1)
    ]
    return json.dumps({"type": "FeatureCollection", "features": features}).encode()


TILED: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "tiled": (
        "tiled_2021.geojson",
        museums(12),
        {
            "source": {"kind": "http", "urls": [f"{HOST}/tiled_{{vintage}}.geojson"]},
            "processing": {"kind": "vector", "key": ["id"]},
            "outputs": {"partition": {"by": "kind", "over": 0}, "tiles": {}},
        },
    ),
}


@dataclass
class Portal:
    """The home, its datasets, and the address of its server."""

    settings: Settings
    datasets: list[Dataset]
    url: str
    built: PortalBuilt

    @property
    def folder(self) -> Path:
        return self.settings.home / "portal"

    def build(self, bundle: Bundle | None = None) -> PortalBuilt:
        with Deployment.open(self.settings) as opened:
            return build(opened, self.datasets, bundle=bundle)

    def page(self, address: str) -> str:
        return (self.folder / address / "index.html").read_text("utf-8")

    def script(self, address: str) -> dict[str, Any]:
        """What the scripts of a release's page are given."""
        _, _, rest = self.page(address).partition('<script type="application/json" id="release">')
        return json.loads(rest.partition("</script>")[0])


@contextmanager
def published(folder: Path, wanted: Mapping[str, tuple[str, bytes, dict[str, Any]]] = DATASETS) -> Iterator[Portal]:
    """Publish the datasets of `wanted` with test DOIs, by default places, in two versions, and three tables.

    A dataset: its file at the source, the file's bytes, and what its definition changes.
    """
    origin = Origin(folder / "origin")
    origin.host(HOST)
    for name, (file, content, changes) in wanted.items():
        define(folder / "definitions", name, **{"name": _named(name), **changes})
        origin.put(f"{HOST}/{file}", content)
    settings = Settings(
        home=folder / "home",
        definitions=(folder / "definitions",),
        origins=origin.origins,
        port=free_port(),
        contact="data@example.ca",
    )
    datasets = [each for name, each in load_datasets(settings.definitions).items() if name in wanted]
    with Deployment.open(settings) as opened:
        for dataset in datasets:
            for step in STEPS:
                STEPS[step](opened, dataset, Vintage.parse("2021"))
        origin.put(f"{HOST}/places_2021.geojson", corrected(), DAY + timedelta(days=1))
        for places in (dataset for dataset in datasets if dataset.id == "places"):
            for step in STEPS:
                STEPS[step](opened, places, Vintage.parse("2021"))
        built = build(opened, datasets)
    with serving(mounts(settings), port=settings.port) as url:
        yield Portal(settings, datasets, url, built)
    origin.close()


@contextmanager
def on_another_origin(portal: Portal) -> Iterator[str]:
    """The same home with its pages on another origin than its store; yield their address."""
    port = free_port()
    settings = portal.settings.model_copy(update={"portal_url": f"http://127.0.0.1:{port}"})
    folder = portal.settings.home / "elsewhere"
    with Deployment.open(settings) as opened:
        build(opened, portal.datasets, folder)
    with serving({PATHS: folder}, port=port) as url:
        yield url


def _named(name: str) -> dict[str, str]:
    return {"source": "example", "package": "d4c-datapkg-foundation", "theme": name}
