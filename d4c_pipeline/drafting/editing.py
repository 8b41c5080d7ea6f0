"""Edits values in the YAML text of a definition: only the edited value is rewritten, every other character stays.

A value is replaced at its place in the text, as the YAML reader states it, so that comments, order and layout survive
by construction, and the edited text is read again as a whole. ruamel.yaml 0.19 writes our own definitions back as they
were, but of eight other ways to lay out YAML (lists over several lines, aligned values, two indents, `~`) it rewrote
seven, in lines that nobody edited. What a definition may hold belongs to `model`, writing the file to `committing`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.workspace.datasets import definition_nodes

Path = tuple[str | int, ...]
Value = str | float | Sequence[str] | Mapping[str, Any] | None
_WIDTH = 118
_BLOCK_COMMENT = re.compile(r"[>|][-+0-9]*([ \t]+#[^\n]*)")
_STEP = 2  # blanks of an inner level


@dataclass(frozen=True)
class _Place:
    """A node with its parents, the outermost first; of a mapping's value also the node of its key."""

    node: yaml.Node
    parents: tuple[yaml.Node, ...]
    key: yaml.Node | None = None


def value_at(text: str, path: Path) -> Any:
    """Return the value at `path` below `attributes`, None without one. Raises DefinitionError for no YAML."""
    found: Any = definition_nodes(text)[1]
    for part in ("attributes", *path):
        if isinstance(found, Mapping):
            found = found.get(part)
        elif isinstance(found, list) and isinstance(part, int):
            found = found[part] if part < len(found) else None
        else:
            return None
    return found


def edited(text: str, path: Path, value: Value, *, before: Sequence[str] = ()) -> str:
    """Return `text` with `value` at `path` below `attributes`; None removes it. An equal value changes nothing.

    `before`: keys in the order in which a new key takes its place among its neighbours. A list of texts keeps the
    comments of the items that stay. Raises DefinitionError for no YAML, and where the text can't be edited so.
    """
    old = value_at(text, path)
    if old == value:
        return text
    full: Path = ("attributes", *path)
    place = _found(text, full)
    if place is None:
        changed = text if value is None else _with_new(text, full, value, before)
    elif value is None:
        changed = _without(text, full, place)
    elif isinstance(value, list | tuple) and isinstance(place.node, yaml.SequenceNode):
        changed = _with_items(text, place, list(value))
    else:
        changed = _replaced(text, place, value)
    # Read again as a whole: an edit that reached beyond its value would be published without a word.
    if _bare(value_at(changed, ())) != _bare(_set(value_at(text, ()), path, value)):
        raise DefinitionError(f"{'.'.join(map(str, path))} can't be edited where it stands", "Edit the YAML itself")
    return changed


def _set(found: Any, path: Path, value: Value) -> Any:
    """Return the values `found` with `value` at `path`; None removes it, and items behind it move up."""
    part, *rest = path
    if isinstance(found, list):
        items, at = list(found), int(part)
        new = _set(items[at] if at < len(items) else {}, tuple(rest), value) if rest else value
        items[at : at + 1] = [] if new is None else [new]
        return items
    fields = dict(found) if isinstance(found, Mapping) else {}
    fields[str(part)] = _set(fields.get(str(part)), tuple(rest), value) if rest else value
    return fields


def _bare(values: Any) -> Any:
    """Return values without what an edit may leave or take along: nulls, and mappings and lists without content."""
    if isinstance(values, Mapping):
        return {name: bare for name, each in values.items() if (bare := _bare(each)) not in (None, {}, [])}
    return [_bare(each) for each in values] if isinstance(values, list | tuple) else values


def _found(text: str, path: Path) -> _Place | None:
    node: yaml.Node = definition_nodes(text)[0]
    parents: list[yaml.Node] = []
    key: yaml.Node | None = None
    for part in path:
        following: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            key, following = next(((name, each) for name, each in node.value if name.value == part), (None, None))
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            key, following = None, node.value[part]
        if following is None:
            return None
        parents.append(node)
        node = following
    return _Place(node, tuple(parents), key)


def _end(text: str, node: yaml.Node) -> int:
    """Return where a node's own text ends: the reader counts the lines and comments after it in."""
    if isinstance(node, yaml.ScalarNode):
        inside = text[node.start_mark.index : node.end_mark.index]
        return node.start_mark.index + len(inside.rstrip())
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    return node.end_mark.index


def _line_end(text: str, index: int) -> int:
    found = text.find("\n", index)
    return len(text) if found < 0 else found


def _line_start(text: str, index: int) -> int:
    return text.rfind("\n", 0, index) + 1


def _is_flow(place: _Place) -> bool:
    return any(isinstance(each, yaml.CollectionNode) and each.flow_style for each in place.parents)


def _replaced(text: str, place: _Place, value: Value) -> str:
    flow = _is_flow(place)
    column = 0 if flow else place.parents[-1].start_mark.column
    written = _written(value, column, flow=flow)
    start, end = place.node.start_mark.index, _end(text, place.node)
    if flow:
        return text[:start] + written + text[end:]
    # A comment stands after a short value, and after the mark (`>-`) that opens a long one.
    rest = text[end : _line_end(text, end)]
    head = _BLOCK_COMMENT.match(text, start, end)
    comment = rest.rstrip() or (head[1] if head else "")
    first, line_end, others = written.partition("\n")
    return f"{text[:start]}{first}{comment}{line_end}{others}{text[end + len(rest.rstrip()) :]}"


def _without(text: str, path: Path, place: _Place) -> str:
    parent = place.parents[-1]
    if isinstance(parent, yaml.CollectionNode) and len(parent.value) == 1 and len(path) > 2:
        outer = _found(text, path[:-1])
        if outer is not None:
            return _without(text, path[:-1], outer)
    first = place.key or place.node
    if _is_flow(place):
        return _without_flow_item(text, parent, first, place.node)
    start = _line_start(text, first.start_mark.index)
    head = text[start : first.start_mark.index]
    if place.key is not None and head.strip():
        # The first key of an item of a list: its dash stays.
        following = next(
            (each for each, _ in parent.value if each.start_mark.index > place.node.start_mark.index), None
        )
        if following is None:
            return text[: first.start_mark.index] + "{}" + text[_end(text, place.node) :]
        return text[: first.start_mark.index] + text[following.start_mark.index :]
    return text[:start] + text[_line_end(text, _end(text, place.node)) + 1 :]


def _without_flow_item(text: str, parent: yaml.Node, first: yaml.Node, node: yaml.Node) -> str:
    starts = [(each[0] if isinstance(each, tuple) else each).start_mark.index for each in parent.value]
    ends = [(each[1] if isinstance(each, tuple) else each).end_mark.index for each in parent.value]
    at = starts.index(first.start_mark.index)
    if at + 1 < len(starts):
        return text[: starts[at]] + text[starts[at + 1] :]
    if at > 0:
        return text[: ends[at - 1]] + text[ends[at] :]
    return text[: starts[0]] + text[node.end_mark.index :]


def _with_items(text: str, place: _Place, wanted: list[str]) -> str:
    """Remove and append items, so that the comments of the others stay; rewrite the list if its order changes."""
    node: Any = place.node
    there = [str(each.value) for each in node.value]
    staying = [each for each in there if each in wanted]
    added = [each for each in wanted if each not in there]
    if len(set(wanted)) != len(wanted) or not staying or staying + added != wanted:
        return _replaced(text, place, wanted)
    for each in reversed(node.value):
        if str(each.value) in wanted:
            continue
        if node.flow_style:
            current = _found_again(text, place)
            item = next(one for one in current.value if one.start_mark.index == each.start_mark.index)
            text = _without_flow_item(text, current, item, item)
        else:
            start = _line_start(text, each.start_mark.index)
            text = text[:start] + text[_line_end(text, _end(text, each)) + 1 :]
    for each in added:
        current = _found_again(text, place)
        end = _end(text, current.value[-1])
        if node.flow_style:
            item = _flow(each)
            used = end - _line_start(text, end) + len(item) + 4
            blanks = f"\n{' ' * (place.parents[-1].start_mark.column + 2 * _STEP)}" if used > _WIDTH else " "
            text = f"{text[:end]},{blanks}{item}{text[end:]}"
        else:
            end = _line_end(text, end)
            text = f"{text[:end]}\n{' ' * node.start_mark.column}- {_flow(each)}{text[end:]}"
    return text


def _found_again(text: str, place: _Place) -> Any:
    """Return the node that starts where that of `place` does, in a text that changed behind its start."""
    waiting: list[yaml.Node] = [definition_nodes(text)[0]]
    while waiting:
        node = waiting.pop()
        if node.start_mark.index == place.node.start_mark.index and isinstance(node, yaml.SequenceNode):
            return node
        for each in node.value if isinstance(node, yaml.CollectionNode) else ():
            waiting += each if isinstance(each, tuple) else [each]
    raise DefinitionError("A list can't be edited where it stands", "Edit the YAML itself")


def _with_new(text: str, path: Path, value: Value, before: Sequence[str]) -> str:
    *outer, key = path
    place = _found(text, tuple(outer))
    if place is None:
        return _with_new(text, tuple(outer), {str(key): value}, before)
    node = place.node
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
        return _with_item(text, place, value)
    if not isinstance(node, yaml.MappingNode):
        raise DefinitionError(f"{'.'.join(map(str, outer))} holds no fields", "Edit the YAML itself")
    if node.flow_style:
        inner = f"{key}: {_flow(value)}"
        if not node.value:
            return f"{text[: node.start_mark.index]}{{{inner}}}{text[node.end_mark.index :]}"
        end = node.value[-1][1].end_mark.index
        return f"{text[:end]}, {inner}{text[end:]}"
    column = node.start_mark.column
    order = list(before)
    earlier = order[: order.index(key)] if key in order else []
    known = [(name, each) for name, each in node.value if name.value in earlier] or node.value
    end = _line_end(text, _end(text, known[-1][1]))
    return f"{text[:end]}\n{' ' * column}{_pair(str(key), value, column)}{text[end:]}"


def _with_item(text: str, place: _Place, value: Value) -> str:
    node: Any = place.node
    if not node.value or node.flow_style:
        return _replaced(text, place, [*_plain(text, place), value])  # type: ignore[list-item]
    end = _line_end(text, _end(text, node.value[-1]))
    column = node.start_mark.column
    return f"{text[:end]}\n{' ' * column}- {_flow(value)}{text[end:]}"


def _plain(text: str, place: _Place) -> list[Any]:
    return yaml.safe_load(text[place.node.start_mark.index : place.node.end_mark.index]) or []


def _pair(key: str, value: Value, column: int) -> str:
    if isinstance(value, Mapping):
        inner = column + _STEP
        lines = "".join(f"\n{' ' * inner}{_pair(str(name), each, inner)}" for name, each in value.items())
        return f"{key}:{lines}"
    return f"{key}: {_written(value, column, flow=False)}"


def _written(value: Value, column: int, *, flow: bool) -> str:
    """Return a value for a place after its key; `column`: of the key, for the lines of a long text."""
    if not isinstance(value, str) or flow:
        return _flow(value)
    blanks = " " * (column + _STEP)
    lines: list[str] = []
    if "\n" in value:
        lines = ["|-", *(f"{blanks}{line}" if line else "" for line in value.split("\n"))]
    elif len(value) + column > _WIDTH - 20:
        lines = [">-", *textwrap.wrap(value, _WIDTH, initial_indent=blanks, subsequent_indent=blanks,
                                      break_long_words=False, break_on_hyphens=False)]  # fmt: skip
    if lines:
        block = "\n".join(lines)
        try:
            if yaml.safe_load(f"x: {block}\n")["x"] == value:
                return block
        except yaml.YAMLError:
            pass  # characters that only a quoted text can hold
    return _flow(value)


def _flow(value: Any) -> str:
    """Return a value on one line, as it may stand within brackets too."""
    written = yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=1 << 30, sort_keys=False)
    if "\n" in written.strip():
        written = yaml.safe_dump([value], default_flow_style=True, width=1 << 30, sort_keys=False, default_style='"')
    return written.strip()[1:-1]
