"""Answers that are kept: equal queries are made once, and never more bytes than are allowed."""

from __future__ import annotations

import pytest

from d4c_pipeline.services.discovery.answers import RecentAnswers


def test_an_equal_query_of_one_state_is_made_once() -> None:
    recent, made = RecentAnswers(100), list[str]()

    def make(text: str) -> bytes:
        made.append(text)
        return text.encode()

    assert recent.get(("state 1", "q=a"), lambda: make("a")) == b"a"
    assert recent.get(("state 1", "q=a"), lambda: make("again")) == b"a"
    assert recent.get(("state 2", "q=a"), lambda: make("new")) == b"new"
    assert made == ["a", "new"]


def test_the_oldest_answers_leave_when_the_bytes_are_used_up() -> None:
    recent = RecentAnswers(10)
    for name in ("a", "b"):
        recent.get((name,), lambda: b"12345")
    recent.get(("a",), lambda: b"never made")  # read last, so b leaves first
    recent.get(("c",), lambda: b"1")
    assert recent.get(("a",), lambda: b"other") == b"12345"
    assert recent.get(("b",), lambda: b"anew") == b"anew"
    assert recent.get(("long",), lambda: b"x" * 11) == b"x" * 11
    assert recent.get(("long",), lambda: b"y") == b"y"  # too long to be kept


def test_an_error_is_not_kept() -> None:
    recent = RecentAnswers(10)

    def fails() -> bytes:
        raise KeyError("a")

    with pytest.raises(KeyError):
        recent.get(("a",), fails)
    assert recent.get(("a",), lambda: b"1") == b"1"
