"""A draft: the fields of a declaration with their evidence, and their YAML, each field below a comment that says why.

Finding the values belongs to `drafting`, the marks of gaps to `model.gaps`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from d4c_pipeline.files.disk import storage_errors, write_file
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import StorageError
from d4c_pipeline.model.gaps import Gap, gaps_of

_WIDTH = 110
_HEAD = """\
# A draft by 'd4c draft': each comment gives the evidence of the field below it. Fields marked 'to fill' and texts
# marked 'to translate' are for a person; while a mark is left, nothing is published.
type: d4c_pipeline.PublishedDataset
attributes:
"""


@dataclass(frozen=True)
class Field:
    """A value of the declaration with its evidence, in one line."""

    value: Any
    evidence: str


@dataclass(frozen=True)
class Draft:
    """The fields of a declaration by path, in the order of the YAML (`title.en`, `processing.columns.pruid`).

    `rows`: of the data as built with the draft; None if the data were not read. `notes`: what the source has beside the
    declared fields, such as its other files. `sql`: the content of `transform.sql`; None without one.
    """

    fields: Mapping[str, Field]
    rows: int | None = None
    bounds: tuple[float, float, float, float] | None = None
    notes: tuple[str, ...] = ()
    sql: str | None = None

    @property
    def id(self) -> str:
        """The id of the dataset, which is the name of its folder."""
        return str(self.fields["id"].value)

    @property
    def attributes(self) -> dict[str, Any]:
        """The values as the YAML's `attributes`."""
        out: dict[str, Any] = {}
        for path, field in self.fields.items():
            *parents, name = path.split(".")
            here = out
            for parent in parents:
                here = here.setdefault(parent, {})
            here[name] = field.value
        return out

    @property
    def dataset(self) -> Dataset:
        """The declaration. Raises pydantic's ValidationError for a value that no declaration may have."""
        return Dataset.model_validate(self.attributes)

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The marked fields, which a person fills."""
        return gaps_of(self.dataset)

    def with_id(self, identifier: str) -> Draft:
        """Return the draft under another id."""
        fields = {**self.fields, "id": Field(identifier, "chosen by a person")}
        return replace(self, fields=fields)

    def yaml(self) -> str:
        """Return the text of `defs.yaml`."""
        lines = list(_lines(self.fields))
        notes = [f"# {_one_line(note)}" for note in self.notes]
        return _HEAD.format(id=self.id) + "\n".join([*lines, *notes]) + "\n"

    def write(self, folder: Path) -> Path:
        """Write `defs.yaml` (and `transform.sql`) into `folder`/id and return the file.

        Raises StorageError when the file exists already, or can't be written.
        """
        home = folder / self.id
        target = home / "defs.yaml"
        if target.exists():
            raise StorageError(f"{target} exists already", "Draft into another folder, or with another --id")
        with storage_errors(f"write in {home}"):
            home.mkdir(parents=True, exist_ok=True)
            if self.sql is not None:
                write_file(home / "transform.sql", self.sql.encode())
            write_file(target, self.yaml().encode())
        return target

    def to_json(self) -> dict[str, Any]:
        """Return the draft for machines: fields with evidence, gaps, facts of the data."""
        return {
            "id": self.id,
            "fields": {path: {"value": field.value, "evidence": field.evidence} for path, field in self.fields.items()},
            "gaps": [{"field": gap.field, "sentence": gap.sentence} for gap in self.gaps],
            "rows": self.rows,
            "bounds": None if self.bounds is None else list(self.bounds),
            "notes": list(self.notes),
        }


def _lines(fields: Mapping[str, Field]) -> Iterator[str]:
    opened: list[str] = []
    for path, field in fields.items():
        *parents, name = path.split(".")
        common = next((at for at, (one, other) in enumerate(zip(opened, parents, strict=False)) if one != other), None)
        kept = min(len(opened), len(parents)) if common is None else common
        for depth, parent in enumerate(parents[kept:], kept):
            yield f"{'  ' * (depth + 1)}{parent}:"
        opened = parents
        indent = "  " * (len(parents) + 1)
        yield from (f"{indent}# {line}" for line in _wrapped(_one_line(field.evidence)))
        # None writes short collections on one line, but the mapping of a scalar as well.
        style = None if isinstance(field.value, dict | list) else False
        text = yaml.safe_dump(
            {name: field.value}, allow_unicode=True, sort_keys=False, width=_WIDTH, default_flow_style=style
        )
        yield from (f"{indent}{line}" if line else line for line in text.rstrip("\n").split("\n"))


def _one_line(text: str) -> str:
    # A line end in a foreign name would end the comment. JSON's escapes keep other separators of lines out as well.
    line = " ".join(text.split())
    return line if line.isprintable() else json.dumps(line)


def _wrapped(text: str) -> list[str]:
    import textwrap  # noqa: PLC0415 - only for drafts

    return textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)[:4] or [""]
