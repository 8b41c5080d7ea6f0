"""French full tables for tests: what Statistics Canada would deliver as `-fra.zip` beside an English one.

Made of the real English table and the real bilingual cube metadata, row by row with Python's own csv. Names of columns
and sections are those that readers of real French files know; units are translated where a test names them.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COLUMNS = {
    "REF_DATE": "PÉRIODE DE RÉFÉRENCE",
    "GEO": "GÉO",
    "UOM": "UNITÉ DE MESURE",
    "UOM_ID": "IDENTIFICATEUR D'UNITÉ DE MESURE",
    "SCALAR_FACTOR": "FACTEUR SCALAIRE",
    "SCALAR_ID": "IDENTIFICATEUR SCALAIRE",
    "VECTOR": "VECTEUR",
    "COORDINATE": "COORDONNÉES",
    "VALUE": "VALEUR",
    "SYMBOL": "SYMBOLE",
    "TERMINATED": "TERMINÉ",
    "DECIMALS": "DÉCIMALES",
}
_UNIQUE = ("DGUID", "STATUS")
_FREQUENCIES = {1: "Quotidienne", 6: "Mensuelle", 12: "Annuelle"}


def french_twin(english: Path, answer: Path, into: Path, *, units: Mapping[str, str]) -> Path:
    """Write the French zip of the table in the zip `english` to the folder `into`.

    `answer`: the cube's getCubeMetadata, `units`: English name of a unit of measure -> French one.
    """
    known: dict[str, Any] = json.loads(answer.read_text("utf-8"))
    product = str(known["productId"])
    dimensions = sorted(known["dimension"], key=lambda each: int(each["dimensionPositionId"]))
    members = [{str(m["memberId"]): m["memberNameFr"].strip() for m in each["member"]} for each in dimensions]
    names = {each["dimensionNameEn"].strip(): each["dimensionNameFr"].strip() for each in dimensions}
    with zipfile.ZipFile(english) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read(f"{product}.csv").decode("utf-8-sig"), newline="")))
    of_dimensions = ["GEO", *(name for name in rows[0] if name not in {*_COLUMNS, *_UNIQUE})]
    header = [_COLUMNS.get(name) or (name if name in _UNIQUE else names[name.strip()]) for name in rows[0]]
    out: list[list[str]] = []
    for row in rows:
        french = row | dict(
            zip(
                of_dimensions,
                (of[member] for of, member in zip(members, row["COORDINATE"].split("."), strict=True)),
                strict=True,
            )
        )
        french["UOM"] = units[row["UOM"]]
        french["SCALAR_FACTOR"] = {"units": "unités", "thousands": "milliers"}[row["SCALAR_FACTOR"].strip()]
        french["VALUE"] = row["VALUE"].replace(".", ",")
        out.append(list(french.values()))
    path = into / f"{product}-fra.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{product}.csv", _text([header, *out]))
        archive.writestr(f"{product}_MetaData.csv", _text(_metadata(known, product, dimensions)))
    return path


def _metadata(known: Mapping[str, Any], product: str, dimensions: list[dict[str, Any]]) -> list[list[str]]:
    number = "Numéro d'identification de la dimension"
    head = ["Titre du cube", "Identificateur du produit", "Identificateur CANSIM", "URL", "Notes de cube",
            "État d'archivage", "Fréquence"]  # fmt: skip
    rows = [head, [known["cubeTitleFr"], product, "", "", "1;2", "ACTIF", _FREQUENCIES[known["frequencyCode"]]], []]
    rows += [[number, "Nom de la dimension", "Notes de dimension", "Définitions de dimension"]]
    rows += [[str(each["dimensionPositionId"]), each["dimensionNameFr"]] for each in dimensions]
    rows += [[], [number, "Nom du membre", "Code sur la classification", "Numéro d'identification du membre"]]
    rows += [
        [str(each["dimensionPositionId"]), member["memberNameFr"], "", str(member["memberId"])]
        for each in dimensions
        for member in each["member"]
    ]
    legend = [["indisponible pour une période de référence précise", ".."], ["inférieur à la limite", "<LDD"]]
    return [*rows, [], ["Légende Symbole"], ["Description", "Symbole"], *legend, []]


def _text(rows: list[list[str]]) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, delimiter=";", quoting=csv.QUOTE_ALL).writerows(rows)
    return sink.getvalue().encode("utf-8-sig")
