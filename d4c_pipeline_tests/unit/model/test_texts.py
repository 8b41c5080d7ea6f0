"""Texts: what an operator may not declare, and what is made of a source's."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from d4c_pipeline.model.described import Described
from d4c_pipeline.model.texts import clean, unfit


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("bell \x07", "a control character (U+0007)"),
        ("null \x00", "a control character (U+0000)"),
        ("\x9b31m", "a control character (U+009B)"),
        ("\u202egnp.exe", "a character that turns the direction of the text (U+202E)"),
        ("\u2066x", "turns the direction"),
        ("half \ud83d", "half a character (a lone surrogate) (U+D83D)"),
        ("\ufeffx", "no character (U+FEFF)"),
        ("\uffff", "no character"),
        ("<script>alert(1)</script>", "HTML"),
        ("<img src=x onerror=alert(1)>", "HTML"),
        ("< a href='x'>x", "HTML"),
        ("<!-- hidden", "HTML"),
        ("<svg/onload=alert(1)", "HTML"),
    ],
)
def test_what_may_not_be_declared_is_named(text: str, what: str) -> None:
    assert what in (unfit(text) or "")


@pytest.mark.parametrize(
    "text",
    [
        "Parcs du Québec, l’Ontario\n\tand more",
        "areas < 5 km and > 2 km; a<b",
        "see <https://example.ca>, **bold**",
        "ᐃᓄᒃᑎᑐᑦ 日本 👩\N{ZERO WIDTH JOINER}\N{RIGHT-TO-LEFT MARK}",
        "x\x85y",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    assert unfit(text) is None
    assert clean(text) == text


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("<p>Parks &amp; trails</p>", "Parks & trails"),
        ("<b>x</b><script>alert(1)</script>y", "x y"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;z", "z"),
        ("a\x07b\u202ec\ud800d", "a b c d"),
        ("L&rsquo;Ontario", "L’Ontario"),
    ],
)
def test_what_a_source_says_becomes_plain_text(said: str, kept: str) -> None:
    assert " ".join(clean(said).split()) == kept
    described = Described((said, ""), ("", said), ((said,), ()))
    assert " ".join(described.title[0].split()) == " ".join(described.description[1].split()) == kept


@given(st.text(st.characters(), max_size=60))
def test_a_cleaned_text_can_stand_in_any_feed(text: str) -> None:
    done = clean(text)
    assert unfit(done) is None or "HTML" in str(unfit(done))
    element = ET.Element("title")
    element.text = done
    ET.fromstring(ET.tostring(element, "utf-8"))
