"""Origins: exactly one origin is replaced, path and query stay as they are written."""

from __future__ import annotations

import pytest

from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.sources.fetch.origins import rewrite

ORIGINS = {"https://www12.statcan.gc.ca": "http://127.0.0.1:8000"}


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        ("https://www12.statcan.gc.ca/a/b%20c.zip?x=1&y=%C3%A9", "http://127.0.0.1:8000/a/b%20c.zip?x=1&y=%C3%A9"),
        ("https://WWW12.statcan.gc.ca:443/a.zip", "http://127.0.0.1:8000/a.zip"),
        ("https://www12.statcan.gc.ca", "http://127.0.0.1:8000/"),
        ("https://www12.statcan.gc.ca?q=1", "http://127.0.0.1:8000/?q=1"),
        ("http://www12.statcan.gc.ca/a.zip", "http://www12.statcan.gc.ca/a.zip"),
        ("https://www12.statcan.gc.ca:8443/a.zip", "https://www12.statcan.gc.ca:8443/a.zip"),
        ("https://www12.statcan.gc.ca.evil.example/a.zip", "https://www12.statcan.gc.ca.evil.example/a.zip"),
        (
            "https://example.org/?u=https://www12.statcan.gc.ca/a",
            "https://example.org/?u=https://www12.statcan.gc.ca/a",
        ),
    ],
)
def test_only_the_exact_origin_is_rewritten(url: str, rewritten: str) -> None:
    assert rewrite(url, ORIGINS) == rewritten


def test_a_path_of_the_replacement_comes_first() -> None:
    assert rewrite("https://a.ca/x/y.zip", {"https://a.ca": "http://mirror.lan/a/"}) == "http://mirror.lan/a/x/y.zip"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SourceError, match="is not an address"):
        rewrite("https://[half/a.zip", {})
