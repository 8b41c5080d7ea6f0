"""Describes the columns of Statistics Canada's tables in both languages, as metadata of Arrow fields.

The description that a dataset declares for a column takes precedence, see `tables.columns`.
"""

from __future__ import annotations

import pyarrow as pa

COLUMNS: dict[str, tuple[str, str]] = {
    "REF_DATE": ("Reference period, as published", "Période de référence, telle que publiée"),
    "ref_start_date": ("First day of the reference period", "Premier jour de la période de référence"),
    "ref_end_date": ("Last day of the reference period", "Dernier jour de la période de référence"),
    "GEO": ("Name of the geography", "Nom de la géographie"),
    "DGUID": (
        "Dissemination geography unique identifier; empty where the geography has none",
        "Identificateur unique des géographies de diffusion (IDUGD); vide si la géographie n'en a pas",
    ),
    "UOM": ("Unit of measure", "Unité de mesure"),
    "UOM_ID": ("Code of the unit of measure", "Code de l'unité de mesure"),
    "SCALAR_FACTOR": (
        "Factor that the value is to be multiplied by, in words",
        "Facteur par lequel multiplier la valeur, en toutes lettres",
    ),
    "SCALAR_ID": ("Code of the factor (power of ten)", "Code du facteur (puissance de dix)"),
    "VECTOR": ("Identifier of the time series", "Identificateur de la série chronologique"),
    "COORDINATE": (
        "Position of the series in the table's dimensions; text, since 1.1 and 1.10 are two",
        "Position de la série dans les dimensions du tableau; texte, car 1.1 et 1.10 diffèrent",
    ),
    "VALUE": ("Value; empty where the status says why", "Valeur; vide si l'état en donne la raison"),
    "STATUS": ("Symbol of the value's status", "Symbole de l'état de la valeur"),
    "status_en": ("Meaning of the status, in English", "Signification de l'état, en anglais"),
    "status_fr": ("Meaning of the status, in French", "Signification de l'état, en français"),
    "SYMBOL": ("Further symbol of the value", "Autre symbole de la valeur"),
    "symbol_en": ("Meaning of the symbol, in English", "Signification du symbole, en anglais"),
    "symbol_fr": ("Meaning of the symbol, in French", "Signification du symbole, en français"),
    "TERMINATED": ("Whether the series has ended", "Indique si la série est terminée"),
    "DECIMALS": ("Number of decimals to show", "Nombre de décimales à afficher"),
}


def described(name: str, kind: pa.DataType, source: str | None, en: str | None, fr: str | None) -> pa.Field:
    """Return a field with its source name and its descriptions as metadata, which `tables.columns` reads."""
    facts = {"source": source, "description_en": en, "description_fr": fr}
    return pa.field(name, kind, metadata={key: text for key, text in facts.items() if text is not None})
