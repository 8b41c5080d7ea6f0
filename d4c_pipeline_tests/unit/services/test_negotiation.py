"""Content negotiation as RFC 9110 states it."""

from __future__ import annotations

import pytest

from d4c_pipeline.services.negotiation import best, language

OFFERS = {
    "html": ("text/html", None),
    "schema": ("application/ld+json", "https://schema.org/"),
    "crate": ("application/ld+json", "https://w3id.org/ro/crate/1.2"),
    "ris": ("application/x-research-info-systems", None),
}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", "html"),
        ("*/*", "html"),
        ("text/*", "html"),
        ("application/*", "schema"),
        ("application/ld+json", "schema"),
        ("APPLICATION/LD+JSON", "schema"),
        ('application/ld+json; profile="https://w3id.org/ro/crate/1.2"', "crate"),
        ("application/ld+json;profile=https://w3id.org/ro/crate/1.2;q=0.3, */*;q=0.1", "crate"),
        ('application/ld+json; profile="https://unknown.example/"', None),
        ("text/html;q=0.5, application/x-research-info-systems", "ris"),
        ("text/html;q=0, */*", "schema"),
        ("application/ld+json;q=0", None),
        ("image/png", None),
        ("text/html;q=2, application/x-research-info-systems;q=0.1", "ris"),
        ("text/html;q=x", None),
        (";;;,,,", None),
        ('"', None),
        ("text/html" + " " * 5_000 + ";q=0", "html"),
        (", ".join(["image/png"] * 60) + ", text/html", None),
    ],
)
def test_the_most_exact_range_decides_and_the_best_quality_wins(header: str, expected: str | None) -> None:
    assert best(header, OFFERS) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [("", "en"), ("fr-CA, en;q=0.5", "fr"), ("en;q=0.2, fr;q=0.1", "en"), ("de", "en"), ("fr;q=0", "en")],
)
def test_the_first_known_language_is_taken(header: str, expected: str) -> None:
    assert language(header) == expected
