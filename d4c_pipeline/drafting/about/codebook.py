"""A codebook: a CSV with a row per column of the data, with its name and its meaning, in one language or both."""

from __future__ import annotations

import csv
import io
import re

from d4c_pipeline.drafting.facts import Facts, Found, plain

NAME = re.compile(r"code_?book|data_?dictionary|dictionary|dictionnaire|variables?_?list", re.IGNORECASE)
_COLUMN = (
    "field",
    "field name",
    "field_name",
    "column",
    "column name",
    "column_name",
    "variable",
    "name",
    "champ",
    "nom",
)
_MEANING = {
    "en": ("description", "definition", "label", "meaning", "description_en", "definition_en", "description (en)"),
    "fr": ("description_fr", "définition", "definition_fr", "description (fr)", "signification"),
}


def facts(text: str, name: str) -> Facts:
    """Return the meanings of columns in a codebook with the file name `name`; none if its header is another."""
    rows = list(csv.reader(io.StringIO(text)))
    if len(rows) < 2:
        return {}
    header = [cell.strip().lower() for cell in rows[0]]
    column = next((header.index(each) for each in _COLUMN if each in header), None)
    meanings = {
        tongue: at
        for tongue, names in _MEANING.items()
        if (at := next((header.index(each) for each in names if each in header), None)) is not None
    }
    out: Facts = {}
    if column is None:
        return out
    for row in rows[1:]:
        for tongue, at in meanings.items():
            if len(row) > max(column, at) and row[column].strip() and (meaning := plain(row[at])):
                out[f"columns.{plain(row[column])}.{tongue}"] = Found(meaning, f"{name} of the delivery")
    return out
