"""French full tables (`33100036-fra.zip`) under the names of the English ones, so that both become the same rows.

What the columns mean is said in `wds`; here stand only their French names, the decimal comma, and the units that a
French file knows by name. https://www.statcan.gc.ca/en/developers/csv/user-guide says that the files of both languages
have the same structure, French ones with semicolons; the names are those of the French files, as the R package cansim
and other readers of such files know them.
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

# STATUS and DGUID are the same in both; some of the others were seen in English in French files as well.
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
    """Whether the columns `names` are those of a French census file, in which a number may have a decimal comma."""
    return any(
        name in _CENSUS or name.startswith(_CENSUS_2016) or _VALUE_OF_PROFILE in name for name in map(str.upper, names)
    )


def with_points(column: pa.Array) -> pa.Array:
    """Return the texts of `column` with the decimal comma of numbers made a point; all else as it is."""
    return pc.replace_substring_regex(column, _DECIMAL_COMMA, r"\1.\2")


def is_table(path: Path) -> bool:
    """Whether the first line of a text file is that of a French full table."""
    with path.open("rb") as handle:
        line = handle.readline(1 << 16)
    return is_french(name.strip('"\r\n') for name in line.decode("utf-8-sig", "replace").split(_DELIMITER))


def units(path: Path) -> dict[str, str]:
    """Return what a French full table calls the units of measure: UOM_ID as text -> name.

    The file is read in blocks. Raises DataError when it can't be read.
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
