"""Maps French full tables (`33100036-fra.zip`) to the column names of English tables, so that both give the same rows.

Here belong the French names, the decimal comma and the French names of units; `wds` defines the meaning of the columns.
https://www.statcan.gc.ca/en/developers/csv/user-guide states that the files of both languages have the same structure,
French files with semicolons. The names are those of French files, as in the R package cansim and other readers.
"""

# pyarrow.compute makes its functions at import, unseen by type checkers.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from d4c_pipeline.model.errors import DataError

# STATUS and DGUID have the same name in both languages; French files also have some of the others in English.
COLUMNS = {
    "PÉRIODE DE RÉFÉRENCE": "REF_DATE",
    "GÉO": "GEO",
    "UNITÉ DE MESURE": "UOM",
    "IDENTIFICATEUR D'UNITÉ DE MESURE": "UOM_ID",
    "FACTEUR SCALAIRE": "SCALAR_FACTOR",
    "IDENTIFICATEUR SCALAIRE": "SCALAR_ID",
    "VECTEUR": "VECTOR",
    "COORDONNÉES": "COORDINATE",
    "VALEUR": "VALUE",
    "STATUT": "STATUS",
    "SYMBOLE": "SYMBOL",
    "TERMINÉ": "TERMINATED",
    "DÉCIMALES": "DECIMALS",
}
_VALUE = "VALEUR"
_CENSUS = ("ANNÉE_RECENSEMENT", "PÉRIODE DE RÉFÉRENCE", "IDUGD", "CODE_GÉO", "NOM_CARACTÉRISTIQUE")
_CENSUS_2016 = "MEMBRE ID"
_VALUE_OF_PROFILE = "_CHIFFRE_"
_DELIMITER = ";"
_DECIMAL_COMMA = r"^(-?[0-9]*),([0-9]+)$"


def is_french(names: Iterable[str]) -> bool:
    """Whether the columns `names` are those of a French full table."""
    return _VALUE in names


def is_census(names: Iterable[str]) -> bool:
    """Whether the columns `names` are those of a French census file, where a number may have a decimal comma."""
    return any(
        name in _CENSUS or name.startswith(_CENSUS_2016) or _VALUE_OF_PROFILE in name for name in map(str.upper, names)
    )


def with_points(column: pa.Array) -> pa.Array:
    """Return the texts of `column` with a decimal point for the decimal comma of numbers; other texts are unchanged."""
    return pc.replace_substring_regex(column, _DECIMAL_COMMA, r"\1.\2")


def is_table(path: Path) -> bool:
    """Whether the first line of a text file is the header of a French full table."""
    with path.open("rb") as handle:
        line = handle.readline(1 << 16)
    return is_french(name.strip('"\r\n') for name in line.decode("utf-8-sig", "replace").split(_DELIMITER))


def units(path: Path) -> dict[str, str]:
    """Return the French names of the units of measure in a French full table: UOM_ID as text -> name.

    The file is read in blocks. Raises DataError when the file cannot be read.
    """
    by_english = {english: name for name, english in COLUMNS.items()}
    wanted = [by_english["UOM_ID"], by_english["UOM"]]
    found: dict[str, str] = {}
    try:
        reader = pyarrow.csv.open_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter=_DELIMITER, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=wanted, column_types=dict.fromkeys(wanted, pa.string())
            ),
        )
        for batch in reader:
            distinct = pa.Table.from_batches([batch]).group_by(wanted).aggregate([])
            found |= dict(zip(*(distinct[name].to_pylist() for name in wanted), strict=True))
    except (pa.ArrowInvalid, KeyError) as error:
        raise DataError(f"The French table {path.name} can't be read: {error}", "Fetch the vintage again") from error
    return {number: name for number, name in found.items() if number and name}
