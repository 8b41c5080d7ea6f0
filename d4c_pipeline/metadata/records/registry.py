"""The registry of record formats: each module of `metadata.records` states which records it makes and how.

A module of this package has a tuple `FORMATS` of `RecordFormat` and imports the libraries of its standard on use. The
facts come from `metadata.published`; the catalogue and the services know formats only through this module.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Literal

from d4c_pipeline.metadata import records
from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.model.errors import UnknownNameError


@dataclass(frozen=True, kw_only=True)
class RecordFormat:
    """A record of a release. `name`: for `d4c catalogue export` and for services; `render`: the bytes of the record.

    The file is called `stem` (by default the name) and `suffix`. `profile`: the URI of the standard, which a linkset
    names. `title`: of links. `static`: whether the catalogue keeps the file of each release, which must not depend on
    later releases; the others are made on request. `relation`: of the link from the STAC item. `render` is pure: equal
    metadata give equal bytes. It raises a D4CError when the format can't hold a fact.
    """

    name: str
    media_type: str
    suffix: str
    render: Callable[[PublishedMetadata], bytes]
    title: str
    stem: str | None = None
    profile: str | None = None
    static: bool = True
    relation: Literal["alternate", "describedby"] = "describedby"

    @property
    def file_name(self) -> str:
        """The name of the file at the address of the release's records."""
        return f"{self.stem or self.name}{self.suffix}"


def record_format(name: str) -> RecordFormat:
    """Return a format by name. Raises UnknownNameError that lists the known names."""
    found = record_formats().get(name)
    if found is None:
        raise UnknownNameError(f"'{name}' is not a format of records", f"Use one of {', '.join(record_formats())}")
    return found


@cache
def record_formats() -> Mapping[str, RecordFormat]:
    """Return all formats by name, sorted. Raises ValueError when two share a name or a file name."""
    found: dict[str, RecordFormat] = {}
    for module in sorted(each.name for each in pkgutil.iter_modules(records.__path__)):
        for form in getattr(import_module(f"{records.__name__}.{module}"), "FORMATS", ()):
            if form.name in found or any(form.file_name == other.file_name for other in found.values()):
                raise ValueError(f"Two record formats are called {form.name} or {form.file_name}")
            found[form.name] = form
    return dict(sorted(found.items()))


@cache
def static_formats() -> tuple[RecordFormat, ...]:
    """Return the formats whose files the catalogue keeps, by name."""
    return tuple(form for form in record_formats().values() if form.static)


def record_documents(published: PublishedMetadata) -> Iterator[tuple[str, bytes]]:
    """Yield the static records of a release: address in a store, bytes. Raises what `render` raises."""
    for form in static_formats():
        yield published.record_address(form.file_name), form.render(published)
