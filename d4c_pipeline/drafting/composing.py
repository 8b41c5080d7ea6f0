"""Composes the fields of a draft out of what was found, in the order of the YAML, with marks where nothing was.

Finding belongs to `drafting`, `about` and `survey`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from d4c_pipeline.drafting import publishers, vintages
from d4c_pipeline.drafting.draft import Draft, Field
from d4c_pipeline.drafting.facts import Facts, Found, from_json, merged, plain
from d4c_pipeline.drafting.recognise import Recognised
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.gaps import TO_FILL, TO_TRANSLATE
from d4c_pipeline.model.vintage import Vintage

_NOTHING = "no source states it"
_LONGEST_PART = 60  # characters of an id and a theme; both become parts of file names
_WIDE = 25.0  # degrees of longitude: more than any province or territory but Nunavut spans
# The box of Canada as the shipped datasets have it.
_CANADA = {"west": -141.02, "south": 41.67, "east": -52.61, "north": 83.14}
_STOPS = frozenset(
    {"the", "of", "and", "in", "for", "by", "to", "a", "an", "on", "at", "from", "with", "files", "file", "data"}
)


class _Answer(BaseModel):
    """The answer of a survey, whose process parsed foreign bytes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    processing: dict[str, Any]
    why: dict[str, str]
    columns: list[dict[str, str | None]]
    rows: int
    bounds: list[float] | None
    facts: dict[str, list[Any]]


@dataclass(frozen=True)
class Material:
    """What was found about a source. `survey`: of its data; None if they were not read, for the reason `unread`."""

    recognised: Recognised
    facts: Facts
    identifier: str | None = None
    package: str | None = None
    notes: tuple[str, ...] = ()
    survey: _Answer | None = None
    served: str | None = None
    unread: str = "the data were not read"
    in_data: Facts = field(default_factory=dict[str, Found])

    def with_survey(self, answer: Any, served: str) -> Material:
        """Return the material with the answer of a survey; `served`: the vintage of the surveyed data.

        Raises DataError for a malformed answer.
        """
        try:
            survey = _Answer.model_validate(answer)
        except ValidationError as error:
            raise DataError(
                "The survey returned a malformed answer", "Inspect the native file with care: it may be an attack"
            ) from error
        in_data = from_json(survey.facts)
        return replace(self, survey=survey, served=served, in_data=in_data, facts=merged(self.facts, in_data))

    @property
    def file_name(self) -> str:
        """The name of the data's file as the source has it; empty for services."""
        declared = self.recognised.declared
        if urls := declared.get("urls"):
            return unquote(PurePosixPath(urlsplit(urls[0]).path).name)
        if declared["kind"] == "folder":
            return str(declared.get("pattern") or Path(declared["path"]).name)
        return str(declared.get("prefix") or "")

    def vintages(self, served: Vintage | None = None) -> Any:
        """Return `vintages` of the YAML. `served`: of the data at hand, if the source does not date them itself."""
        found = self.vintage()
        return found.value if served is None or found.value == "discovered" else [str(served)]

    def vintage(self) -> Found:
        """Return `vintages` of the YAML with the evidence."""
        kind = self.recognised.declared["kind"]
        if kind in ("statcan_table", "ckan", "arcgis"):
            meaning = {"statcan_table": "release", "ckan": "the package's last change", "arcgis": "the last edit"}[kind]
            return Found("discovered", f"the source dates its data by {meaning}")
        stated = self.facts.get("vintage")
        for found in (vintages.of_name(self.file_name), stated, vintages.of_name(self._title())):
            if found is not None and vintages.is_vintage(str(found.value)):
                return Found([str(found.value)], found.evidence)
        return Found(
            "discovered", "no name and no record dates the data; the day of the file's last change stands for it"
        )

    def _title(self) -> str:
        return str(self.facts["title.en"].value) if "title.en" in self.facts else ""


def composed(material: Material, *, with_sql: bool = False) -> Draft:
    """Return the draft of what was found."""
    facts, fields = material.facts, dict[str, Field]()

    def put(path: str, found: Found | None, *, gap: Any = None) -> None:
        if found is not None:
            fields[path] = Field(found.value, found.evidence)
        elif gap is not None:
            fields[path] = Field(gap, _NOTHING)

    _put_names(material, put)
    for path in ("title", "description"):
        english, french = facts.get(f"{path}.en"), facts.get(f"{path}.fr")
        put(f"{path}.en", english or _untranslated(french), gap=TO_FILL)
        put(f"{path}.fr", french or _untranslated(english), gap=TO_FILL)
    put("license", facts.get("license"), gap=TO_FILL)
    put("creators", facts.get("creators"), gap=[{"name": TO_FILL}])
    put("languages", facts.get("languages"))
    put("keywords", _keywords(facts.get("keywords")))
    vintage = material.vintage()
    put("series", Found("rolling" if vintage.value == "discovered" else "editions", _series(vintage.value)))
    put("vintages", vintage)
    kind = _kind(material)
    put("extent", _extent(material, kind.value))
    put("source", Found(material.recognised.declared, material.recognised.evidence))
    if (homepage := facts.get("source.homepage")) is not None:
        fields["source"] = Field(
            {**material.recognised.declared, "homepage": homepage.value},
            f"{material.recognised.evidence}; {homepage.evidence}",
        )
    _put_processing(material, kind, put)
    if with_sql:
        put("processing.sql", Found("transform.sql", "asked for: it names every column"))
    frequency = facts.get("publication.frequency")
    put("publication.stage", Found("beta", "the default of new datasets"))
    put("publication.frequency", frequency)
    survey = material.survey
    return Draft(
        fields,
        rows=survey.rows if survey is not None else None,
        bounds=tuple(survey.bounds) if survey is not None and survey.bounds is not None else None,  # pyright: ignore[reportArgumentType] - four of them
        notes=material.notes,
        sql=_sql(material) if with_sql else None,
    )


def _put_names(material: Material, put: Any) -> None:
    facts = material.facts
    source = facts.get("name.source")
    theme = facts.get("name.theme") or _theme(material)
    known = facts.get("id")
    if material.identifier is not None:
        put("id", Found(material.identifier, "chosen by a person"))
    elif known is not None:
        put("id", known)
    else:
        words = "_".join(
            filter(None, (source.value.replace("-", "_") if source else "", theme.value.replace("-", "_")))
        )
        identifier = words if words[:1].isalpha() else f"dataset_{words}"
        if len(identifier) > _LONGEST_PART:
            identifier = identifier[: _LONGEST_PART + 1].rpartition("_")[0]
        put("id", Found(identifier, f"publisher and {theme.evidence}"))
    region, dguid = facts.get("name.region"), facts.get("name.dguid")
    width = _width(material)
    if region is not None and region.value == "ca" and width is not None and width < _WIDE:
        region = dguid = None  # a federal publisher's data of one province: which one, no source states
    put("name.region", region, gap=TO_FILL)
    put("name.source", source, gap=TO_FILL)
    if dguid is None and region is not None and region.value == "ca":
        dguid = Found(publishers.DGUIDS["ca"], "DGUID of Canada, the region")
    put("name.dguid", dguid, gap=TO_FILL)
    if material.package is not None:
        chosen = material.package if material.package.startswith("d4c-datapkg-") else f"d4c-datapkg-{material.package}"
        put("name.package", Found(chosen, "chosen by a person"))
    else:
        put("name.package", facts.get("name.package"), gap=TO_FILL)
    put("name.theme", theme)


def _width(material: Material) -> float | None:
    """Return the degrees of longitude that the data span, by their geometry or their record; None if unknown."""
    if material.survey is not None and material.survey.bounds is not None:
        return material.survey.bounds[2] - material.survey.bounds[0]
    stated = material.facts.get("extent")
    return None if stated is None else float(stated.value["east"]) - float(stated.value["west"])


def _theme(material: Material) -> Found:
    title = material.facts.get("title.en") or material.facts.get("title.fr")
    if title is not None and (words := slug(str(title.value))):
        return Found(words, "the title in short")
    stem = PurePosixPath(material.file_name).name.partition(".")[0]
    return Found(slug(stem) or "to-fill", f"the name of the file, {plain(material.file_name)}")


def slug(text: str) -> str:
    """Return a text as a naming part: lower-case words without accents and stop words, joined by underscores."""
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = [word for word in re.findall(r"[a-z0-9]+", ascii_text) if word not in _STOPS]
    out = ""
    for word in words:
        if len(out) + len(word) + 1 > _LONGEST_PART:
            break
        out = f"{out}_{word}" if out else word
    return out


def _untranslated(found: Found | None) -> Found | None:
    if found is None:
        return None
    return Found(f"{TO_TRANSLATE}{found.value}", "the source has it in the other language only")


def _keywords(found: Found | None) -> Found | None:
    if found is None:
        return None
    stated: Mapping[str, list[str]] = found.value
    english, french = list(stated.get("en") or ()), list(stated.get("fr") or ())
    evidence = found.evidence
    if not english or not french:
        evidence += "; the source has them in one language only"
    return Found(
        {
            "en": english or [f"{TO_TRANSLATE}{word}" for word in french],
            "fr": french or [f"{TO_TRANSLATE}{word}" for word in english],
        },
        evidence,
    )


def _series(value: Any) -> str:
    return "the source serves only its current state" if value == "discovered" else "each dated edition stays"


def _kind(material: Material) -> Found:
    if material.survey is not None:
        return Found(material.survey.processing["kind"], material.survey.why.get("kind", ""))
    stated = material.facts.get("processing.kind")
    if stated is not None:
        return stated
    kind = "table" if material.recognised.kind == "statcan_table" else "vector"
    return Found(kind, f"assumed: {material.unread}")


def _extent(material: Material, kind: str) -> Found | None:
    if kind == "vector" and material.survey is not None:
        return None  # the geometry has bounds of its own
    if (stated := material.facts.get("extent")) is not None:
        return stated
    region = material.facts.get("name.region")
    if kind == "table" and region is not None and region.value == "ca":
        return Found(_CANADA, "the box of Canada, the region")
    return None


def _put_processing(material: Material, kind: Found, put: Any) -> None:
    put("processing.kind", kind)
    survey = material.survey
    if survey is None:
        if material.recognised.kind == "statcan_table":
            put("processing.key", Found(["ref_date", "coordinate"], f"the key of full tables; {material.unread}"))
            put("processing.wds", Found({}, "a full table of the Web Data Service"))
        return
    evidence = {each["name"]: each["why"] or "" for each in survey.columns}
    meanings = {
        path.rsplit(".", 1)[0].partition(".")[2].casefold(): None
        for path in material.facts
        if path.startswith("columns.")
    }
    put("processing.key", Found(survey.processing.get("key", []), survey.why.get("key", "")))
    for name, value in survey.processing.items():
        if name in ("kind", "key", "columns"):
            continue
        put(f"processing.{name}", Found(value, survey.why.get(name, "")))
    for name, declared in survey.processing.get("columns", {}).items():
        value, why = dict(declared), evidence.get(name, "")
        for label in (declared.get("source"), name):
            if label is not None and label.casefold() in meanings:
                description = _meaning(material.facts, label)
                value["description"] = {tongue: description[tongue].value for tongue in ("en", "fr")}
                why = f"{why}; {description['why'].evidence}"
                break
        put(f"processing.columns.{name}", Found(value, why))


def _meaning(facts: Facts, label: str) -> dict[str, Found]:
    found = {
        tongue: next(
            (each for path, each in facts.items() if path.casefold() == f"columns.{label.casefold()}.{tongue}"), None
        )
        for tongue in ("en", "fr")
    }
    known = found["en"] or found["fr"]
    assert known is not None  # noqa: S101 - a path with the label exists
    return {
        "en": found["en"] or Found(f"{TO_TRANSLATE}{known.value}", known.evidence),
        "fr": found["fr"] or Found(f"{TO_TRANSLATE}{known.value}", known.evidence),
        "why": known,
    }


def _sql(material: Material) -> str:
    """Return a transform that keeps every column, for a person to edit."""
    named = [each["source"] or each["name"] for each in material.survey.columns] if material.survey is not None else []
    listed = ",\n".join(f'  "{str(name).replace(chr(34), chr(34) * 2)}"' for name in named) or "  *"
    geometry = ",\n  geometry" if named and _kind(material).value == "vector" else ""
    lines = (
        "-- Every column of the source: rename, compute or leave out.",
        "SELECT",
        f"{listed}{geometry}",
        "FROM source",
    )
    return "\n".join(lines) + "\n"
