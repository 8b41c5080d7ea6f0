"""Text comes back from InvenioRDM as `ftfy` and `bleach` leave it; only another wording is a difference."""

from __future__ import annotations

import pytest

from d4c_pipeline.archives.invenio.answers import differences


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("Parcs de l’Ontario", "Parcs de l'Ontario"),  # U+2019, seen at InvenioRDM 14
        ("“Grand” lac", '"Grand" lac'),
        ("ﬁnances ２０２４", "finances 2024"),
        ("Que\u0301bec", "Québec"),
        ("zero\u200bwidth", "zerowidth"),
        ("two\r\nlines", "two lines"),
        ("<p>R&amp;D</p>", "R&D"),
        ("Ministère  de l’Environnement ", "Ministère de l'Environnement"),
    ],
)
def test_what_the_archive_normalises_is_no_difference(sent: str, got: str) -> None:
    assert list(differences({"title": sent}, {"title": got})) == []


@pytest.mark.parametrize(
    ("sent", "got"), [("Parcs de l’Ontario", "Parcs de Ontario"), ("1-2", "12"), ("été", "ete"), ("10", "-10")]
)
def test_another_wording_is_a_difference(sent: str, got: str) -> None:
    assert list(differences({"title": sent}, {"title": got})) == ["metadata.title"]
