"""The form of a definition's metadata: its fields as flat texts, and the YAML that they make.

`workspace.datasets` decides what is valid, `drafting.editing` changes the YAML. Pages belong to `pages`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from d4c_pipeline.drafting.editing import Value, edited, value_at
from d4c_pipeline.model.credits import Contributor, Party
from d4c_pipeline.model.dataset import Dataset

PARTIES: Mapping[str, tuple[str, ...]] = {
    "creators": tuple(Party.model_fields),
    "providers": tuple(Party.model_fields),
    "contributors": tuple(Contributor.model_fields),
    # The title of a grant is in both languages, and stays for the YAML.
    "funding": ("funder", "ror", "number", "url"),
}
"""The lists of parties and grants with the fields of each; the first one is its name."""
SIDES = ("west", "south", "east", "north")
LINES = ("keywords.en", "keywords.fr", "languages")
"""Fields with an item on each line."""
_TEXTS = (
    "title.en", "title.fr", "description.en", "description.fr", "license", "attribution.en", "attribution.fr",
    "source.homepage", "publication.frequency",
)  # fmt: skip
_ORDER = (*Dataset.model_fields,)


def columns_of(text: str) -> tuple[str, ...]:
    """Return the names of the columns that a definition declares, in its order."""
    declared = value_at(text, ("processing", "columns"))
    return tuple(map(str, declared)) if isinstance(declared, Mapping) else ()


def values_of(text: str) -> dict[str, str]:
    """Return the fields of the form of a definition. A licence that is declared in full has no field."""
    found: dict[str, str] = {}
    for name in _TEXTS:
        value = value_at(text, tuple(name.split(".")))
        if name != "license" or not isinstance(value, Mapping):
            found[name] = _text(value)
    for name in LINES:
        items = value_at(text, tuple(name.split(".")))
        found[name] = "\n".join(map(_text, items)) if isinstance(items, list) else _text(items)
    for side in SIDES:
        found[f"extent.{side}"] = _text(value_at(text, ("extent", side)))
    for key, fields in PARTIES.items():
        parties = value_at(text, (key,))
        # One empty party more: filling its name adds it.
        for at, party in enumerate([*(parties if isinstance(parties, list) else ()), {}]):
            for field in fields:
                found[f"{key}.{at}.{field}"] = _text(party.get(field) if isinstance(party, Mapping) else None)
    for at, column in enumerate(columns_of(text)):
        for language in ("en", "fr"):
            described = value_at(text, ("processing", "columns", column, "description", language))
            found[f"column.{at}.{language}"] = _text(described)
    return found


def changed_fields(values: Mapping[str, str], was: Mapping[str, str]) -> list[str]:
    """Return the names of the fields whose text differs from that of `was`, in the order of the form."""
    return [name for name, text in was.items() if name in values and values[name].strip() != text.strip()]


def applied(text: str, values: Mapping[str, str]) -> str:
    """Return the YAML with the fields of the form; fields that are left out or equal change nothing.

    Raises DefinitionError where a value can't be edited in the form.
    """
    changed = {name: values[name].strip() for name in changed_fields(values, values_of(text))}
    columns = columns_of(text)
    removed: list[tuple[str, int]] = []
    added: list[tuple[str, int]] = []
    for name, plain in changed.items():
        key, _, rest = name.partition(".")
        if key in PARTIES:
            at, field = int(rest.partition(".")[0]), rest.partition(".")[2]
            parties = value_at(text, (key,)) or []
            if at >= len(parties):
                if (key, at) not in added:
                    added.append((key, at))
            elif field == PARTIES[key][0] and not plain:
                removed.append((key, at))
            else:
                text = edited(text, (key, at, field), plain or None, before=PARTIES[key])
        elif key == "column":
            at, _, language = rest.partition(".")
            place = ("processing", "columns", columns[int(at)], "description", language)
            text = edited(text, place, plain or None, before=("source", "type", "description"))
        elif name in LINES:
            items = tuple(dict.fromkeys(line.strip() for line in plain.splitlines() if line.strip()))
            text = edited(text, tuple(name.split(".")), items or None, before=_ORDER)
        elif key == "extent":
            text = edited(text, ("extent", rest), _number(plain), before=_ORDER)
        else:
            text = edited(text, tuple(name.split(".")), plain or None, before=_ORDER)
    for key, at in added:
        party = {field: plain for field in PARTIES[key] if (plain := changed.get(f"{key}.{at}.{field}"))}
        there = value_at(text, (key,)) or []
        text = edited(text, (key, len(there)) if there else (key,), party if there else [party], before=_ORDER)  # type: ignore[list-item]
    for key, at in sorted(removed, reverse=True):
        text = edited(text, (key, at), None)
    return text


def field_of(path: str, text: str) -> str:
    """Return the field of the form for the path of an error in the YAML; empty if the form has none."""
    known = values_of(text)
    parts = path.split(".")
    if parts[:2] == ["processing", "columns"] and len(parts) > 2 and parts[2] in columns_of(text):
        language = parts[4] if len(parts) > 4 else "en"
        return f"column.{columns_of(text).index(parts[2])}.{language}"
    while parts:
        name = ".".join(parts)
        for each in (name, f"{name}.name", f"{name}.en", f"{name}.west", f"{name}.0.name", f"{name}.funder"):
            if each in known:
                return each
        parts.pop()
    return ""


def with_keyword(values: Mapping[str, str], labels: Mapping[str, str | None]) -> dict[str, str]:
    """Return the fields with a keyword more, by language; a keyword that is there already is not repeated."""
    found = dict(values)
    for language, label in labels.items():
        lines = found.get(f"keywords.{language}", "").splitlines()
        if label and label.casefold() not in (line.strip().casefold() for line in lines):
            found[f"keywords.{language}"] = "\n".join([*lines, label])
    return found


def numbered(values: Mapping[str, str], key: str) -> Sequence[int]:
    """Return the numbers of the parties of a list in the fields."""
    return sorted({int(name.split(".")[1]) for name in values if name.startswith(f"{key}.")})


def _number(text: str) -> Value:
    try:
        return float(text.replace(",", ".").replace("−", "-")) if text else None
    except ValueError:
        return text  # the model refuses it at its field


def _text(value: Any) -> str:
    return "" if value is None else str(value)
