"""Which values of If-None-Match get a 304."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from d4c_pipeline.services.discovery.answers import has_current


def request(*values: str, method: str = "GET") -> Request:
    headers = [(b"if-none-match", value.encode()) for value in values]
    return Request({"type": "http", "method": method, "headers": headers})


@pytest.mark.parametrize("tag", ['"ab"', 'W/"ab"'])
@pytest.mark.parametrize(
    ("values", "is_current"),
    [
        (('"ab"',), True),
        (('W/"ab"',), True),  # as a proxy that compresses writes a tag
        (('"x" , "ab"',), True),
        (('"x"', '"ab"'), True),  # two headers
        (("*",), True),
        ((), False),
        (("",), False),
        (("ab",), False),
        (('"abc"',), False),
        (('"x*"',), False),
        (('"x"ab"y"',), False),
    ],
)
def test_a_tag_is_compared_whole_and_weakly(tag: str, values: tuple[str, ...], is_current: bool) -> None:
    assert has_current(request(*values), tag) is is_current


def test_only_reading_gets_a_304() -> None:
    assert has_current(request("*", method="HEAD"), '"ab"')
    assert not has_current(request("*", method="POST"), '"ab"')
