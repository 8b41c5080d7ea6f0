"""Errors: sentences of cause and remedy, and no secret in them."""

from __future__ import annotations

import errno

import pyarrow
import pytest

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import D4CError, TransientError, shortage
from d4c_pipeline.model.secrets import sanitise

SECRET = "s3cr3t-Value"


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://user:{SECRET}@example.org/a failed",
        f"GET https://{SECRET}@example.org/a failed",
        f"postgresql+psycopg2://d4c:{SECRET}@db/d4c refused",
        f"https://example.org/a?access_token={SECRET}&size=1",
        f"https://example.org/a?size=1&token={SECRET}",
        f"https://example.org/a?api_key={SECRET}",
        f"https://example.org/a?api-key={SECRET}",
        f"https://example.org/a?X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}",
        f"password={SECRET} in the settings",
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {SECRET}",
    ],
)
def test_no_secret_survives(text: str) -> None:
    assert SECRET not in sanitise(text)
    assert SECRET not in str(D4CError(text, text))
    assert SECRET not in repr(D4CError(text, text))


def test_what_is_no_secret_stays() -> None:
    text = "https://example.org/données?vintage=2021&page=2 answered 404: write to info@example.org"

    assert sanitise(text) == text


def test_control_characters_become_blanks() -> None:
    assert sanitise("red \x1b[31malert\r\x00 \x7f") == "red  [31malert    "
    assert sanitise("two\nlines\tand a tab") == "two\nlines\tand a tab"


def test_cause_and_remedy_are_two_sentences() -> None:
    error = TransientError("The server is away.", "Run again later.")

    assert str(error) == "The server is away. Run again later."
    assert (error.cause, error.remedy) == ("The server is away", "Run again later")
    assert str(TransientError("The server is away")) == "The server is away."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "gave this process no more memory"),
        (pyarrow.ArrowMemoryError("malloc of size 64 failed"), "no more memory: malloc of size 64 failed"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "no more memory"),
        (OSError(errno.EMFILE, "Too many open files"), "no more open files"),
        (RuntimeError("can't start new thread"), "no more processes or threads"),
    ],
)
def test_a_limit_of_the_system_is_no_bug_and_no_matter_of_the_disk(error: BaseException, said: str) -> None:
    told = shortage(error)
    assert isinstance(told, TransientError)
    assert said in told.cause
    assert "ulimit" in told.remedy
    with pytest.raises(TransientError if isinstance(error, OSError) else type(error)), storage_errors("write x"):
        raise error


def test_other_errors_are_no_shortage() -> None:
    for error in (OSError(errno.ENOSPC, "full"), RuntimeError("x"), ValueError()):
        assert shortage(error) is None
