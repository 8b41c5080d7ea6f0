"""The base of all declarations in YAML: a frozen model that refuses unknown fields, and the kinds of text.

The declarations themselves belong to `dataset`, `processing`, `sources` and the other modules of this room.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.secrets import mask, secret_in_address
from d4c_pipeline.model.vintage import Vintage

REMEMBERED = "remembered"
"""Validation context of a stored declaration that is only displayed: a rule added later must not hide it."""


def full_match(pattern: str, meaning: str) -> AfterValidator:
    """Return the validator of a text that must match `pattern` completely; `meaning` names the text in the error."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text, re.ASCII) is None:
            raise ValueError(f"'{text}' is not {meaning}")
        return text

    return AfterValidator(check)


def text_of_number(value: object) -> object:
    """Return a whole number as text, any other value unchanged."""
    # YAML reads an unquoted 2021 as a number; it still names the vintage 2021.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _vintage_text(text: str) -> str:
    try:
        return str(Vintage.parse(text))
    except D4CError as error:
        raise ValueError(str(error)) from error


VintageText = Annotated[str, BeforeValidator(text_of_number), AfterValidator(_vintage_text)]
Identifier = Annotated[
    str, full_match(r"[a-z][a-z0-9_]*", "an identifier (lower-case letters, digits and underscores)")
]


def _without_secrets(url: str, info: ValidationInfo) -> str:
    if info.context == REMEMBERED:
        return mask(url)
    if (part := secret_in_address(url)) is not None:
        raise ValueError(
            f"'{mask(url)}' has {part}, which would be published with every release: leave it out, and write "
            "authorization: NAME, the environment variable that holds the Authorization header"
        )
    return url


WebUrl = Annotated[str, full_match(r"https?://[^\s]+", "an http(s) address")]
HttpUrl = Annotated[WebUrl, AfterValidator(_without_secrets)]


class Declared(BaseModel):
    """Base of all declarations in YAML: frozen, and unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Bilingual(Declared):
    """A text in English and French."""

    en: str = Field(min_length=1)
    fr: str = Field(min_length=1)
