"""Validates STAC documents against JSON Schemas on the disk, without the network.

The places of the schemas and the validation belong here; `stac_item` and `static_stac` decide the content. pystac ships
the core schemas; the schemas of extensions lie in `schemas/` (its README names their origin).
Source: https://github.com/radiantearth/stac-spec and https://stac-extensions.github.io
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry
from referencing.jsonschema import DRAFT7

from d4c_pipeline.model.errors import DataError

STAC_VERSION = "1.1.0"
_CORE = f"https://schemas.stacspec.org/v{STAC_VERSION}/{{0}}-spec/json-schema/{{0}}.json"
_EXTENSIONS = {
    f"https://stac-extensions.github.io/{name}/v{version}/schema.json": f"{name}-v{version}.json"
    for name, version in (
        ("alternate-assets", "1.2.0"),
        ("file", "2.1.0"),
        ("projection", "2.0.0"),
        ("scientific", "1.0.0"),
        ("table", "1.2.0"),
        ("timestamps", "1.1.0"),
        ("version", "1.2.0"),
    )
}
# The schema of alternate-assets refers to a core schema of STAC 1.0, which pystac no longer ships.
_CORE_OF_BEFORE = {
    "https://schemas.stacspec.org/v1.0.0/item-spec/json-schema/basics.json": "stac-basics-v1.0.0.json",
}
_SCHEMAS = importlib.resources.files("d4c_pipeline.catalogue") / "schemas"
_KINDS = {"Feature": "item", "Collection": "collection", "Catalog": "catalog"}


def validate_item(item: Mapping[str, Any]) -> None:
    """Validate an item against STAC 1.1 and every extension that it declares.

    Raises DataError that lists all mismatches at once.
    """
    found = mismatches(item)
    if item.get("type") != "Feature":
        found.insert(0, f"type: {item.get('type')!r} is not 'Feature'")
    if found:
        raise DataError(
            f"STAC document {item.get('id')} does not validate: {'; '.join(found)}",
            "Correct the dataset's YAML where a value comes from there, otherwise report this as a bug",
        )


def mismatches(document: Mapping[str, Any]) -> list[str]:
    """Return every mismatch between a STAC document and its schemas, as `place: message` with the schema's name."""
    kind = _KINDS.get(str(document.get("type")))
    if kind is None:
        return [f"type: {document.get('type')!r} is not one of {', '.join(_KINDS)}"]
    found = list(_errors(_CORE.format(kind), document, f"STAC {STAC_VERSION}"))
    for uri in document.get("stac_extensions") or []:
        if uri in _EXTENSIONS:
            found += _errors(uri, document, _EXTENSIONS[uri].removesuffix(".json"))
        else:
            found.append(f"stac_extensions: the schema {uri} is not kept here, so the document can't be checked")
    return sorted(set(found))


def schema_map() -> dict[str, str]:
    """Return schema address -> local file, the form in which other validators (stac-validator) work offline."""
    core = importlib.resources.files("pystac.validation.jsonschemas")
    stored = {uri: _SCHEMAS.joinpath(name) for uri, name in (_EXTENSIONS | _CORE_OF_BEFORE).items()}
    for uri in get_local_schema_cache():
        folder = "geojson" if "geojson.org" in uri else f"stac-spec/v{STAC_VERSION}"
        stored[uri] = core.joinpath(folder, uri.rpartition("/")[2])
    return {uri: str(Path(str(place))) for uri, place in stored.items()}


@functools.cache
def _registry() -> Registry[Any]:
    # A registry without a retriever refuses unknown schemas: it never uses the network.
    documents = get_local_schema_cache() | {
        uri: json.loads(_SCHEMAS.joinpath(name).read_text("utf-8"))
        for uri, name in (_EXTENSIONS | _CORE_OF_BEFORE).items()
    }
    return Registry().with_resources([(uri, DRAFT7.create_resource(schema)) for uri, schema in documents.items()])


@functools.cache
def _validator(uri: str) -> Draft7Validator:
    schema = _registry().contents(uri)
    return Draft7Validator(schema, registry=_registry(), format_checker=Draft7Validator.FORMAT_CHECKER)


def _errors(uri: str, document: Mapping[str, Any], schema: str) -> Iterator[str]:
    for error in _validator(uri).iter_errors(dict(document)):
        for leaf in _leaves(error):
            place = "/".join(str(step) for step in leaf.absolute_path) or "document"
            yield f"{place}: {_shortened(leaf.message)} ({schema})"


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """Yield the actual errors behind an `anyOf` or `oneOf` mismatch: the errors of the intended alternative.

    The intended alternative has the document's `type`; of several such alternatives it has the deepest error.
    """
    if not error.context:
        yield error
        return
    branches: dict[str | int, list[ValidationError]] = {}
    for inner in error.context:
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    of_our_kind = [errors for errors in branches.values() if not any(map(_is_of_another_kind, errors))]
    meant = max(of_our_kind or branches.values(), key=lambda errors: max(len(inner.absolute_path) for inner in errors))
    for inner in meant:
        yield from _leaves(inner)


def _is_of_another_kind(error: ValidationError) -> bool:
    return error.validator == "const" and list(error.absolute_path)[-1:] == ["type"]


def _shortened(message: str, limit: int = 300) -> str:
    return message if len(message) <= limit else f"{message[: limit // 2]} ... {message[-limit // 2 :]}"
