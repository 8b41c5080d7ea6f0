"""The appraisal policy and the list of alternative repositories, read from YAML.

The criteria are judged in `assessment`; a manager's decision belongs to `decisions`. docs/appraisal.md
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from d4c_pipeline.model.appraisal_settings import AppraisalSettings
from d4c_pipeline.model.declared import Bilingual, Declared, HttpUrl, Identifier, text_of_number
from d4c_pipeline.model.environment import amount
from d4c_pipeline.model.errors import DefinitionError, UnknownNameError

_HERE = Path(__file__).parent
_Model = TypeVar("_Model", bound=BaseModel)


def _bytes(value: object) -> object:
    return amount(value) if isinstance(value, str) else value


_Amount = Annotated[int, Field(gt=0), BeforeValidator(_bytes)]


class Criterion(Declared):
    """A criterion. `declines`: whether its FAILURE declines a submission by rule, without a manager."""

    title: Bilingual
    text: Bilingual
    declines: bool = False


class Scope(Criterion):
    """What the data describe. `bounds`: west, south, east, north in degrees."""

    bounds: tuple[float, float, float, float]


class Rights(Criterion):
    """Licences. `aliases`: further titles and addresses by licence id; `forbidden`: words that forbid publication."""

    aliases: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    forbidden: tuple[str, ...] = ()


class Quality(Criterion):
    """The content. `least_rows` of all files together; `empty_columns`: the tolerated share of columns."""

    least_rows: Annotated[int, Field(ge=0)]
    empty_columns: Annotated[float, Field(ge=0, le=1)]


class Size(Criterion):
    """The bytes of all files of a submission."""

    largest: _Amount
    warns_from: _Amount


class Cost(Criterion):
    """The bytes of all releases of `years` in all `copies`."""

    years: Annotated[int, Field(gt=0)]
    copies: Annotated[int, Field(gt=0)]
    warns_from: _Amount


class Criteria(Declared):
    """The seven criteria, in the order of an assessment."""

    scope: Scope
    rights: Rights
    quality: Quality
    format: Criterion
    size: Size
    uniqueness: Criterion
    cost: Cost

    def __iter__(self) -> Iterator[tuple[str, Criterion]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Iterate over names and criteria."""
        return ((name, getattr(self, name)) for name in type(self).model_fields)


class Policy(Declared):
    """The appraisal policy. `version` stands in each assessment; `terms`: what a submitter agrees to."""

    version: Annotated[str, BeforeValidator(text_of_number), Field(min_length=1)]
    terms: Bilingual
    criteria: Criteria


class Alternative(Declared):
    """Another repository. `suits`: criteria that data may fail and still fit there."""

    id: Annotated[str, Field(pattern="^[a-z][a-z0-9-]*$")]
    name: Bilingual
    url: HttpUrl
    takes: Bilingual
    suits: tuple[Identifier, ...]


class Alternatives(Declared):
    """The maintained list. `reviewed`: the day on which a person checked it."""

    reviewed: date
    repositories: tuple[Alternative, ...]

    def suiting(self, failed: Collection[str]) -> tuple[Alternative, ...]:
        """Return the repositories for data that fail the criteria `failed`, those that suit most of them first."""
        found = [(len(set(each.suits) & set(failed)), each) for each in self.repositories]
        return tuple(each for count, each in sorted(found, key=lambda pair: -pair[0]) if count)

    def named(self, ids: Collection[str]) -> tuple[Alternative, ...]:
        """Return the repositories with these ids. Raises UnknownNameError for an unknown id."""
        known = {each.id: each for each in self.repositories}
        if unknown := [name for name in ids if name not in known]:
            raise UnknownNameError(
                f"No repository {unknown[0]} is in the list of alternatives", f"Use some of {', '.join(known)}"
            )
        return tuple(known[name] for name in ids)


def policy_of(settings: AppraisalSettings) -> Policy:
    """Return the policy that applies. Raises DefinitionError for a file that can't be read or has a wrong field."""
    return _policy(settings.policy or _HERE / "policy.yaml")


def alternatives_of(settings: AppraisalSettings) -> Alternatives:
    """Return the list of alternative repositories. Errors as of `policy_of`."""
    return _alternatives(settings.alternatives or _HERE / "alternatives.yaml")


@cache
def _policy(file: Path) -> Policy:
    return read_yaml(file, Policy)


@cache
def _alternatives(file: Path) -> Alternatives:
    return read_yaml(file, Alternatives)


def read_yaml(file: Path, model: type[_Model]) -> _Model:
    """Return the document of a YAML file. Raises DefinitionError that lists every wrong field."""
    try:
        document = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{file} can't be read: {error}", "Check path and rights") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefinitionError(f"{file} is no YAML: {' '.join(str(error).split())}", "Correct the file") from error
    return validated(document, model, str(file))


def validated(document: object, model: type[_Model], what: str) -> _Model:
    """Return `document` as `model`. Raises DefinitionError that lists every wrong field of `what`."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise DefinitionError(
            f"{what}: {'; '.join(f'{field}: {cause}' for field, cause in wrong_fields(error))}",
            "Correct these fields; docs/appraisal.md lists all of them",
        ) from error


def wrong_fields(error: ValidationError) -> list[tuple[str, str]]:
    """Return each wrong field of a document with its cause; the field of a contradiction between fields is empty."""
    return [
        (".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, "))
        for each in error.errors(include_url=False, include_input=False)
    ]
