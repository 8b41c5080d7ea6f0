"""French texts of causes: those that the code writes in English are known, with their facts, and none stays English."""

from __future__ import annotations

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
