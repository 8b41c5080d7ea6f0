"""Write reference.md, every field of a dataset's and a family's YAML, from the types; `--check` only compares."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.stores import Stores
from d4c_pipeline.workspace.datasets import COMPONENT_TYPE, FAMILY_TYPE

PAGE = Path(__file__).with_name("reference.md")
_OPENING = """\
# Reference of the YAML

Every field of a definition, with type and default. [Datasets](datasets.md) explains them with examples;
[Settings](settings.md) lists the variables of a deployment. A field without default is required.

This page is written by `docs/make_reference.py` from the types in `d4c_pipeline/model/`: change a docstring there.
"""
_ROOTS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    (f"`{COMPONENT_TYPE}`", "The `attributes` of a dataset.", Dataset),
    (f"`{FAMILY_TYPE}`", "The `attributes` of a family.", Family),
    ("The document of stores", "The file that `D4C_STORES` names; see [Stores](stores.md).", Stores),
)


def page() -> str:
    """Return the text of reference.md."""
    parts, seen = [_OPENING], set[str]()
    for title, words, model in _ROOTS:
        schema = model.model_json_schema()
        defs = schema.get("$defs", {})
        parts.append(f"## {title}\n\n{words} {_text(schema)}\n\n{_table(schema, model)}")
        for name in _reached(schema, defs):
            if name not in seen and "properties" in defs[name]:
                seen.add(name)
                parts.append(f"### {name}\n\n{_text(defs[name])}\n\n{_table(defs[name], None)}")
    return "\n".join(parts)


def _reached(node: Any, defs: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the types that a schema refers to, each once, in the order of the fields."""
    found: dict[str, None] = {}
    waiting = [node]
    while waiting:
        for name in re.findall(
            r'"#/\$defs/([^"]+)"', json.dumps({k: v for k, v in waiting.pop(0).items() if k != "$defs"})
        ):
            if name not in found:
                found[name] = None
                waiting.append(defs[name])
    yield from found


def _text(schema: dict[str, Any]) -> str:
    return inspect.cleandoc(schema.get("description", ""))


def _table(schema: dict[str, Any], model: type[BaseModel] | None) -> str:
    excluded = {name for name, field in model.model_fields.items() if field.exclude} if model else {"folder"}
    required = schema.get("required", [])
    rows = [
        f"| `{name}` | {_type(field)} | {'required' if name in required else _default(field)} |\n"
        for name, field in schema["properties"].items()
        if name not in excluded
    ]
    return "| field | type | default |\n| --- | --- | --- |\n" + "".join(rows)


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in field:
            return (
                " or ".join(dict.fromkeys(_type(each) for each in field[key] if each.get("type") != "null")) or "null"
            )
    kind = field.get("type", "any")
    if kind == "array":
        items = field.get("items") or {}
        return f"list of {_type(items)}" if items else "list"
    if kind == "object":
        values = field.get("additionalProperties")
        return f"mapping to {_type(values)}" if isinstance(values, dict) and values else "mapping"
    limits = [
        f"{word} {field[key]}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
            ("minLength", "length from"),
        )
        if key in field
    ]
    return " ".join([str(kind), *limits])


def _default(field: dict[str, Any]) -> str:
    if "default" not in field or field["default"] in (None, [], {}, ""):
        return ""
    text = json.dumps(field["default"], ensure_ascii=False)
    return "see its type" if text.startswith("{") else f"`{text}`".replace("|", "\\|")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit("reference.md is stale: run docs/make_reference.py" if PAGE.read_text("utf-8") != page() else 0)
    PAGE.write_text(page(), "utf-8")
