"""The catalogue of several mirrors as one: its rows, and which of them a dataset, a vintage and a version name.

A mirror that lags behind lacks releases and withdrawals, so that all mirrors are asked and their rows are united. What
can be done with a release belongs to `release`, a mirror's copy to `catalogue_copy`, a row's files to `stated_files`.
"""

from __future__ import annotations

import difflib
import queue
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from d4c.cache import File
from d4c.catalogue_copy import COLUMNS, NewerForm, copy_of, fetch
from d4c.errors import UPDATE, D4CWarning, FormError, IntegrityError, UnknownNameError, UnreachableError, WithdrawnError
from d4c.mirrors import Mirror, MirrorFailure
from d4c.stated_files import asset_file, bytes_of, files_of, hashes_of, is_stated
from d4c.versions import LATEST, is_prerelease, is_wildcard, matcher, precedence

CLOCKS = 300.0
"""Seconds by which the clocks of archives and of the publisher may differ."""
GRACE = 3.0
"""Seconds that further mirrors have to answer once one has."""
_LONGEST = 600.0  # seconds: a catalogue that arrives slowly is no stalled mirror


@dataclass(frozen=True)
class _Answer:
    mirror: Mirror
    path: Path
    stale: bool


@dataclass
class Catalogue:
    """The rows of all mirrors that answered. `silent`: mirror -> why it did not. `newer`: one has a later form."""

    mirrors: tuple[Mirror, ...]
    answers: list[_Answer] = field(default_factory=list[_Answer])
    silent: dict[str, str] = field(default_factory=dict[str, str])
    newer: bool = False

    @classmethod
    def load(cls, mirrors: Sequence[Mirror], cache: Path, timeout: float) -> Catalogue:
        """Ask every mirror at once; a copy of the cache stands in for mirrors that do not answer, with a warning.

        Raises UnreachableError when there is no answer and no copy, FormError when a catalogue has an unknown form.
        """
        found = cls(tuple(mirrors))
        answers: queue.SimpleQueue[tuple[Mirror, Path | MirrorFailure]] = queue.SimpleQueue()
        for mirror in mirrors:
            threading.Thread(target=_ask, args=(answers, mirror, cache, timeout), daemon=True).start()
        waiting = set(mirrors)
        deadline = time.monotonic() + timeout + _LONGEST
        while waiting:
            try:
                mirror, answer = answers.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                break
            waiting.discard(mirror)
            if isinstance(answer, Path):
                found.answers.append(_Answer(mirror, answer, stale=False))
                deadline = min(deadline, time.monotonic() + GRACE)
            else:
                found.silent[mirror.base] = str(answer)
                found.newer |= isinstance(answer, NewerForm)
        found.silent |= {mirror.base: "stalled: no answer in time" for mirror in waiting}
        found._stand_in(cache)
        order = {mirror: number for number, mirror in enumerate(mirrors)}
        found.answers.sort(key=lambda each: order[each.mirror])
        return found

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        """Return the rows of a dataset, without geometry, oldest vintage and version first.

        A release that one mirror states as withdrawn is withdrawn, unless another mirror states an event that is later
        than the withdrawal (by `CLOCKS`) and does not state the withdrawal: then it was reinstated, and the first
        mirror lags. Raises UnknownNameError with the nearest names, and
        IntegrityError when two mirrors state other bytes for one release.
        """
        tables = [self._rows_at(answer.path, dataset) for answer in self.answers]
        united: dict[tuple[str, str], dict[str, Any]] = {}
        withdrawn: dict[tuple[str, str], list[dict[str, Any]]] = {}
        # A catalogue is complete: the mirror that knows of the newest event says which release is the latest.
        known_until = {answer.mirror.base: _last_event(answer.path) for answer in self.answers}
        ranked = sorted(
            zip(self.answers, tables, strict=True),
            key=lambda each: (known_until[each[0].mirror.base], _newest_event(each[1])),
            reverse=True,
        )
        for number, (answer, rows) in enumerate(ranked):
            for row in rows:
                key = row["vintage"], row["version"]
                fresh = {
                    **row,
                    "is_latest": row["is_latest"] and not number,
                    "from": answer,
                    "stated_by": [],
                    "standing_until": 0.0,
                }
                first = united.setdefault(key, fresh)
                first["stated_by"].append(answer.mirror.base)
                if bytes_of(first) != bytes_of(row):
                    raise IntegrityError(
                        f"Two mirrors state other files for {dataset} {row['vintage']} v{row['version']}: "
                        f"{first['from'].mirror.base} and {answer.mirror.base}",
                        "A published release never changes: tell the publisher, and give only a mirror that you trust",
                    )
                if row["withdrawn_at"] is None:
                    first["standing_until"] = max(first["standing_until"], known_until[answer.mirror.base])
                else:
                    withdrawn.setdefault(key, []).append(row)
        if not united:
            self._unknown(dataset)
        for key, rows in withdrawn.items():
            _withdraw(united[key], max(rows, key=lambda row: row["withdrawn_at"]))
        return sorted(united.values(), key=lambda row: (row["vintage"], _ordered(row)))

    def holding(self, sha256: str) -> list[tuple[dict[str, Any], File]]:
        """Return the files with a sha256 that a catalogue states, with their rows: data, parts and other assets.

        Rows of releases that stand come first.
        """
        datasets: set[str] = set()
        for answer in self.answers:
            with pq.ParquetFile(answer.path) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns=["dataset", "sha256", "d4c:parts", "assets"])
                    datasets |= {row["dataset"] for row in table.to_pylist() if sha256 in hashes_of(row)}
        found = [
            (row, file)
            for dataset in sorted(datasets)
            for row in self.rows(dataset)
            for file in (*files_of(row), *map(asset_file, filter(None, row["assets"].values())))
            if file.sha256 == sha256 and is_stated(file)
        ]
        return sorted(found, key=lambda each: each[0]["withdrawn_at"] is not None)

    def choose(
        self, dataset: str, vintage: str | None, version: str | None, *, allow_withdrawn: bool = False
    ) -> dict[str, Any]:
        """Return the row that the three name.

        `vintage`: a vintage, `latest`, or None where only one is meant (a rolling series, a dataset of one vintage).
        `version`: a version, `latest` or None, or `1.*`. A wildcard means the newest matching release that stands, a
        pre-release only when nothing else matches. Raises UnknownNameError that lists what there is, and WithdrawnError
        when the named release, or every release that matches, was withdrawn.
        """
        rows = self.rows(dataset)
        matching = self._of_vintage(dataset, rows, vintage, version)
        if version is None or version == LATEST:
            standing = [row for row in matching if row["withdrawn_at"] is None]
            latest = [row for row in standing if row["is_latest"]]
            if chosen := latest or standing:
                return max(chosen, key=lambda row: (row["vintage"], _ordered(row)))
            raise _withdrawn(dataset, matching, [])
        try:
            matches = matcher(version)
        except ValueError as error:
            raise UnknownNameError(f"'{version}' is no version and no pattern", _such_as(matching)) from error
        named = [row for row in matching if matches(row["version"])]
        if not named:
            where = f" of vintage {vintage}" if vintage else ""
            raise UnknownNameError(f"No version of {dataset}{where} matches '{version}'", _such_as(matching))
        standing = [row for row in named if row["withdrawn_at"] is None]
        if not standing and not (allow_withdrawn and not is_wildcard(version)):
            raise _withdrawn(dataset, named, [row for row in matching if row["withdrawn_at"] is None])
        newest = max(row["vintage"] for row in standing or named)
        chosen = [row for row in standing or named if row["vintage"] == newest]
        final = [row for row in chosen if not is_prerelease(row["version"])]
        return max(final or chosen, key=_ordered)

    def _of_vintage(
        self, dataset: str, rows: list[dict[str, Any]], vintage: str | None, version: str | None
    ) -> list[dict[str, Any]]:
        known = sorted({row["vintage"] for row in rows})
        rolling = rows[-1]["d4c:series"] == "rolling"
        if vintage is not None and vintage != LATEST:
            found = [row for row in rows if row["vintage"] == vintage]
            if not found:
                raise UnknownNameError(f"{dataset} has no vintage '{vintage}'", f"There are: {', '.join(known)}")
            return found
        if vintage is None and not rolling and len(known) > 1:
            raise UnknownNameError(
                f"{dataset} has {len(known)} vintages, each a product of its own: {', '.join(known)}",
                f"Name one: vintage='{known[-1]}', or vintage='latest' for the newest",
            )
        # A vintage whose date lies in the future is published before it is the latest.
        latest = [row["vintage"] for row in rows if row["is_latest"]]
        reached = [row for row in rows if not latest or row["vintage"] <= max(latest)]
        if rolling and vintage is None and version not in (None, LATEST):
            return reached
        standing = [row["vintage"] for row in reached if row["withdrawn_at"] is None]
        newest = max(latest or standing or known)
        return [row for row in reached if row["vintage"] == newest]

    def _rows_at(self, path: Path, dataset: str) -> list[dict[str, Any]]:
        with pq.ParquetFile(path) as file:
            groups = [number for number in range(file.num_row_groups) if _may_have(file, number, dataset)]
            rows = file.read_row_groups(groups, columns=list(COLUMNS))
        return rows.filter(pa.array([name == dataset for name in rows["dataset"].to_pylist()], pa.bool_())).to_pylist()

    def _unknown(self, dataset: str) -> None:
        names: set[str] = set()
        for answer in self.answers:
            with pq.ParquetFile(answer.path) as file:
                names |= set(file.read(columns=["dataset"])["dataset"].to_pylist())
        near = difflib.get_close_matches(dataset, sorted(names), n=5, cutoff=0.4)
        near += [name for name in sorted(names) if dataset.lower() in name.lower() and name not in near][:5]
        remedy = (
            f"The nearest names: {', '.join(near)}"
            if near
            else f"There are {len(names)}: {', '.join(sorted(names)[:20])}"
        )
        raise UnknownNameError(f"The catalogue has no dataset '{dataset}'", remedy)

    def _stand_in(self, cache: Path) -> None:
        if self.answers:
            if self.silent:
                told = "; ".join(f"{base}: {reason}" for base, reason in self.silent.items())
                warnings.warn(f"No catalogue came from {told}. The other mirrors' is used.", D4CWarning, stacklevel=4)
            return
        told = "; ".join(f"{base}: {reason}" for base, reason in self.silent.items())
        if self.newer:
            raise FormError(f"This client can't read the catalogue: {told}", UPDATE)
        for mirror in self.mirrors:
            if (path := copy_of(cache, mirror)).is_file():
                self.answers.append(_Answer(mirror, path, stale=True))
        if not self.answers:
            raise UnreachableError(f"No mirror delivered the catalogue: {told}", "Give another mirror, or try again")
        dates = time.strftime(
            "%Y-%m-%d %H:%M UTC", time.gmtime(max(each.path.stat().st_mtime for each in self.answers))
        )
        warnings.warn(
            f"No mirror delivered the catalogue ({told}). The copy of {dates} is used: releases and withdrawals since "
            "then are unknown.",
            D4CWarning,
            stacklevel=4,
        )


def _may_have(file: pq.ParquetFile, group: int, dataset: str) -> bool:
    facts = file.metadata.row_group(group)
    columns = (facts.column(number) for number in range(facts.num_columns))
    known = next(column.statistics for column in columns if column.path_in_schema == "dataset")
    return known is None or not known.has_min_max or known.min <= dataset <= known.max


def _ordered(row: Mapping[str, Any]) -> Any:
    try:
        return precedence(row["version"])
    except ValueError as error:
        raise FormError(f"The catalogue has a version that is none: {error}", UPDATE) from error


def _newest_event(rows: Sequence[Mapping[str, Any]]) -> float:
    moments = [row[name] for row in rows for name in ("published", "withdrawn_at") if row[name] is not None]
    return max((moment.timestamp() for moment in moments), default=0.0)


def _withdraw(release: dict[str, Any], last: Mapping[str, Any]) -> None:
    """Apply the last withdrawal that a mirror states, unless a mirror states later events and not the withdrawal."""
    if release["standing_until"] > last["withdrawn_at"].timestamp() + CLOCKS:
        release |= {"withdrawn_at": None, "withdrawn_reason": None}
    else:
        release |= {name: last[name] for name in ("withdrawn_at", "withdrawn_reason")} | {"is_latest": False}


def _last_event(path: Path) -> float:
    """Return the newest moment of publication or withdrawal in a catalogue, of any dataset."""
    with pq.ParquetFile(path) as file:
        table = file.read(columns=["published", "withdrawn_at"])
    return max(
        (
            moment.timestamp()
            for name in table.column_names
            if (moment := pc.max(table[name]).as_py()) is not None  # pyright: ignore[reportAttributeAccessIssue]
        ),
        default=0.0,
    )


def _such_as(rows: Sequence[Mapping[str, Any]]) -> str:
    listed = [f"{row['version']}{' (withdrawn)' if row['withdrawn_at'] else ''}" for row in rows]
    vintages = {row["vintage"] for row in rows}
    if len(vintages) > 1:
        listed = [f"{row['vintage']} v{text}" for row, text in zip(rows, listed, strict=True)]
    return f"There are: {', '.join(listed)}. Patterns are '*', '1.*', '1.2.*' and 'latest'"


def _withdrawn(
    dataset: str, named: Sequence[Mapping[str, Any]], standing: Sequence[Mapping[str, Any]]
) -> WithdrawnError:
    newest = max(named, key=lambda row: (row["vintage"], _ordered(row)))
    reason = newest["withdrawn_reason"] or "no reason is stated"
    instead = max(standing, key=lambda row: (row["vintage"], _ordered(row)), default=None)
    remedy = f"Version {instead['version']} of vintage {instead['vintage']} stands" if instead else "No release stands"
    name = f"{dataset} {newest['vintage']} v{newest['version']}"
    return WithdrawnError(
        f"{name} was withdrawn on {newest['withdrawn_at']:%Y-%m-%d}: {reason}",
        f"{remedy}. To read it all the same, name this version exactly and pass allow_withdrawn=True",
        reason,
    )


def _ask(
    answers: queue.SimpleQueue[tuple[Mirror, Path | MirrorFailure]], mirror: Mirror, cache: Path, timeout: float
) -> None:
    try:
        answers.put((mirror, fetch(mirror, cache, timeout)))
    except MirrorFailure as failure:
        answers.put((mirror, failure))
    except OSError as error:
        answers.put((mirror, MirrorFailure(f"the cache can't be written: {error}")))
