"""A family as its YAML declares it: many datasets of one shape, which one template declares.

The source lists the members, and the ledger stores them. `dataset.py` declares how a member is fetched and processed,
as for any other dataset.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, ValidationError, field_validator

from d4c_pipeline.model.dataset import Dataset, Noticing
from d4c_pipeline.model.declared import Bilingual, Declared, HttpUrl, Identifier
from d4c_pipeline.model.texts import clean

_PLACEHOLDER = re.compile(r"\{(?P<name>[a-z_]+)\}")
_SAMPLE_FACTS = {"title_en": "Title", "title_fr": "Titre"}


class StatCanTables(Declared):
    """The tables of Statistics Canada's Web Data Service; the key of a member is its product id of eight digits.

    `include`, `exclude`: globs over the keys. `archived`: whether tables that are no longer updated are members too.
    Facts of a member: `title_en`, `title_fr`.
    """

    kind: Literal["statcan_tables"]
    include: tuple[Annotated[str, Field(min_length=1)], ...] = ("*",)
    exclude: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    archived: bool = False
    service: HttpUrl = "https://www150.statcan.gc.ca/t1/wds/rest"

    @property
    def sample_key(self) -> str:
        """A key of the right form, used to check a template."""
        return "10100001"

    @staticmethod
    def is_key(text: str) -> bool:
        """Return whether `text` has the form of a key."""
        return len(text) == 8 and text.isascii() and text.isdigit()


class FamilyNoticing(Noticing):
    """Checks of the source, as for a dataset. `new_members`: whether a member's first release waits for a person."""

    shrink_allowed: float = Field(default=0.05, ge=0, lt=1)
    new_members: Literal["wait", "publish"] = "wait"


class Family(Declared):
    """Many datasets of one shape under one chain of assets, with a partition per member.

    `members` declares where the members are listed. `dataset` is a definition without `id` and `vintages`; in its texts
    `{member}` is the member's key, and `{title_en}` and `{title_fr}` are the source's titles. A member's id is the
    family's id, an underscore and the member's key; its vintage is the vintage that the source serves at the time.
    """

    id: Identifier
    title: Bilingual
    description: Bilingual
    members: StatCanTables
    dataset: dict[str, Any]
    noticing: FamilyNoticing = FamilyNoticing()
    folder: Path | None = Field(default=None, exclude=True, repr=False)

    @field_validator("dataset")
    @classmethod
    def _template_is_valid(cls, template: dict[str, Any]) -> dict[str, Any]:
        if given := {"id", "vintages", "noticing"} & set(template):
            raise ValueError(f"{', '.join(sorted(given))}: set by the family; remove it")
        if "{member}" not in str(template.get("name")):
            raise ValueError("name: no part of it names the {member}, so that all members would have one name")
        try:
            _declare("family", template, "10100001", _SAMPLE_FACTS)
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
            raise ValueError("; ".join(wrong)) from error
        return template

    @cached_property
    def sample(self) -> Dataset:
        """A made-up member, which has the shape of every member."""
        return self.member(self.members.sample_key, _SAMPLE_FACTS)

    def key_of(self, dataset: str) -> str | None:
        """Return the key of the member with that dataset id, None for any other id."""
        family, _, key = dataset.rpartition("_")
        return key if family == self.id and self.members.is_key(key) else None

    def member(self, key: str, facts: Mapping[str, str]) -> Dataset:
        """Return the dataset of a member, filled with the source's facts about it."""
        return _declare(self.id, self.dataset, key, facts).model_copy(update={"folder": self.folder})


def _declare(family: str, template: Mapping[str, Any], key: str, facts: Mapping[str, str]) -> Dataset:
    cleaned = {name: clean(text) for name, text in facts.items()}  # texts of the source
    filled = _filled(dict(template), {**cleaned, "member": key})
    return Dataset.model_validate({**filled, "id": f"{family}_{key}", "vintages": "discovered"})


def _filled(value: Any, facts: Mapping[str, str]) -> Any:
    """Return the template with its placeholders replaced; unknown names (such as `{vintage}`) stay."""
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: facts.get(found["name"], found[0]), value)
    if isinstance(value, dict):
        return {name: _filled(item, facts) for name, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_filled(item, facts) for item in cast("list[Any]", value)]
    return value
