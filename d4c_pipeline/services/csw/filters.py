"""Filters as parameterised SQL: Filter Encoding 1.1 and 2.0 and CQL text become trees of CQL2, which `cql2` compiles.

No text of a filter enters SQL: names are looked up in `queryables`, operators in the lists here and in `cql2`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from d4c_pipeline.services.cql2 import Column, Condition, Kind, Limits, condition
from d4c_pipeline.services.cql2.parsing import of_text
from d4c_pipeline.services.csw.errors import invalid, reported
from d4c_pipeline.services.csw.gml import box_of, geometry_of
from d4c_pipeline.services.csw.queryables import ANY_TEXT, GEOMETRY, Queryable, queryable
from d4c_pipeline.services.csw.reading import children, local

_COMPARISONS = {
    "PropertyIsEqualTo": "=",
    "PropertyIsNotEqualTo": "<>",
    "PropertyIsLessThan": "<",
    "PropertyIsGreaterThan": ">",
    "PropertyIsLessThanOrEqualTo": "<=",
    "PropertyIsGreaterThanOrEqualTo": ">=",
}
COMPARISONS = (*_COMPARISONS, "PropertyIsLike", "PropertyIsNull", "PropertyIsBetween")
SPATIAL = {
    "BBOX": "s_intersects",
    "Intersects": "s_intersects",
    "Contains": "s_contains",
    "Within": "s_within",
    "Disjoint": "s_disjoint",
    "Equals": "s_equals",
    "Touches": "s_touches",
    "Overlaps": "s_overlaps",
    "Crosses": "s_crosses",
}
_NAMES = ("PropertyName", "ValueReference")
_LIMITS = Limits(bytes=1 << 20)
_DEEPEST, _MOST = 32, 500
_COST_OF_ANY_TEXT = 15
"""In conditions: among 20,000 releases one of csw:AnyText takes 25 ms, 100 of a list 0.4 s."""
_ONE = {"value": Column("v", Kind.TEXT)}
# In this order: quoted texts stay as they are; then what CQL writes in other words than CQL2.
_WORDS = re.compile(
    r"(?P<quoted>'(?:[^']|'')*'|\"[^\"]*\")"
    r"|\bBBOX\s*\(\s*(?P<place>[A-Za-z_][\w:.]*)\s*,(?P<box>[-+\d.eE,\s]+)(?:,\s*'[^']*'\s*)?\)"
    r"|(?P<like>[A-Za-z_][\w:.]*)\s+(?P<not>NOT\s+)?ILIKE\s+(?P<pattern>'(?:[^']|'')*')"
    rf"|\b(?P<spatial>{'|'.join(name for name in SPATIAL if name != 'BBOX')})(?=\s*\()",
    re.IGNORECASE,
)


def of_cql(text: str) -> Condition:
    """Return the SQL of a filter in CQL or CQL2 text. Raises CswError."""
    with reported("constraint"):
        # The bound comes first: `_translated` reads the whole text.
        if len(text) > Limits().bytes:
            raise invalid("constraint", f"The filter has {len(text):,} characters, {Limits().bytes:,} are allowed")
        return where(of_text(_WORDS.sub(_translated, text), Limits()))


def of_xml(element: etree._Element) -> Condition:
    """Return the SQL of an element `Filter`. Raises CswError."""
    if local(element) != "Filter":
        raise invalid("constraint", f"'{local(element)[:60]}' is not a Filter")
    parts = children(element)
    if not parts:
        raise invalid("constraint", "The filter is empty: leave it out, or give it a condition")
    if all(local(part) in ("FeatureId", "GmlObjectId", "ResourceId") for part in parts):
        return of_identifiers([part.get("fid") or part.get("rid") or _identity(part) for part in parts])
    if len(parts) != 1:
        raise invalid("constraint", f"The filter has {len(parts)} conditions: combine them with And or Or")
    with reported("constraint"):
        return where(_tree(parts[0], 0))


def of_identifiers(identifiers: list[str]) -> Condition:
    """Return the SQL for the records of these identifiers."""
    return Condition("(identifier IN (SELECT unnest(CAST(? AS VARCHAR[]))))", (identifiers,))


def of_words(text: str) -> Condition:
    """Return the SQL for records that have every word of a text, in any language, case and with any accents."""
    words = text.split()
    if len(words) > 30 or len(text) > 500:
        raise invalid("q", "The query has more than 30 words or 500 characters: shorten it")
    parts = [_any_text(_escaped(word)) for word in words]
    with reported("q"):
        return where({"op": "and", "args": parts}) if parts else Condition("true", ())


def of_box(text: str) -> Condition:
    """Return the SQL for `bbox=west,south,east,north[,crs]`; the axes are those of the CRS. Raises CswError."""
    with reported("bbox"):
        return where({"op": "s_intersects", "args": [_property(GEOMETRY), box_of(text)]})


def of_time(text: str) -> Condition:
    """Return the SQL for `time=instant` or `time=start/end`, either end open: records whose period overlaps it."""
    start, slash, end = text.partition("/")
    ends = (start, end) if slash else (start, start)
    parts = [
        {"op": operator, "args": [_property(name), moment]}
        for operator, name, moment in ((">=", "TempExtent_end", ends[0]), ("<=", "TempExtent_begin", ends[1]))
        if moment not in ("", "..")
    ]
    with reported("time"):
        return where({"op": "and", "args": parts}) if parts else Condition("true", ())


def where(tree: Any) -> Condition:
    """Return the SQL of a tree of CQL2 whose properties have names of CSW. Raises CswError or ProblemError."""
    found, cost = _compiled(tree, 0)
    if cost > _MOST:
        most = f"{_MOST} are allowed, one of csw:AnyText for {_COST_OF_ANY_TEXT}"
        raise invalid("constraint", f"The filter has {cost} conditions, and {most}: shorten it")
    return found


def _compiled(node: Any, depth: int) -> tuple[Condition, int]:
    if depth > _DEEPEST:
        raise invalid("constraint", f"The filter is nested more than {_DEEPEST} deep: nest it less")
    match node:
        case {"op": "and" | "or" as word, "args": [_, *_] as arguments}:
            parts = [_compiled(argument, depth + 1) for argument in arguments]
            sql = f" {word.upper()} ".join(part.sql for part, _ in parts)
            parameters = tuple(value for part, _ in parts for value in part.parameters)
            return Condition(f"({sql})", parameters), sum(count for _, count in parts)
        case {"op": "not", "args": [argument]}:
            part, count = _compiled(argument, depth + 1)
            return Condition(f"(NOT {part.sql})", part.parameters), count
        case _:
            return _leaf(node)


def _leaf(node: Any) -> tuple[Condition, int]:
    """Return a condition without others in it, and its cost."""
    used: dict[str, Queryable] = {}
    named = _renamed(node, used, 0)
    several = [each for each in used.values() if each.is_list]
    if any(each.column.sql == ANY_TEXT for each in used.values()):
        return _of_any_text(node), _COST_OF_ANY_TEXT
    if not several:
        return condition(named, {each.name: each.column for each in used.values()}, limits=_LIMITS), 1
    if len(used) > 1:
        raise invalid("constraint", f"{several[0].name} has several values: compare it with a value, not a property")
    return _of_several(named, several[0].column.sql), 1


def _of_several(named: Any, column: str) -> Condition:
    """Return a condition over a column with lists: one value fulfils it."""
    match named:
        case {"op": str(word), "args": [{"property": _}]} if word.lower() == "isnull":
            return Condition(f"(len({column}) = 0)", ())
        case {"op": "<>", "args": [first, second]}:
            # No value is the one: what the negation of an equality means where there are several.
            inner = condition({"op": "=", "args": _as_value([first, second])}, _ONE, limits=_LIMITS)
            return Condition(f"(len(list_filter({column}, lambda v: {inner.sql})) = 0)", inner.parameters)
    inner = condition(_as_value(named), _ONE, limits=_LIMITS)
    return Condition(f"(len(list_filter({column}, lambda v: {inner.sql})) > 0)", inner.parameters)


def _renamed(node: Any, used: dict[str, Queryable], depth: int) -> Any:
    """Return a node with the listed names of its properties, and note them in `used`."""
    if depth > _DEEPEST:
        raise invalid("constraint", f"The filter is nested more than {_DEEPEST} deep: nest it less")
    match node:
        case {"property": str(name)} if len(node) == 1:
            found = queryable(name)
            used[found.name] = found
            return {"property": found.name}
        case dict():
            return {key: _renamed(value, used, depth + 1) for key, value in node.items()}
        case list() if node and not isinstance(node[0], int | float | list):
            return [_renamed(value, used, depth + 1) for value in node]
    return node


def _as_value(node: Any) -> Any:
    match node:
        case {"property": _}:
            return {"property": "value"}
        case dict():
            return {key: _as_value(value) for key, value in node.items()}
        case list():
            return [_as_value(value) for value in node]
    return node


def _of_any_text(node: Any) -> Condition:
    match node:
        case {"op": "=" | "<>" as word, "args": [{"property": _}, str(text)]}:
            tree = _any_text(_escaped(text))
        case {"op": "like" as word, "args": [_, pattern]} if isinstance(text := _unfolded(pattern), str):
            tree = _any_text(text)
        case _:
            raise invalid("constraint", "csw:AnyText is compared with LIKE (PropertyIsLike), or with = and a word")
    found = condition(tree, {ANY_TEXT: Column(ANY_TEXT, Kind.TEXT)}, limits=_LIMITS)
    return Condition(f"(NOT {found.sql})", found.parameters) if word == "<>" else found


def _any_text(pattern: str) -> dict[str, Any]:
    """Return the condition that the text of a record contains a pattern, case and accents ignored."""
    bare = pattern.removeprefix("%")
    bare = bare if bare.endswith("\\%") else bare.removesuffix("%")
    folded = {"op": "accenti", "args": [{"op": "casei", "args": [f"%{bare}%"]}]}
    return {"op": "like", "args": [_property(ANY_TEXT), folded]}


def _unfolded(pattern: Any) -> Any:
    while isinstance(pattern, dict) and str(pattern.get("op", "")).lower() in ("casei", "accenti"):
        arguments = pattern.get("args")
        pattern = arguments[0] if isinstance(arguments, list) and len(arguments) == 1 else None
    return pattern


def _tree(element: etree._Element, depth: int) -> dict[str, Any]:
    name, parts = local(element), children(element)
    if depth > _DEEPEST:
        raise invalid("constraint", f"The filter is nested more than {_DEEPEST} deep: nest it less")
    if name in ("And", "Or") and parts:
        return {"op": name.lower(), "args": [_tree(part, depth + 1) for part in parts]}
    if name == "Not" and len(parts) == 1:
        return {"op": "not", "args": [_tree(parts[0], depth + 1)]}
    if name in SPATIAL:
        return _spatial(name, parts)
    if name == "PropertyIsLike":
        return _like(element, parts)
    if name in ("PropertyIsNull", "PropertyIsNil") and len(parts) == 1:
        return {"op": "isNull", "args": [_expression(parts[0])]}
    if name == "PropertyIsBetween" and len(parts) == 3:
        bounds = [_expression(child) for part in parts[1:] for child in children(part)]
        return {"op": "between", "args": [_expression(parts[0]), *bounds]}
    if name in _COMPARISONS and len(parts) == 2:
        first, second = map(_expression, parts)
        if isinstance(first, str):
            # A property stands first, as in SQL: 1 < a is a > 1.
            turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
            operator = _COMPARISONS[name]
            return {"op": turned.get(operator, operator), "args": _folded([second, first], element)}
        return {"op": _COMPARISONS[name], "args": _folded([first, second], element)}
    raise invalid(
        "constraint",
        f"'{name[:60]}' with {len(parts)} parts is not a condition of this service. "
        f"Use And, Or, Not, {', '.join(COMPARISONS)}, {', '.join(SPATIAL)}",
    )


def _folded(arguments: list[Any], element: etree._Element) -> list[Any]:
    exact = (element.get("matchCase") or "true").lower() in ("true", "1")
    if exact or any(_is_any_text(argument) for argument in arguments):
        return arguments
    return [{"op": "casei", "args": [argument]} for argument in arguments]


def _is_any_text(argument: Any) -> bool:
    match argument:
        case {"property": str(name)}:
            return queryable(name).column.sql == ANY_TEXT
    return False


def _like(element: etree._Element, parts: list[etree._Element]) -> dict[str, Any]:
    if len(parts) != 2:
        raise invalid("constraint", "PropertyIsLike has no property or no pattern")
    subject, pattern = map(_expression, parts)
    if not isinstance(pattern, str):
        raise invalid("constraint", "The pattern of PropertyIsLike is not a Literal")
    # Clients leave these attributes out where they mean the signs of SQL: OWSLib, MetaSearch.
    wild, one = element.get("wildCard") or "%", element.get("singleChar") or "_"
    escape = element.get("escapeChar") or element.get("escape") or "\\"
    made, characters = [], iter(pattern)
    for character in characters:
        if character == escape:
            made.append(_escaped(next(characters, escape)))
        else:
            made.append({wild: "%", one: "_"}.get(character) or _escaped(character))
    return {"op": "like", "args": _folded([subject, "".join(made)], element)}


def _spatial(name: str, parts: list[etree._Element]) -> dict[str, Any]:
    names = [part for part in parts if local(part) in _NAMES]
    shapes = [part for part in parts if local(part) not in _NAMES]
    if len(shapes) != 1 or len(names) > 1:
        raise invalid("constraint", f"{name} needs one property and one geometry")
    prop = _expression(names[0]) if names else _property(GEOMETRY)
    return {"op": SPATIAL[name], "args": [prop, geometry_of(shapes[0])]}


def _expression(element: etree._Element) -> Any:
    name, text = local(element), element.text or ""
    if name in _NAMES:
        return _property(text)
    if name == "Literal" and not children(element):
        return text.strip()
    raise invalid("constraint", f"'{name[:60]}' is not a property or a literal: functions are not evaluated")


def _property(name: str) -> Mapping[str, str]:
    return {"property": name}


def _escaped(text: str) -> str:
    return re.sub(r"[\\%_]", r"\\\g<0>", text)


def _identity(element: etree._Element) -> str:
    return next((str(value) for name, value in element.attrib.items() if str(name).endswith("}id")), "")


def _translated(found: re.Match[str]) -> str:
    if found["quoted"] is not None:
        return found[0]
    if found["place"] is not None:
        return f"S_INTERSECTS({found['place']}, BBOX({found['box'].strip().rstrip(',')}))"
    if found["like"] is not None:
        return f"CASEI({found['like']}) {found['not'] or ''}LIKE CASEI({found['pattern']})"
    return f"S_{found['spatial'].upper()}"
