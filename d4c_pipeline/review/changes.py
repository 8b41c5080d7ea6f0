"""What a planned release changes, for the person who approves it: numbers, columns, rows, checks, and both maps.

The same facts become Markdown for the page of a run and an HTML page for a private preview. The decision belongs to
`decisions`, the differences to `processing.compare`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.differences import ColumnAdded, ColumnRemoved, ColumnRenamed, ColumnRetyped, ValuesChanged
from d4c_pipeline.model.release import PlannedRelease, Release
from d4c_pipeline.model.texts import markdown_table
from d4c_pipeline.processing.compare import compare
from d4c_pipeline.processing.examples import changed_values
from d4c_pipeline.processing.preview import map_png
from d4c_pipeline.review.policy import reasons_for_review
from d4c_pipeline.workspace.current import previous_release
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.staging import artifact_path

_OF_COLUMNS = ColumnAdded | ColumnRemoved | ColumnRenamed | ColumnRetyped


@dataclass(frozen=True)
class Section:
    """A table with a title."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Changes:
    """The changes of a planned release. `maps`: title and PNG of the data before and now, empty for tables."""

    title: str
    reasons: tuple[str, ...]
    sections: tuple[Section, ...]
    maps: tuple[tuple[str, bytes], ...]


def changes_of(deployment: Deployment, dataset: Dataset, release: PlannedRelease) -> Changes:
    """Compare a planned release with the release that it follows.

    Raises IntegrityError when a data file of either is missing or damaged.
    """
    settings = deployment.settings
    previous = previous_release(deployment, dataset, release.vintage)
    now = [artifact_path(deployment, release, file) for file in release.data_files]
    sections = [_numbers(previous, release)]
    maps: list[tuple[str, bytes]] = []
    before: list[Path] = []
    comparable = previous is not None and previous.summary.crs == release.summary.crs
    if previous is not None:
        before = [artifact_path(deployment, previous, file) for file in previous.data_files]
        limits = {"threads": settings.threads, "memory_limit": settings.memory_limit, "temp": settings.temp}
        differences = compare(before, now, **limits)
        changed = {each.column: each.count for each in differences if isinstance(each, ValuesChanged)}
        examples = changed_values(before, now, differences, **limits)
        others = [str(each) for each in differences if not isinstance(each, ValuesChanged | _OF_COLUMNS)]
        sections += [
            Section("Rows and form", ("change",), tuple((each,) for each in others)),
            Section("Columns", ("column", "before", "now", "values changed"), _columns(previous, release, changed)),
            Section("Examples", ("key", "column", "before", "now"), tuple(examples)),
        ]
        maps.append((f"Before: {previous.name}", map_png(before, around=now if comparable else None, fit_dots=True)))
    maps.append((f"Now: {release.name}", map_png(now, around=before if comparable else None, fit_dots=True)))
    sections.append(_checks(deployment, release))
    return Changes(
        f"{release.name}: {release.change.bump.name}" if previous else f"{release.name}: first release",
        reasons_for_review(deployment, dataset, release),
        tuple(each for each in sections if each.rows),
        tuple(each for each in maps if each[1]),
    )


def as_markdown(changes: Changes) -> str:
    """Return the changes as Markdown, with the maps as data addresses."""
    lines = [f"## {changes.title}", "", *(f"- waits for a review: {reason}" for reason in changes.reasons)]
    for section in changes.sections:
        lines += ["", f"### {section.title}", "", *markdown_table(section.columns, section.rows)]
    for title, picture in changes.maps:
        lines += ["", f"### {title}", "", f"![{title}](data:image/png;base64,{base64.b64encode(picture).decode()})"]
    return "\n".join(lines) + "\n"


def as_html(changes: Changes) -> str:
    """Return the changes as one HTML page that loads nothing."""
    return "\n".join(_html(changes)) + "\n"


def _html(changes: Changes) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="robots" content="noindex">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(changes.title)}</title>"
    yield "<style>body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    yield "table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border-bottom:1px solid #ccc;"
    yield "padding:.25rem .75rem;text-align:left;vertical-align:top}.maps{display:flex;flex-wrap:wrap;gap:1rem}"
    yield "figure{margin:0}img{border:1px solid #ccc;max-width:100%}</style></head><body>"
    yield f"<h1>{escape(changes.title)}</h1>"
    if changes.reasons:
        yield f"<p>Waits for a review: {escape('; '.join(changes.reasons))}.</p>"
    if changes.maps:
        yield '<div class="maps">'
        for title, picture in changes.maps:
            source = base64.b64encode(picture).decode()
            yield f'<figure><figcaption>{escape(title)}</figcaption><img alt="{escape(title)}" '
            yield f'src="data:image/png;base64,{source}"></figure>'
        yield "</div>"
    for section in changes.sections:
        yield f"<h2>{escape(section.title)}</h2><table><thead><tr>"
        yield "".join(f"<th scope=col>{escape(name)}</th>" for name in section.columns)
        yield "</tr></thead><tbody>"
        for row in section.rows:
            yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>"
        yield "</tbody></table>"
    yield "</body></html>"


def _numbers(previous: Release | None, release: Release) -> Section:
    def facts(of: Release) -> tuple[str, ...]:
        bounds = of.summary.bounds
        return (
            f"{of.summary.rows:,}",
            f"{len(of.summary.columns):,}",
            f"{of.data_size:,}",
            f"{len(of.data_files):,}",
            ", ".join(f"{side:.4f}" for side in bounds) if bounds else "none",
            of.summary.crs or "none",
        )

    names = ("rows", "columns", "bytes", "files", "bounds", "CRS")
    if previous is None:
        return Section("Numbers", ("what", release.name), tuple(zip(names, facts(release), strict=True)))
    rows = tuple(zip(names, facts(previous), facts(release), strict=True))
    return Section("Numbers", ("what", previous.name, release.name), rows)


def _columns(previous: Release, release: Release, changed: dict[str, int]) -> tuple[tuple[str, ...], ...]:
    before, now = ({column.name: column.type for column in of.summary.columns} for of in (previous, release))
    return tuple(
        (name, before.get(name, "none"), now.get(name, "none"), f"{changed[name]:,}" if name in changed else "")
        for name in dict.fromkeys([*now, *before])
        if name in changed or before.get(name) != now.get(name)
    )


def _checks(deployment: Deployment, release: Release) -> Section:
    rows = tuple(
        (
            result.check,
            result.verdict,
            str(result.detail.get("expected", "")),
            str(result.detail.get("actual", "")),
        )
        for result in deployment.ledger.judgements.checks(release.data_sha256)
    )
    return Section("Checks", ("check", "verdict", "expected", "actual"), rows)
