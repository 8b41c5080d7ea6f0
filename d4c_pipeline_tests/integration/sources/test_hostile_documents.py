"""XML that came from elsewhere: entities are not followed out of the document, and do not blow up."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pyogrio
import pytest
from pyogrio.errors import DataSourceError

FERRY = "04_nrn_qc_ferry/NRN_QC_9_0_FerryConnectionSegment.gml"
FIELD = "<nrn:datasetName>Québec<"


def with_doctype(fixtures: Path, target: Path, entities: str, used: str) -> Path:
    """The real GML with declarations of entities and one of them in place of a value."""
    text = (fixtures / FERRY).read_text("utf-8")
    at = text.index("?>") + 2
    assert FIELD in text
    body = text[at:].replace(FIELD, f"<nrn:datasetName>&{used};<", 1)
    target.write_text(f"{text[:at]}<!DOCTYPE x [{entities}]>{body}", "utf-8")
    return target


def test_an_external_entity_of_a_gml_is_not_read(fixtures: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("TOPSECRET")
    entity = f'<!ENTITY s SYSTEM "file://{tmp_path}/secret.txt">'
    read = pyogrio.read_dataframe(with_doctype(fixtures, tmp_path / "a.gml", entity, "s"))
    assert "TOPSECRET" not in read.to_csv()


def test_entities_that_multiply_end_soon(fixtures: Path, tmp_path: Path) -> None:
    letters = "abcdefghij"
    entities = '<!ENTITY a "lololololololololol">' + "".join(
        f'<!ENTITY {after} "{f"&{before};" * 10}">' for before, after in pairwise(letters)
    )
    began = time.monotonic()
    read = pyogrio.read_dataframe(with_doctype(fixtures, tmp_path / "b.gml", entities, "j"))
    assert time.monotonic() - began < 20
    assert len(read.to_csv()) < 1_000_000


def test_a_kml_with_an_external_entity_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("TOPSECRET")
    (tmp_path / "a.kml").write_text(
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY s SYSTEM "file://{tmp_path}/secret.txt">]>'
        '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><name>&s;</name>'
        "<Point><coordinates>1,2</coordinates></Point></Placemark></Document></kml>"
    )
    with pytest.raises(DataSourceError):
        pyogrio.read_dataframe(tmp_path / "a.kml")
