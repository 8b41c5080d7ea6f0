"""Metadata of materializations and checks: the results of the chain in Dagster's types, with its standard keys.

The values come from the results of the chain's steps.
Reference: https://docs.dagster.io/guides/build/assets/metadata-and-tags
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from d4c_pipeline.metadata.changes import in_words
from d4c_pipeline.model.release import CHANGES, DataSummary, Deposit
from d4c_pipeline.model.secrets import mask, public_address
from d4c_pipeline.orchestration.launching import review_launch, withdrawal_link
from d4c_pipeline.processing.checks.verdict import Outcome, Verdict
from d4c_pipeline.workspace.builds import StagedBuild
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.reports import catalogue_query
from d4c_pipeline.workspace.stores import Missed

if TYPE_CHECKING:
    from d4c_pipeline.chain.catalogue import Catalogued, LeftOut
    from d4c_pipeline.chain.checksums import Plan
    from d4c_pipeline.chain.copies import Distributed
    from d4c_pipeline.chain.deposit import Deposited
    from d4c_pipeline.chain.latest import Switched
    from d4c_pipeline.chain.portal_result import PortalBuilt
    from d4c_pipeline.chain.raw import Retained
    from d4c_pipeline.chain.run import Waiting
    from d4c_pipeline.chain.torrent import Seeded

Metadata = Mapping[str, Any]
OUTCOME = "outcome (0 passed, 1 warned, 2 failed)"
"""The label of a check's number, which the UI plots."""
_EXAMPLES = 50


def of_raw(result: Retained) -> Metadata:
    """Native files with their checksums, and the number fetched in this run."""
    return {
        "files": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "name": native.name,
                        "url": public_address(native.url),
                        "size": native.size,
                        "sha256": native.sha256,
                        "last_modified": native.last_modified or "",
                        "retained_at": native.address,
                    }
                )
                for native in result.natives
            ],
            schema=_schema(
                name="string", url="string", size="int", sha256="string", last_modified="string", retained_at="string"
            ),
        ),
        "fetched": result.fetched,
        "bytes_fetched": result.bytes_fetched,
        "size": sum(native.size for native in result.natives),
    }


def of_processed(result: StagedBuild, verdicts: Sequence[Verdict] = ()) -> Metadata:
    """Rows, columns, bounds, preview, map, profile, files and derived files of a build; numbers, which the UI plots."""
    summary = result.summary
    profile = json.loads(result.profile.read_text("utf-8"))
    # The most useful entries first: the UI keeps this order.
    from d4c_pipeline.processing.preview import (  # noqa: PLC0415
        map_png,
        preview_markdown,
        profile_markdown,
        small_picture,
    )

    shown: dict[str, Any] = {"dagster/row_count": summary.rows, "dagster/column_schema": column_schema(summary)}
    if summary.bounds is not None:
        large = map_png(result.paths, fit_dots=True)
        if small := small_picture(large, _AT_ONCE):
            shown["map"] = _picture(small, "webp")
        shown["bounds"] = dg.MetadataValue.json(
            dict(zip(("west", "south", "east", "north"), summary.bounds, strict=True))
        )
        shown["geometry_types"] = ", ".join(summary.geometry_types)
        shown["crs"] = summary.crs or "unknown"
        shown["map_large"] = _picture(large, "png")
    return {
        **shown,
        "preview": dg.MetadataValue.md(preview_markdown(result.paths[0])),
        "profile": dg.MetadataValue.md(profile_markdown(profile)),
        **({"derived": _derived(result)} if result.derived else {}),
        **({"files": _parts(result)} if len(result.data) > 1 else {}),
        "size": sum(path.stat().st_size for path in result.paths),
        "columns": len(profile["columns"]),
        "null_share": _null_share(profile),
        "checks_failed": sum(each.outcome is Outcome.FAILURE for each in verdicts),
        "checks_warned": sum(each.outcome is Outcome.WARNING for each in verdicts),
        "sha256": result.sha256,
        "path": dg.MetadataValue.path(str(result.paths[0] if len(result.paths) == 1 else result.paths[0].parent)),
        "report": dg.MetadataValue.json(dict(summary.report)),
    }


_AT_ONCE = 700
"""Bytes of a picture that the UI shows without a click: it does so for Markdown of less than 1,000 characters."""


def _picture(content: bytes, kind: str) -> dg.MetadataValue:
    encoded = base64.b64encode(content).decode()
    return dg.MetadataValue.md(f"![map of the geometry](data:image/{kind};base64,{encoded})")


def _null_share(profile: Mapping[str, Any]) -> float:
    """The share of the cells of all columns that are null."""
    cells = profile["rows"] * len(profile["columns"])
    return sum(column["nulls"] for column in profile["columns"].values()) / cells if cells else 0.0


def of_verdict(
    verdict: Verdict, commands: Mapping[str, str], overridden: str | None = None, *, rows: int | None = None
) -> Metadata:
    """Expected and actual values, a table of examples, remedy, and the override if a reviewer made one.

    `commands` help when the check did not pass, by what they do. `rows` of the data and the numeric outcome are
    plotted over time.
    """
    found: dict[str, Any] = {"expected": verdict.expected, "actual": verdict.actual}
    if verdict.examples:
        found["examples"] = examples_table(verdict.examples)
    if verdict.remedy:
        found["remedy"] = verdict.remedy
    if verdict.outcome is not Outcome.PASS:
        found |= commands
    if overridden:
        found["overridden"] = overridden
    found[OUTCOME] = verdict.outcome.value
    return found if rows is None else {**found, "rows": rows}


def of_findings(findings: Sequence[str], *, expected: str, actual: str, remedy: str, launch: str) -> Metadata:
    """What a check over all datasets found: expected, actual, a table of examples, the number, remedy and launch.

    `launch`: the page of the UI that starts the job that helps. Without findings, no remedy is needed.
    """
    found: dict[str, Any] = {"expected": expected, "actual": actual, "findings": len(findings)}
    if not findings:
        return found | {"remedy": "none needed"}
    return found | {
        "examples": examples_table([{"finding": finding} for finding in findings[:_EXAMPLES]]),
        "remedy": remedy,
        "launch": dg.MetadataValue.url(launch),
    }


def examples_table(rows: Sequence[Mapping[str, Any]]) -> dg.TableMetadataValue:
    """Return rows as a table; a row without a column has an empty cell, lists and objects are JSON."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return dg.MetadataValue.table(
        [dg.TableRecord({name: _cell(row.get(name)) for name in columns}) for row in rows],
        schema=dg.TableSchema([dg.TableColumn(name, "any") for name in columns]),
    )


def _cell(value: Any) -> str | int | float | bool:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float | bool) else json.dumps(value, ensure_ascii=False, default=str)


def _parts(result: StagedBuild) -> dg.MetadataValue:
    facts = {part.name: part for part in result.summary.parts}
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "part": file.part,
                    "rows": facts[file.part].rows,
                    "size": file.path.stat().st_size,
                    "sha256": file.sha256,
                }
            )
            for file in result.data
        ],
        schema=_schema(part="string", rows="int", size="int", sha256="string"),
    )


def _derived(result: StagedBuild) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "file": f"<release>{made.suffix}",
                    "role": made.role.value,
                    "size": made.path.stat().st_size,
                    "rows": made.rows,
                    "sha256": made.sha256,
                }
            )
            for made in result.derived
        ],
        schema=_schema(file="string", role="string", size="int", rows="int", sha256="string"),
    )


def of_checksums(result: Plan) -> Metadata:
    """The version and the reasons for it."""
    return {
        "release": result.release.name,
        "version": str(result.release.version),
        "outcome": "unchanged" if result.unchanged else "planned",
        "change": result.change.bump.name,
        "reasons": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in result.change.reasons) or "no change"),
        "sha256": result.release.data_sha256,
        "size": sum(file.size for file in result.release.data_files),
        "files": len(result.release.data_files),
        "dagster/row_count": result.release.summary.rows,
        "changes": dg.MetadataValue.md(changes_table(result.release.summary.report.get(CHANGES))),
    }


def changes_table(found: Mapping[str, Any] | None) -> str:
    """Return the counts of changed rows (see `release.CHANGES`) as a Markdown table, by kind, column and province."""
    if found is None:
        return "not compared with an earlier release"
    told = in_words(found, "en")
    rows = [("by kind", *each) for each in told.kinds or (("no row differs", 0),)]
    rows += [("by column", "`" + name.replace("|", "\\|") + "`", count) for name, count in told.columns]
    rows += [("by province", *each) for each in told.provinces]
    lines = [told.heading, "", "| | changed | rows |", "| --- | --- | ---: |"]
    return "\n".join(lines + [f"| {group} | {name} | {count:,} |" for group, name, count in rows])


def of_doi(result: Deposit) -> Metadata:
    """The reserved or registered DOI."""
    return {"doi": _doi(result.doi, test=result.test), "state": result.state.value, "record": _url(result.url)}


def of_copies(result: Distributed) -> Metadata:
    """The copies, each with its verification."""
    return {
        "copies": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "artifact": copy.artifact,
                        "store": copy.store,
                        "address": mask(copy.address),
                        "size": copy.size,
                        "verified_at": copy.verified_at.isoformat(),
                        "intact": copy.intact,
                    }
                )
                for copy in result.copies
            ],
            schema=_schema(
                artifact="string", store="string", address="string", size="int", verified_at="string", intact="bool"
            ),
        ),
        "size": sum(copy.size for copy in result.copies),
    }


def of_missed(missed: Sequence[Missed], command: str, launch: str) -> Metadata:
    """Expected, actual, and a table of the unreachable mirrors; command and launch push the release there."""
    expected = {"expected": "every mirror holds the release"}
    if not missed:
        return expected | {"actual": "every mirror holds it", "remedy": "none needed"}
    rows = [{"mirror": each.store, "cause": each.cause, "remedy": each.remedy} for each in missed]
    return expected | {
        "actual": "; ".join(f"{each.store} lacks it: {each.cause}" for each in missed),
        "examples": examples_table(rows),
        "remedy": "; ".join(dict.fromkeys(each.remedy for each in missed)),
        "command": command,
        "launch": dg.MetadataValue.url(launch),
    }


def of_waiting(waiting: Waiting | None) -> Metadata:
    """Expected, actual, a table of the reasons for a review, the links that decide, and what the release changes."""
    expected = {"expected": "no review is pending"}
    if waiting is None:
        return expected | {"actual": "none is pending", "remedy": "none needed"}
    return expected | {
        "actual": waiting.cause,
        "examples": examples_table([{"release": waiting.release, "reason": reason} for reason in waiting.reasons]),
        "remedy": waiting.remedy,
        **{
            decision: dg.MetadataValue.url(review_launch(waiting.release, decision))
            for decision in ("approve", "reject")
        },
        "changes": dg.MetadataValue.md(waiting.changes),
    }


def of_torrent(result: Seeded) -> Metadata:
    """Info hash, magnet link and web seeds; one row per part if there are several."""
    left_out = {"left_out": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in result.left_out) or "none")}
    if len(result.torrents) > 1:
        return {"torrents": _torrents(result), **left_out}
    (torrent,) = result.torrents.values()
    return {
        "info_hash": torrent.info_hash,
        **({"info_hash_v2": torrent.info_hash_v2} if torrent.info_hash_v2 else {}),
        "magnet": dg.MetadataValue.url(torrent.magnet),
        "piece_size": torrent.piece_size,
        "web_seeds": dg.MetadataValue.md("\n".join(f"- <{url}>" for url in torrent.web_seeds) or "none"),
        **left_out,
    }


def _torrents(result: Seeded) -> dg.MetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "file": name,
                    "info_hash": torrent.info_hash,
                    "piece_size": torrent.piece_size,
                    "web_seeds": " ".join(torrent.web_seeds),
                    "magnet": torrent.magnet,
                }
            )
            for name, torrent in result.torrents.items()
        ],
        schema=_schema(file="string", info_hash="string", piece_size="int", web_seeds="string", magnet="string"),
    )


def of_stac_item(result: Mapping[str, Any]) -> Metadata:
    """The validated item."""
    return {"id": result["id"], "item": dg.MetadataValue.json(dict(result))}


def of_deposit(result: Deposited) -> Metadata:
    """The published record."""
    deposit = result.deposit
    return {
        "doi": _doi(deposit.doi, test=deposit.test),
        "concept_doi": _doi(deposit.concept_doi, test=deposit.test),
        "record": _url(deposit.url),
        "files": dg.MetadataValue.json(dict(deposit.files)),
        "release": result.release.name,
    }


def of_latest(result: Switched) -> Metadata:
    """The release that `/processed/` serves now."""
    return {
        "url": dg.MetadataValue.url(result.url),
        "serves": result.release.name,
        "switched": result.changed,
        "addresses": dg.MetadataValue.md("\n".join(f"- {address}" for address in result.addresses)),
        "sha256": result.release.data_sha256,
        "decide": dg.MetadataValue.md(withdrawal_link(result.release.name)),
    }


def of_portal(result: PortalBuilt) -> Metadata:
    """The portal's address, and the pages of this build."""
    return {
        "url": dg.MetadataValue.url(result.url),
        "path": dg.MetadataValue.path(str(result.folder)),
        "pages": result.pages,
        "written": result.written,
        "removed": result.removed,
        "datasets": result.datasets,
        "has_scripts": result.has_scripts,
        **_left_out(result.left_out),
    }


def of_catalogue(result: Catalogued, deployment: Deployment) -> Metadata:
    """The catalogue's address, size and an example query."""
    query = catalogue_query(str(deployment.primary.local_path(result.address) or result.url))
    return {
        "dagster/row_count": result.releases,
        "datasets": result.datasets,
        "url": dg.MetadataValue.url(result.url),
        "query": dg.MetadataValue.md(f"```sql\n{query}\n```"),
        **_left_out(result.left_out),
        **(
            {
                "without_records": dg.MetadataValue.md(
                    "\n".join(f"- {each.release}: {each.cause}. {each.remedy}." for each in result.without_records)
                )
            }
            if result.without_records
            else {}
        ),
    }


def _left_out(entries: Sequence[LeftOut]) -> Metadata:
    lines = [f"- {entry.dataset}: {entry.cause}. {entry.remedy}." for entry in entries]
    return {"left_out": dg.MetadataValue.md("\n".join(lines))} if lines else {}


def column_schema(summary: DataSummary) -> dg.TableSchema:
    """The columns in Dagster's schema, each with its description and its name at the source."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                description=column.description_en,
                tags={"source": _tag(column.source)} if column.source else None,
            )
            for column in summary.columns
        ]
    )


def _tag(text: str) -> str:
    # Dagster's tag values are at most 63 characters of letters, digits, '-', '_' and '.'.
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)[:63]


def _schema(**columns: str) -> dg.TableSchema:
    return dg.TableSchema(columns=[dg.TableColumn(name, kind) for name, kind in columns.items()])


def _doi(doi: str | None, *, test: bool) -> dg.MetadataValue:
    if doi is None:
        return dg.MetadataValue.text("not reserved yet")
    return (
        dg.MetadataValue.text(f"{doi} (test DOI, does not resolve)")
        if test
        else dg.MetadataValue.url(f"https://doi.org/{doi}")
    )


def _url(url: str | None) -> dg.MetadataValue:
    return dg.MetadataValue.url(url) if url else dg.MetadataValue.text("none")
