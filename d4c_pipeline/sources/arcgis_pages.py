"""The rows of an ArcGIS layer on their way into one file: pages kept on the disk, then put together by object id.

Requests belong to `arcgis.py`. The file is an Esri JSON feature set (https://developers.arcgis.com/documentation/
common-data-types/featureset-object.htm) with the layer's own fields, domains and types.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.errors import SourceError, TransientError
from d4c_pipeline.sources.port import Arrived

Document = dict[str, Any]
_DEFAULT_ROWS = 1000  # of a server that states no maximum
_NOTE = "layer.json"
_UNSORTABLE = frozenset({"esriFieldTypeGeometry", "esriFieldTypeBlob", "esriFieldTypeRaster", "esriFieldTypeXML"})
_CURVES = ("curveRings", "curvePaths")


@dataclass(frozen=True)
class Layer:
    """The description of a layer. `fields` are the server's, with domains. `edited`: None if not stated.

    `id_field`: None if rows have no object ids; pages are then ordered by `order`, which is empty if the server sends
    no pages. `extra`: further members of the feature set that readers need, under the names of the service.
    """

    name: str
    description: str
    geometry_type: str | None
    id_field: str | None
    fields: tuple[Document, ...]
    most_rows: int
    edited: datetime | None
    has_z: bool = False
    order: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def read(cls, document: Mapping[str, Any], url: str) -> Layer:
        """Read the response to `<layer>?f=json`. Raises SourceError if it describes no layer or table."""
        fields = tuple(cast("list[Document]", document.get("fields") or []))
        id_field = document.get("objectIdField") or next(
            (each["name"] for each in fields if each.get("type") == "esriFieldTypeOID"), None
        )
        if not fields and id_field is None:
            raise SourceError(f"{url} is not a layer or table", "Declare a layer or table, such as .../FeatureServer/0")
        editing = cast("Mapping[str, int | None]", document.get("editingInfo") or {})
        moment = editing.get("dataLastEditDate") or editing.get("lastEditDate")
        can = cast("Mapping[str, Any]", document.get("advancedQueryCapabilities") or {})
        sortable = [str(each["name"]) for each in fields if each.get("type") not in _UNSORTABLE]
        return cls(
            name=str(document.get("name") or "layer"),
            description=str(document.get("description") or ""),
            geometry_type=document.get("geometryType"),
            id_field=None if id_field is None else str(id_field),
            fields=fields,
            most_rows=int(document.get("maxRecordCount") or _DEFAULT_ROWS),
            edited=None if moment is None else datetime.fromtimestamp(moment / 1000, UTC),
            has_z=document.get("hasZ") is True and bool(document.get("geometryType")),
            order=",".join(sortable) if can.get("supportsPagination") and can.get("supportsOrderBy") else "",
            extra=_extra(document),
        )


def _extra(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return subtypes with their domains, and the mark of dates in no known time zone; empty without either."""
    extra: dict[str, Any] = {}
    type_field = document.get("subtypeField") or document.get("typeIdField")
    types = cast("list[Document]", document.get("subtypes") or document.get("types") or [])
    if type_field and types:
        extra["typeIdField"] = type_field
        extra["types"] = [
            {"id": each.get("id", each.get("code")), "name": each.get("name"), "domains": each.get("domains") or {}}
            for each in types
        ]
    if document.get("datesInUnknownTimezone") is True:
        extra["datesInUnknownTimezone"] = True
    return extra


class Pages:
    """The pages of a layer in a folder. A killed process leaves only complete pages.

    `ids`: the object ids of all rows, sorted, each once; empty if the layer has none. Pages of another state of the
    layer are deleted.
    """

    def __init__(self, folder: Path, layer: Layer, ids: Sequence[int]) -> None:
        self._folder = folder
        self._layer = layer
        self._ids = tuple(ids)
        state = {
            "ids": hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest(),
            "fields": layer.fields,
            "edited": None if layer.edited is None else layer.edited.isoformat(),
        }
        with storage_errors(f"write in {folder.parent}"):
            note = folder / _NOTE
            text = json.dumps(state, sort_keys=True)
            if not note.is_file() or note.read_text("utf-8") != text:
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                note.write_text(text, "utf-8")
            self._here = {int(path.stem.partition("-")[0]): path for path in folder.glob("*-*.jsonl")}
        if not self._ids:
            self._here = {}  # without object ids a fetch can't be resumed
        self._end, self._rows = 0, 0
        while self._end in self._here:
            self._rows += len(self._lines(self._end)) - 1
            self._end = int(self._here[self._end].stem.partition("-")[2])

    @property
    def rows_here(self) -> int:
        """The number of ids on the disk, from the first on without a gap."""
        return self._end

    @property
    def rows(self) -> int:
        """The number of rows on the disk: more than ids if object ids are not unique."""
        return self._rows

    @property
    def last_id(self) -> int:
        """The largest object id."""
        return self._ids[-1]

    def missing(self, size: int) -> tuple[int, ...]:
        """Return the ids of the next page, at most `size`; empty when all rows are on the disk."""
        begin = self.rows_here
        return self._ids[begin : begin + size]

    def keep(self, ids: Sequence[int], answer: Document) -> None:
        """Keep the response for `ids`, each with all its rows: object ids need not be unique.

        Raises TransientError unless it holds exactly these rows, and SourceError for curves and for duplicate rows.
        """
        rows: dict[int, list[str]] = {}
        for row in cast("list[Document]", answer.get("features") or []):
            rows.setdefault(self._id_of(row), []).append(self._line(row))
        cut = bool(answer.get("exceededTransferLimit")) and len(ids) > 1
        if set(rows) != set(ids) or cut:
            raise TransientError(f"A page holds {len(rows)} rows instead of {len(ids)}", "Try again later")
        for each, found in rows.items():
            if len(set(found)) < len(found):
                raise SourceError(
                    f"{self._layer.name} has duplicates among {len(found)} rows with {self._layer.id_field} {each}",
                    f"Exclude them in where ({self._layer.id_field} <> {each}), or ask the publisher",
                )
        self._put(len(ids), answer, [line for each in ids for line in sorted(rows[each])])

    def keep_unnumbered(self, answer: Document) -> int:
        """Keep a page of a layer without object ids, and return its number of rows."""
        lines = [self._line(row) for row in cast("list[Document]", answer.get("features") or [])]
        if lines:
            self._put(len(lines), answer, sorted(lines))
        return len(lines)

    def _put(self, size: int, answer: Document, lines: Sequence[str]) -> None:
        begin = self.rows_here
        reference = json.dumps(answer.get("spatialReference"), sort_keys=True)
        path = self._folder / f"{begin:09d}-{begin + size:09d}.jsonl"
        with storage_errors(f"write in {self._folder}"):
            part = path.with_suffix(".part")
            part.write_text("\n".join([reference, *lines]) + "\n", "utf-8")
            part.replace(path)
        self._here[begin] = path
        self._end = begin + size
        self._rows += len(lines)

    def _line(self, row: Document) -> str:
        geometry = cast("Document", row.get("geometry") or {})
        if curve := next((name for name in _CURVES if name in geometry), None):
            extra = self._layer.id_field and f" ({self._layer.id_field} {self._id_of(row)})"
            raise SourceError(
                f"{self._layer.name} sends a true curve ({curve}) although lines were requested{extra or ''}",
                "Exclude the row in where, or ask the publisher for a layer without curves",
            )
        return json.dumps(row, ensure_ascii=False)

    def assemble(self, target: Path, url: str) -> Arrived:
        """Write all rows to `target`, ordered by id. Equal rows give equal bytes."""
        layer = self._layer
        requested = {key for row in self._first_rows() for key in row.get("attributes", {})}
        fields = [each for each in layer.fields if each.get("name") in requested or not requested]
        with storage_errors(f"write in {target.parent}"):
            part = target.with_name(f".{target.name}.part")
            with part.open("w", encoding="utf-8", newline="\n") as sink:
                # The geometry type comes first: readers recognise the format by it.
                head: Document = {"geometryType": layer.geometry_type} if layer.geometry_type else {"fieldAliases": {}}
                extra: Document = {**head, "objectIdFieldName": layer.id_field, "spatialReference": self._reference()}
                extra |= {"hasZ": True} if layer.has_z else {}
                extra |= layer.extra
                sink.write(json.dumps({**extra, "name": layer.name, "fields": fields}, ensure_ascii=False)[:-1])
                sink.write(', "features": [\n')
                separator = ""
                for begin in sorted(self._here):
                    for line in self._lines(begin)[1:]:
                        sink.write(separator + line)
                        separator = ",\n"
                sink.write("\n]}\n")
            part.replace(target)
            size = target.stat().st_size
        edited = None if layer.edited is None else layer.edited.isoformat()
        return Arrived(target, url, size, None, edited, "application/json")

    def forget(self) -> None:
        """Delete the pages."""
        with storage_errors(f"write in {self._folder.parent}"):
            shutil.rmtree(self._folder)
        self._here, self._end, self._rows = {}, 0, 0

    def _lines(self, begin: int) -> list[str]:
        return self._here[begin].read_text("utf-8").rstrip("\n").split("\n")

    def _reference(self) -> Any:
        return json.loads(self._lines(0)[0])

    def _first_rows(self) -> list[Document]:
        return [json.loads(line) for line in self._lines(0)[1:2]]

    def _id_of(self, row: Document) -> int:
        try:
            return int(row["attributes"][self._layer.id_field])
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(
                f"A row of {self._layer.name} has no {self._layer.id_field}",
                "Add that field to fields",
            ) from error
