"""A home with releases of every shape, published by the chain into the local archive, for tests of the catalogue.

`places` has two vintages, the newer with a superseded release; `rates` is a table without geometry; `parted` lies in
parts. A source describes its data, so that a record has words that no definition has.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.described import Described
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.workspace.datasets import load_datasets
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.support.samples import DAY, HOST, Origin, corrected, define, geojson
from d4c_pipeline_tests.support.steps import STEPS

DATASETS = ("parted", "places", "rates")
RELEASES = (
    ("parted", "2021", "0.1.0-beta"),
    ("places", "2016", "0.1.0-beta"),
    ("places", "2021", "0.1.0-beta"),
    ("places", "2021", "0.1.1-beta"),
    ("rates", "2021", "0.1.0-beta"),
)
REAL = {
    "lending": "08_statcan_wds/10100001-eng.zip",
    "provinces": "01_statcan_provinces_2016/province_territory_simplified_sp.zip",
    "stops": "05_ttc_stops/TTC_stops.zip",
}
RATES = b"day,rate\n2021-01-04,1.2725\n2021-01-05,1.2680\n"
SAID = Described(
    ("Populated places", "Lieux habités"),
    ("Places with people. Counted in May", "Des lieux, avec des gens."),
    (("Census",), ("Recensement", "gens")),
)


def publish_all(folder: Path, port: int, *, outside: str | None = None) -> Settings:
    """Publish `RELEASES` into the home `folder`/home and return its settings. `outside`: the store's public address."""
    definitions = folder / "definitions"
    define(definitions, keywords={"en": ["places"], "fr": ["lieux"]}, vintages=["2016", "2021"])
    define(definitions, "parted", outputs={"partition": {"by": "id", "over": 0}}, name=_named("parted"))
    define(
        definitions,
        "rates",
        processing={"kind": "table", "key": ["day"]},
        source={"kind": "http", "urls": [f"{HOST}/rates_{{vintage}}.csv"]},
        name=_named("rates"),
    )
    origin = Origin(folder / "origin")
    try:
        origin.put(f"{HOST}/places_2016.geojson", geojson())
        origin.put(f"{HOST}/places_2021.geojson", geojson())
        origin.put(f"{HOST}/parted_2021.geojson", geojson())
        origin.put(f"{HOST}/rates_2021.csv", RATES)
        settings = Settings(
            home=folder / "home",
            definitions=(definitions,),
            origins=origin.origins,
            port=port,
            store_url=outside,
            contact="data@example.ca",
        )
        declared = load_datasets(settings.definitions)
        with Deployment.open(settings) as opened:
            for dataset, vintage in (("places", "2016"), ("places", "2021"), ("parted", "2021"), ("rates", "2021")):
                _publish(opened, declared[dataset], vintage)
            origin.put(f"{HOST}/places_2021.geojson", corrected(), DAY + timedelta(days=1))
            _publish(opened, declared["places"], "2021")
            STEPS["catalogue"](opened, declared["places"], Vintage.parse("2021"))
    finally:
        origin.close()
    return settings


def publish_real(folder: Path, port: int, fixtures: Path) -> Settings:
    """Publish real data into the home `folder`/home: provinces in parts, stops in two versions, a small table."""
    definitions = folder / "definitions"
    origin = Origin(folder / "origin")
    processing: dict[str, dict[str, Any]] = {
        "lending": {"kind": "table", "wds": {}},
        "provinces": {
            "kind": "vector",
            "key": ["pruid"],
            "dguids": [{"from": "PRUID", "type": "A", "schema": "0002", "vintage": "2016"}],
        },
        "stops": {"kind": "vector", "key": ["feature_nu"]},
    }
    try:
        for name, file in REAL.items():
            url = f"{HOST}/{Path(file).name}"
            origin.put(url, fixtures / file)
            outputs = {"partition": {"by": "pruid", "over": 0}} if name == "provinces" else {}
            source = {"kind": "http", "urls": [url]}
            define(
                definitions,
                name,
                source=source,
                processing=processing[name],
                outputs=outputs,
                name=_named(name),
                vintages=["2018"],
            )
        settings = Settings(home=folder / "home", definitions=(definitions,), origins=origin.origins, port=port)
        with Deployment.open(settings) as opened:
            for name, dataset in load_datasets(settings.definitions).items():
                if name in REAL:
                    _publish(opened, dataset, "2018")
            sql = "SELECT * EXCLUDE (bay) FROM source"
            source = {"kind": "http", "urls": [f"{HOST}/{Path(REAL['stops']).name}"]}
            again = {"source": source, "processing": processing["stops"], "name": _named("stops"), "vintages": ["2018"]}
            define(definitions, "stops", sql=sql, **again)
            changed = load_datasets(settings.definitions)["stops"]
            _publish(opened, changed, "2018")
            STEPS["catalogue"](opened, changed, Vintage.parse("2018"))
    finally:
        origin.close()
    return settings


def _publish(opened: Deployment, dataset: Dataset, vintage: str) -> None:
    for name, step in STEPS.items():
        if name == "processed":
            opened.ledger.natives.describe(dataset.id, Vintage.parse(vintage), SAID)
        if name != "catalogue":
            step(opened, dataset, Vintage.parse(vintage))


def _named(theme: str) -> dict[str, str]:
    return {"source": "example", "package": "d4c-datapkg-foundation", "theme": theme}
