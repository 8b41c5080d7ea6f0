"""The facts of a published release as JSON, and back: what `catalogue/record-parts/` keeps for the services.

The types are `metadata.published`. Their values are not validated again: the ledger has texts of earlier rules, which
their records state as they are.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from enum import Enum
from functools import cache
from typing import Any

import orjson
from pydantic import BaseModel

from d4c_pipeline.metadata.published import PublishedFile, PublishedMetadata
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.reasons import from_json, to_json
from d4c_pipeline.model.release import Change
from d4c_pipeline.model.version import Bump, Version
from d4c_pipeline.model.vintage import Vintage

_AS_THEY_ARE = (str, int, float, bool, type(None))


def dumped(published: PublishedMetadata) -> bytes:
    """Return the facts as JSON on one line; equal facts give equal bytes. Facts without a value are left out."""
    return orjson.dumps(_plain(published))


def loaded(content: bytes | str) -> PublishedMetadata:
    """Return the facts that `dumped` wrote. Raises DataError for other content."""
    return _read(PublishedMetadata, content, ())


def loaded_files(content: bytes | str) -> tuple[PublishedFile, ...]:
    """Return the files alone of the facts that `dumped` wrote, in a third of the time. Raises DataError."""
    return _read(tuple[PublishedFile, ...], content, ("files",))


def _read(form: Any, content: bytes | str, path: tuple[str, ...]) -> Any:
    try:
        value = orjson.loads(content)
        for name in path:
            value = value[name]
        return _reader(form)(value)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"A release's facts in the catalogue can't be read ({type(error).__name__}: {error})",
            "Rebuild the catalogue with this version: d4c catalogue rebuild --complete",
        ) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, _AS_THEY_ARE):
        return value
    if isinstance(value, (Version, Vintage)):
        return str(value)
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, Change):
        return {"bump": value.bump.name, "differences": to_json(value.differences)}
    if isinstance(value, BaseModel):
        return _known({name: getattr(value, name) for name in type(value).model_fields})
    if is_dataclass(value):
        return _known({each.name: getattr(value, each.name) for each in fields(value)})
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in typing.cast("Mapping[str, Any]", value).items()}
    if isinstance(value, (tuple, list)):
        return [_plain(inner) for inner in typing.cast("list[Any]", value)]
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in values.items() if value is not None}


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """Return the function that makes a value of a type from its JSON."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _reader(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        known = [each for each in typing.get_args(kind) if each is not type(None)]
        if len(known) != 1:
            raise TypeError(f"{kind} has no form in JSON")
        read = _reader(known[0])
        return lambda value: None if value is None else read(value)
    if origin is tuple:
        read = _reader(typing.get_args(kind)[0])  # all elements of our tuples have one type
        return lambda value: tuple(map(read, value))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return dict
    if kind is Change:
        return lambda value: Change(Bump[value["bump"]], from_json(value["differences"]))
    return _class_reader(kind)


def _class_reader(kind: Any) -> Callable[[Any], Any]:
    if kind is Version:
        return Version.read
    if kind is Vintage:
        return Vintage.parse
    if kind in (datetime, date):
        return kind.fromisoformat
    if not isinstance(kind, type):
        return lambda value: value  # literals
    if issubclass(kind, BaseModel):
        readers = {name: _reader(field.annotation) for name, field in kind.model_fields.items()}
        return lambda value: kind.model_construct(**{name: readers[name](inner) for name, inner in value.items()})
    if issubclass(kind, Enum):
        return kind
    made: type[Any] = typing.cast("type[Any]", kind)
    return _dataclass_reader(made) if is_dataclass(made) else lambda value: value  # texts, numbers


def _dataclass_reader(kind: type[Any]) -> Callable[[Any], Any]:
    hints = typing.get_type_hints(kind)
    readers = {each.name: _reader(hints[each.name]) for each in fields(kind)}
    empty = {each.name: None for each in fields(kind) if type(None) in typing.get_args(hints[each.name])}

    def read(value: Mapping[str, Any]) -> Any:
        # Past the checks of RecordMetadata, which the writer of the facts has made.
        made = object.__new__(kind)
        made.__dict__.update(empty)
        made.__dict__.update((name, readers[name](inner)) for name, inner in value.items())
        return made

    return read
