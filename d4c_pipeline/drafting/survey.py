"""Surveys a delivery inside of the sandbox: what to read in it, as what, which columns it has, which identify its rows.

A survey builds the data with each guess as the chain would, so that a declaration with its result is known to run.
Reading documents about the data belongs to `about`, choosing a key among columns to `keys`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from d4c_pipeline.drafting import columns, keys
from d4c_pipeline.drafting.about import reading
from d4c_pipeline.drafting.facts import as_json
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DataError
from d4c_pipeline.model.release import DataSummary
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.build import build
from d4c_pipeline.readers import inputs, registry

_GROUPS = ("features", "json", "text", "workbook", "attributes", "plain text")
_VECTOR = ("features", "json")
_DESCRIBED = 300  # columns: a declaration of more is too long for a person to edit


@dataclass
class _Trial:
    """A guess at `processing` with its evidence, and the result of building it."""

    processing: dict[str, Any]
    why: dict[str, str]
    summary: DataSummary | None = None
    profile: dict[str, Any] = field(default_factory=dict[str, Any])
    data: Sequence[Path] = ()


def survey(
    attributes: dict[str, Any],
    vintage: str,
    natives: Sequence[Path],
    folder: Path,
    hints: Sequence[str],
    threads: int | None,
    memory_limit: str | None,
) -> dict[str, Any]:
    """Return what the delivery says, as JSON: `processing`, `why` by path, `columns`, `rows`, `bounds`, `facts`.

    `attributes`: a declaration that is valid apart from `processing`. `folder`: an existing folder for builds. `hints`:
    columns that the source calls unique. Raises DataError when no guess can be built.
    """
    unpacked = folder / "unpacked"
    unpacked.mkdir()
    found = inputs.contained(natives, unpacked)
    facts = reading.facts_of_delivery(found)

    def tried(trial: _Trial) -> _Trial:
        into = folder / "build"
        shutil.rmtree(into, ignore_errors=True)
        into.mkdir()
        dataset = Dataset.model_validate({**attributes, "processing": trial.processing})
        made = build(dataset, Vintage.parse(vintage), natives, into, threads=threads, memory_limit=memory_limit)
        trial.summary, trial.data = made.summary, list(made.files.values())
        trial.profile = json.loads(made.profile.read_text("utf-8"))
        return trial

    trial = _first(_guesses(found), tried)
    if "wds" not in trial.processing:
        trial = _refined(trial, tried)
    shutil.rmtree(unpacked, ignore_errors=True)
    assert trial.summary is not None  # noqa: S101 - `tried` has set it
    named = [column for column in trial.summary.columns if column.name not in ("geometry", "bbox")]
    described = columns.described(named, trial.profile["columns"]) if "wds" not in trial.processing else []
    key, why = keys.key_of(trial.profile, trial.data, hints, is_wds="wds" in trial.processing)
    if key:
        trial.processing["key"] = key
    trial.why["key"] = why
    if (dguids := keys.dguids_of(trial.profile, trial.data, key)) is not None:
        trial.processing["dguids"], trial.why["dguids"] = dguids
    declared = {each["name"]: {name: each[name] for name in ("source", "type") if each[name]} for each in described}
    if declared and len(declared) <= _DESCRIBED:
        trial.processing["columns"] = declared
    tried(trial)  # with key, types and DGUIDs: the draft runs
    return {
        "processing": trial.processing,
        "why": trial.why,
        "columns": described if len(described) <= _DESCRIBED else [],
        "rows": trial.summary.rows,
        "bounds": list(trial.summary.bounds) if trial.summary.bounds is not None else None,
        "facts": as_json(facts),
    }


def _guesses(found: Mapping[str, Path]) -> list[_Trial]:
    """Return the guesses at the files of a delivery, the most likely first."""
    groups: dict[str, list[str]] = {}
    for name, path in found.items():
        form = registry.format_of(name, path)
        if form is None or "__MACOSX" in name or PurePosixPath(name).name.startswith("."):
            continue
        if path.suffix.lower() in (".xml", ".json") and reading.kind_of(path) is not None:
            continue
        groups.setdefault(form.group, []).append(name)
    tables = [name for name in groups.get("text", []) if re.fullmatch(r"(.*/)?\d{8}\.csv", name)]
    if tables and any(name.lower().endswith("_metadata.csv") for name in found):
        why = f"{PurePosixPath(tables[0]).name} with its _MetaData.csv is a full table of the Web Data Service"
        return [_Trial({"kind": "table", "wds": {}}, {"kind": why, "wds": why})]
    guesses: list[_Trial] = []
    for group in _GROUPS:
        if not (names := groups.get(group)):
            continue
        processing, why = _of_group(group, names, found)
        kinds = ("vector", "table") if group in _VECTOR else ("table",)
        guesses += [_Trial({"kind": kind, **processing}, {**why, "kind": f"{names[0]}: {group}"}) for kind in kinds]
    if not guesses:
        # The reader says which files there are and why it reads none of them.
        return [_Trial({"kind": "vector"}, {"kind": "no file of a known format"})]
    return guesses


def _of_group(group: str, names: Sequence[str], found: Mapping[str, Path]) -> tuple[dict[str, Any], dict[str, str]]:
    if len(names) == 1 or group == "attributes":
        return {}, {}
    sizes = {name: found[name].stat().st_size for name in names}
    largest = max(names, key=lambda name: sizes[name])
    others = ", ".join(name for name in names if name != largest)[:200]
    return {"member": re.sub(r"([\[?*])", r"[\1]", largest)}, {
        "member": f"the largest of {len(names)} files ({sizes[largest]:,} bytes); the others: {others}"
    }


def _first(guesses: Sequence[_Trial], tried: Any) -> _Trial:
    failed: DataError | None = None
    for guess in guesses:
        try:
            return _decoded(guess, tried)
        except DataError as error:
            failed = failed or error
    assert failed is not None  # noqa: S101 - there is a guess
    raise failed


def _decoded(guess: _Trial, tried: Any) -> _Trial:
    """Build a guess, with code page 1252 where the reader can't tell the encoding."""
    try:
        return tried(guess)
    except DataError as error:
        if "encoding" not in str(error).lower() and "utf-8" not in str(error).lower():
            raise
        again = _Trial({**guess.processing, "encoding": "cp1252"}, dict(guess.why))
        again.why["encoding"] = "the text is not UTF-8, and every byte is a letter of code page 1252"
        return tried(again)


def _refined(trial: _Trial, tried: Any) -> _Trial:
    """Add null markers and columns of coordinates, and build again where that changes the data."""
    markers, why = columns.markers(trial.profile, trial.data)
    if markers:
        trial.processing["nulls"], trial.why["nulls"] = markers, why
        trial = tried(trial)
    assert trial.summary is not None  # noqa: S101 - it was built
    if trial.processing["kind"] == "table" and (pair := columns.coordinates(trial.summary, trial.data)) is not None:
        # Text such as 49.100 is not narrowed, since a number would lose its zeros; a coordinate is a number.
        numbers = {name: {"source": of, "type": "float"} for name, of in zip(pair.names, pair.columns, strict=True)}
        vector = _Trial(
            {
                **trial.processing,
                "kind": "vector",
                "longitude": pair.longitude,
                "latitude": pair.latitude,
                "columns": numbers,
            },
            {
                **trial.why,
                "kind": "the columns of coordinates make points",
                "longitude": pair.evidence,
                "latitude": pair.evidence,
            },
        )
        try:
            return tried(vector)
        except DataError:
            return tried(trial)  # the columns are no degrees after all: the table stays one
    return trial
