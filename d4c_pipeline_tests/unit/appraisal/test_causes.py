"""French texts of causes: those that the code writes in English are known, with their facts, and none stays English."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import pytest
import yaml

from d4c_pipeline.appraisal import causes, delivered
from d4c_pipeline.appraisal.causes import actor_in, cause_in, in_french
from d4c_pipeline.appraisal.examination import false_suffix
from d4c_pipeline.files import packed
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.sources.fetch import not_data
from d4c_pipeline.transport.patience import explain, explain_status

DOCUMENT = yaml.safe_load(Path(causes.__file__).with_name("words").joinpath("causes.yaml").read_text("utf-8"))
URL = "https://data.example.ca/a.csv"


def inner() -> str:
    with pytest.raises(PermanentError) as refused:
        delivered.refuse_inner(["http://10.0.0.7/x.csv"])
    return refused.value.cause


def bomb() -> str:
    return packed.refused(Path("b.zip"), "would unpack to 20,000,000 bytes, more than 10,000,000").cause


@pytest.mark.parametrize(
    ("made", "french"),
    [
        (inner, "http://10.0.0.7/x.csv n'est pas une adresse publique"),
        (bomb, "b.zip aurait, décompressé, 20_000_000 octets, plus que 10_000_000".replace("_", "\N{NO-BREAK SPACE}")),
        (lambda: packed.broken(Path("b.zip"), "zip", BadZipFile("bad")).cause, "b.zip est endommagé (archive zip)"),
        (lambda: explain_status(404, URL).cause, f"{URL} n'existe pas (le serveur a répondu 404)"),
        (lambda: explain_status(410, URL, message="Gone").cause, f"{URL} n'existe pas (le serveur a répondu 410)"),
        (lambda: explain_status(401, URL).cause, f"{URL} exige une authentification (le serveur a répondu 401)"),
        (lambda: explain_status(403, URL).cause, f"{URL} refuse l'accès (le serveur a répondu 403)"),
        (lambda: explain_status(202, URL).cause, f"{URL} n'est pas encore prêt : le serveur a répondu 202"),
        (lambda: explain_status(204, URL).cause, f"{URL} a répondu 204 (sans contenu)"),
        (lambda: explain_status(503, URL, " (2 attempts)").cause, f"{URL} a répondu 503"),
        (lambda: explain_status(418, URL).cause, f"{URL} a répondu 418"),
        (lambda: explain(TimeoutError(), URL, 2).cause, f"{URL} n'a pas répondu à temps"),
        (lambda: explain(ConnectionRefusedError(), URL).cause, "Aucune connexion à data.example.ca n'a été possible"),
        (lambda: explain(ConnectionResetError(), URL).cause, f"La connexion à {URL} s'est interrompue"),
        (lambda: not_data.html_instead(URL).cause, f"{URL} a envoyé une page Web au lieu de données"),
    ],
)  # fmt: skip
def test_causes_that_the_code_writes_are_known(made: Callable[[], str], french: str) -> None:
    assert in_french(made()) == french
    assert cause_in("en", made()) == made()


@pytest.mark.parametrize(
    ("name", "content", "french"),
    [
        ("a.csv", b"", "a.csv est vide"),
        ("a.gpkg", b"text" * 9, "a.gpkg n'est pas un fichier .gpkg"),
        ("a.gpkg", b"PK\x03\x04xxxx", "a.gpkg n'est pas un fichier .gpkg, mais une archive zip ou un classeur"),
        ("a.csv", b"%PDF-1.7", "a.csv n'est pas un texte, mais un document PDF"),
        ("a.bin", b"MZ" + bytes(9), "a.bin est un programme"),
    ],
)
def test_a_false_suffix_is_told_in_french(tmp_path: Path, name: str, content: bytes, french: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert in_french(str(false_suffix(tmp_path / name))) == french


def test_every_entry_leads_to_its_own_french_text() -> None:
    samples = {"status": "500", "number": "7", "line": "12", "at": " while reading x", "rest": " and more"}
    for entry in DOCUMENT["causes"]:
        english = re.sub(r"\{term:[a-z]+\}", "a gzip file", entry["en"])
        names = re.findall(r"\{([a-z]+)\}", english)
        english = english.format(**{name: samples.get(name, f"X{name}") for name in names})
        french = (
            re.sub(r"\{(actual|kind)\}", "un fichier gzip", entry["fr"]) if "{term:" in entry["en"] else entry["fr"]
        )
        expected = french.format(**{name: samples.get(name, f"X{name}") for name in names})
        assert in_french(english) == expected, entry["en"]
        assert {*re.findall(r"\{([a-z]+)\}", french)} <= {*names}, entry["fr"]


def test_an_unknown_cause_is_left_to_the_english_page_and_takes_no_time() -> None:
    assert in_french("GDAL said no") == "le détail technique se trouve sur la page en anglais"
    assert in_french(f"{'a is ' * 100_000}") == DOCUMENT["unknown"]
    assert (cause_in("fr", None), cause_in("fr", "")) == ("", "")


def test_our_own_programs_have_french_names() -> None:
    assert actor_in("fr", "assessment") == "évaluation"
    assert actor_in("fr", "appraisal policy 2026-12") == "politique d'appréciation 2026-12"
    assert (actor_in("en", "assessment"), actor_in("fr", "Ana Roy")) == ("assessment", "Ana Roy")


def written(call: ast.Call) -> str | None:
    """The cause that a call of DataError writes, with 7 in place of each value; None when it is made elsewhere."""
    cause = call.args[0] if call.args else None
    if isinstance(cause, ast.Constant):
        return str(cause.value)
    if isinstance(cause, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in cause.values)
    return None


# Causes that only a declaration brings about; an assessment declares nothing, so no submitter reads them.
DECLARED = {
    "Column 7 of 7 holds bytes, not text",
    "Column 7 has the value 7, an angle, but the declared coordinate reference system is projected",
    "Column 7 has the value 7: 7",
    "Column 7 is declared as longitude and 7 as latitude",
    "7 has no column 7 for coordinates",
    "7 is text, and no columns with coordinates are declared",
    "The data already has a column 7, which is declared as origin_column",
    "7 has no line 7",
    "7 has no row 7",
    "7 has fewer lines than the 7 declared as processing.footer_rows",
    "7 has no list at 7; its lists are 7",
    "7 has 7 values without a list at 7",
    "7 is a list, in which processing.records (7) has no match",
}
# Causes of which a part is a choice of words: {the template: the texts}.
CHOICES = {
    "7 is one object with 7 of records in it: 7": ("t is one object with a list of records in it: a",),
    "7 has a value that is not 7: 7": (
        "t has a value that is not an object: [1]",
        "t has a value that is not a list: {}",
    ),
}


def test_no_cause_of_a_reader_stays_english() -> None:
    readers = Path(packed.__file__).parents[1] / "readers"
    found: dict[str, str] = {}
    for file in sorted(readers.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "DataError":
                found |= {cause: file.name for cause in [written(node)] if cause is not None}
    assert len(found) > 100
    assert found.keys() >= DECLARED | CHOICES.keys(), "no longer written: take them out of this test"
    texts = [(text, file) for cause, file in found.items() for text in CHOICES.get(cause, (cause,))]
    english = [text for text, _ in texts if text not in DECLARED and in_french(text) == DOCUMENT["unknown"]]
    assert english == [], f"add them to words/causes.yaml: {english}"
