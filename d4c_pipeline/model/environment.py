"""The base of all settings: each field is one environment variable with its parser, default, unit and description.

The settings themselves belong to `settings`, `limits`, `seeding` and `ui_access`, their table to `settings_table`.
Concept: https://docs.pydantic.dev/latest/concepts/pydantic_settings/
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from d4c_pipeline.model.errors import PermanentError

PREFIX = "D4C_"
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(i?)B", re.IGNORECASE)


@dataclass(frozen=True)
class Parser:
    """Converts the text of a variable to the value of its field: `parse(variable, text)` raises PermanentError."""

    parse: Callable[[str, str], Any]


def variable(
    name: str, description: str, *, default: Any = None, unit: str = "", unset: str = "", factory: Any = None
) -> Any:
    """Return the field of the environment variable `name`.

    `unit`: the unit of a number. `unset`: for the documentation, the value that applies if the default is computed
    elsewhere. `factory` computes the default when the settings are created.
    """
    extra: Any = {"unit": unit, "unset": unset}
    if factory is not None:
        return Field(default_factory=factory, validation_alias=name, description=description, json_schema_extra=extra)
    return Field(default, validation_alias=name, description=description, json_schema_extra=extra)


class EnvironmentSettings(BaseSettings):
    """Settings that `from_environment` reads; the constructor reads no environment.

    An empty variable counts as unset. A value that the field's parser refuses raises PermanentError, which names the
    variable and a correct form.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        case_sensitive=True,
        enable_decoding=False,
        hide_input_in_errors=True,
        defer_build=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the base class's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the base class's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the constructor alone: no file or variable changes a test or a run unnoticed."""
        return (init_settings,)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings from `environment`, by default the environment of the process.

        Raises PermanentError when a variable has a wrong value.
        """
        source = EnvSettingsSource(cls)
        source.env_vars = {
            name: text
            for name, text in (os.environ if environment is None else environment).items()
            if name.startswith(PREFIX) and text.strip()
        }
        return cls(**source())

    @field_validator("*", mode="before")
    @classmethod
    def _parsed(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        field = cls.model_fields[str(info.field_name)]
        parsers = [found for found in field.metadata if isinstance(found, Parser)]
        return parsers[0].parse(str(field.validation_alias), value) if parsers else value


def words(text: str) -> list[str]:
    """Return the words of a comma-separated list, without empty words."""
    return [word.strip() for word in text.split(",") if word.strip()]


def path(_variable: str, text: str) -> Path:
    """Return the absolute path of `text`; `~` is the user's home folder."""
    return Path(text.strip()).expanduser().absolute()


def amount(text: str) -> int | None:
    """Return the number of bytes in an amount such as `500GB` or `5 MiB`, None for any other text."""
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        return None
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix.upper() or " "))


def _flag(_variable: str, text: str) -> bool:
    return text not in ("0", "false", "no")


def _byte_count(variable: str, text: str) -> int:
    count = amount(text)
    if count is None:
        raise PermanentError(f"{variable} is '{text}'", "Write an amount such as 200GB or 512MiB")
    return count


def _positive(variable: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise PermanentError(f"{variable} is '{text}'", "Write a whole number from 1 on")
    return int(text)


def _words(_variable: str, text: str) -> tuple[str, ...]:
    return tuple(words(text))


Flag = Annotated[bool, Parser(_flag)]
ByteCount = Annotated[int | None, Parser(_byte_count)]
Positive = Annotated[int, Parser(_positive)]
Words = Annotated[tuple[str, ...], Parser(_words)]
OptionalPath = Annotated[Path | None, Parser(path)]
