"""Makes the draft of a source: recognises it, reads its documents and its data, and composes the fields.

Requests go through the clients of `sources` with their guards, foreign bytes are read in the sandbox. The parts belong
to `recognise`, `about`, `survey` and `draft`.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter, ValidationError

from d4c_pipeline.drafting import addresses, publishers
from d4c_pipeline.drafting.about import arcgis, ckan, cube, reading
from d4c_pipeline.drafting.composing import Material, composed
from d4c_pipeline.drafting.draft import Draft
from d4c_pipeline.drafting.facts import Facts, Found, as_json, documents, from_json, merged
from d4c_pipeline.drafting.recognise import Recognised, recognise
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.declared import Identifier
from d4c_pipeline.model.errors import DataError, PermanentError, SourceError
from d4c_pipeline.model.gaps import NO_ADDRESS, TO_FILL
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.sources import Source
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sandbox import call as child
from d4c_pipeline.sandbox.wire import Limits, Reach
from d4c_pipeline.sources.fetch.web import web_of
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.sources.port import Arrived
from d4c_pipeline.tables.parallel import most_memory

MOST_BYTES = 500 << 20
"""Bytes of data that a draft reads by default: what a minute fetches and builds several times."""
_MOST_UNFIT = 10  # rounds: pydantic reports the fields of one level at a time
_SETTINGS = child.Settings(memory="D4C_BUILD_MEMORY", time="D4C_BUILD_SECONDS")
_PORTAL = "https://open.canada.ca/data"
_SOURCE: TypeAdapter[Any] = TypeAdapter(Source)
_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)


def draft(
    source: str | Path,
    settings: Settings,
    *,
    metadata: Path | None = None,
    natives: Sequence[Path] | None = None,
    identifier: str | None = None,
    package: str | None = None,
    read: bool = True,
    most_bytes: int = MOST_BYTES,
    endpoint: str | None = None,
    public_only: bool = False,
    with_sql: bool = False,
) -> Draft:
    """Return the draft of a source: an http(s) address, `s3://...`, the number of a table, a file or a folder.

    `metadata`: a record about the data (ISO 19115, CKAN package, table metadata, layer, DCAT) that precedes the
    source's own. `natives`: the data's files, if the caller has them; else they are fetched, up to `most_bytes`.
    `read`: False drafts without data. `identifier`, `package`: the dataset's id and package, where a person knows them.
    `endpoint`: of an S3 service other than Amazon's.
    `public_only`: connect to public addresses only, for an address that a stranger sent. `with_sql`: also draft a
    `transform.sql`.
    Raises PermanentError for an address that is none, SourceError, TransientError and NeedsPersonError as the source
    does, DataError for data that can't be read.
    """
    if identifier is not None:
        _require_identifier(identifier)
    if package is not None and re.fullmatch(r"(d4c-datapkg-)?[a-z0-9]+", package, re.ASCII) is None:
        raise PermanentError(f"'{package}' is not a package", "Write d4c-datapkg-... in lower-case letters and digits")
    recognised = recognise(source)
    if endpoint is not None:
        recognised = _at_endpoint(recognised, endpoint)
    if public_only:
        _refuse_local(recognised, source)
    with _workplace(settings) as work:
        stated = _stated_beside(metadata, settings, work)
        recognised, about, notes = _described(recognised, settings, work, guarded=public_only)
        facts = merged(stated, about, recognised.facts, _of_publisher(recognised))
        material = _fitted(Material(recognised, facts, identifier=identifier, package=package, notes=tuple(notes)))
        if read and recognised.declared.get("urls") != [NO_ADDRESS]:
            material = _surveyed(material, natives, settings, work, most_bytes, guarded=public_only)
        return composed(_fitted(material), with_sql=with_sql)


def _fitted(material: Material) -> Material:
    """Return the material without facts that no definition may have; each becomes a note.

    Raises DataError if the definition would be wrong without any such fact.
    """
    for _ in range(_MOST_UNFIT):
        try:
            Dataset.model_validate(composed(material).attributes)
        except ValidationError as error:
            unfit = {str(problem["loc"][0]): str(problem["msg"]) for problem in error.errors(include_url=False)}
            kept = {path: found for path, found in material.facts.items() if path.partition(".")[0] not in unfit}
            if len(kept) == len(material.facts):
                words = "; ".join(f"{name}: {said.removeprefix('Value error, ')}" for name, said in unfit.items())
                raise DataError(
                    f"The source states what no definition may have ({words})", "Write it by hand"
                ) from error
            left_out = sorted(material.facts.keys() - kept.keys())
            notes = tuple(f"left out, not valid: {path}: {material.facts[path].value}" for path in left_out)
            material = replace(material, facts=kept, notes=(*material.notes, *notes))
        else:
            break
    return material


def _require_identifier(identifier: str) -> None:
    try:
        _IDENTIFIER.validate_python(identifier)
    except ValidationError as error:
        raise PermanentError(
            f"'{identifier}' is not an identifier", "Write lower-case letters, digits and underscores, a letter first"
        ) from error


@contextmanager
def _workplace(settings: Settings) -> Iterator[Path]:
    with storage_errors("make a folder for temporary files"):
        folder = Path(tempfile.mkdtemp(prefix="d4c-draft-", dir=settings.temp))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _at_endpoint(recognised: Recognised, endpoint: str) -> Recognised:
    if recognised.kind != "s3":
        raise PermanentError("An endpoint is for s3://bucket/prefix", "Leave it out for other addresses")
    return replace(recognised, declared={**recognised.declared, "endpoint": endpoint})


def _refuse_local(recognised: Recognised, source: str | Path) -> None:
    if recognised.kind in ("folder", "document"):
        raise SourceError(f"{source} is a path of this machine", "Give a public http(s) address, or upload the file")


def _stated_beside(metadata: Path | None, settings: Settings, work: Path) -> Facts:
    if metadata is None:
        return {}
    kind, facts = _read_document(metadata.expanduser().absolute(), settings, work)
    if kind is None:
        raise DataError(
            f"{metadata} is no record about data",
            "Give a record of ISO 19115 (ISO 19139), a CKAN package, metadata of a table, a layer, or DCAT",
        )
    return {path: found for path, found in facts.items() if path != "address"}


def _described(
    recognised: Recognised, settings: Settings, work: Path, *, guarded: bool
) -> tuple[Recognised, Facts, list[str]]:
    """Return the source, the facts of its own document, and notes; a local document names the source itself."""
    declared = recognised.declared
    match recognised.kind:
        case "statcan_table":
            service = _SOURCE.validate_python(declared).service
            body = json.dumps([{"productId": int(declared["table"])}]).encode()
            document = cube.unwrapped(_json(recognised, settings, f"{service}/getCubeMetadata", body, guarded=guarded))
            if not cube.is_cube(document):
                raise SourceError(f"The service has no table {declared['table']}", "Correct the number of the table")
            return recognised, cube.facts(document), []
        case "ckan":
            url = f"{declared['portal'].rstrip('/')}/api/3/action/package_show?id={quote(declared['package'])}"
            document = ckan.unwrapped(_json(recognised, settings, url, guarded=guarded))
            if not ckan.is_package(document):
                raise SourceError(f"{url} returned no package", "Correct the package or the portal")
            return _of_package(recognised, ckan.facts(document, declared["portal"]), document)
        case "arcgis":
            document = _json(recognised, settings, f"{declared['layer'].rstrip('/')}?f=json", guarded=guarded)
            if not arcgis.is_layer(document):
                raise SourceError(f"{declared['layer']} is not a layer or table", "Give the address of a layer")
            return recognised, arcgis.facts(document), []
        case "document":
            assert recognised.document is not None  # noqa: S101 - of this kind
            kind, facts = _read_document(recognised.document, settings, work)
            if kind is None:
                return replace(recognised, kind="folder", document=None), {}, []
            return _of_document(recognised, kind, facts)
        case _:
            return recognised, {}, []


def _of_package(
    recognised: Recognised, facts: Facts, package: Mapping[str, Any]
) -> tuple[Recognised, Facts, list[str]]:
    """Select one resource of a package: the one that the address names, or the best."""
    resources = {str(each.get("id")): each for each in documents(package.get("resources"))}
    if recognised.resource in resources:
        declared = {**recognised.declared, "name": recognised.resource}
        return replace(recognised, declared=declared, evidence="the address names a resource of the package"), facts, []
    choice = addresses.choose(facts["address"].value)
    if choice.chosen is None:
        return (
            replace(recognised, declared={**recognised.declared, "formats": [TO_FILL]}, evidence=choice.evidence),
            facts,
            [f"also listed: {other}" for other in choice.others],
        )
    url = choice.chosen["url"]
    if "/rest/services/" in url:
        layer = replace(recognise(url), evidence=f"{choice.evidence}: {choice.chosen['name']}")
        return layer, facts, [f"also listed: {other}" for other in choice.others]
    chosen = next(
        (name for name, each in resources.items() if str(each.get("url") or "").strip().partition("#")[0] == url), None
    )
    declared = {**recognised.declared, "formats": [choice.chosen["format"]], **({"name": chosen} if chosen else {})}
    evidence = f"{choice.evidence}: {choice.chosen['name']}"
    return (
        replace(recognised, declared=declared, evidence=evidence),
        facts,
        [f"also listed: {one}" for one in choice.others],
    )


def _of_document(recognised: Recognised, kind: str, facts: Facts) -> tuple[Recognised, Facts, list[str]]:
    """Return the source that a local document describes."""
    name = recognised.document.name if recognised.document is not None else ""
    if kind == "cube":
        table = facts["name.theme"].value.removeprefix("table_")
        return (
            Recognised("statcan_table", {"kind": "statcan_table", "table": table}, f"{name} describes the table"),
            facts,
            [],
        )
    choice = addresses.choose(facts["address"].value if "address" in facts else [])
    notes = [f"also listed: {other}" for other in choice.others]
    if kind == "ckan":
        source = Recognised("ckan", {"kind": "ckan", "portal": _PORTAL, "package": facts["id.package"].value}, name)
        federal = facts.get("name.region")
        if federal is None:
            source = replace(source, declared={**source.declared, "portal": NO_ADDRESS})
        formats = {"formats": [choice.chosen["format"]]} if choice.chosen else {}
        return (
            replace(source, declared={**source.declared, **formats}, evidence=f"{name}; {choice.evidence}"),
            facts,
            notes,
        )
    if choice.chosen is None:
        gap = Recognised("http", {"kind": "http", "urls": [NO_ADDRESS]}, f"{name}: {choice.evidence}")
        return gap, facts, notes
    return replace(recognise(choice.chosen["url"]), evidence=f"{name}: {choice.evidence}"), facts, notes


def _of_publisher(recognised: Recognised) -> Facts:
    declared = recognised.declared
    address = declared.get("layer") or declared.get("portal") or next(iter(declared.get("urls") or ()), "")
    if not isinstance(address, str) or (publisher := publishers.by_address(address)) is None:
        return {}
    return publisher.facts(f"{urlsplit(address).hostname} is a host of {publisher.name}", licence=True)


def _json(recognised: Recognised, settings: Settings, url: str, body: bytes | None = None, *, guarded: bool) -> Any:
    declared = _SOURCE.validate_python(recognised.declared)
    web = web_of((url,), declared, origins=settings.origins, patience=None, guarded=guarded)
    return web.json(url, body=body)


def read_document(path: Path, portal: str) -> dict[str, Any]:
    """Return kind and facts of a document, for `_read_document`. Runs in the sandbox."""
    return {"kind": reading.kind_of(path), "facts": as_json(reading.facts_of(path, portal))}


def _read_document(path: Path, settings: Settings, work: Path) -> tuple[str | None, Facts]:
    answer = _apart(settings, work, (path,), f"Reading {path.name}", read_document, path, _PORTAL)
    kind = answer.get("kind") if isinstance(answer, dict) else None
    return (str(kind) if kind is not None else None), from_json(answer.get("facts"))


def _surveyed(
    material: Material,
    natives: Sequence[Path] | None,
    settings: Settings,
    work: Path,
    most_bytes: int,
    *,
    guarded: bool,
) -> Material:
    """Return the material with what the data say; without it, and with the reason, for more than `most_bytes`."""
    dataset = Dataset.model_validate(composed(material).attributes)
    files, vintage = (list(natives), _day()) if natives is not None else (None, None)
    if files is None:
        files, vintage, unread = _fetched(dataset, material, settings, work / "natives", most_bytes, guarded=guarded)
        if files is None:
            return replace(material, unread=unread)
    folder = work / "survey"
    with storage_errors(f"write in {work}"):
        folder.mkdir()
    hints = material.facts.get("key_hint", Found([], "")).value
    attributes = {**composed(material).attributes, "vintages": material.vintages(vintage)}
    from d4c_pipeline.drafting.survey import survey  # noqa: PLC0415 - loads the readers

    answer = _apart(
        settings, work, tuple(files), f"The survey of {material.recognised.declared['kind']}", survey,
        attributes, str(vintage), files, folder, hints, settings.threads, settings.memory_limit, writable=(folder,),
    )  # fmt: skip
    return material.with_survey(answer, str(vintage))


def _fetched(
    dataset: Dataset, material: Material, settings: Settings, into: Path, most_bytes: int, *, guarded: bool
) -> tuple[list[Path] | None, Vintage | None, str]:
    if dataset.source.kind == "folder":
        pattern, root = dataset.source.pattern, Path(dataset.source.path.format(vintage=Vintage.parse("1970")))
        found = sorted(path for path in root.rglob("*") if path.is_file() and path.match(pattern))
        if not found:
            raise SourceError(f"No file at {root} matches '{pattern}'", "Check the path")
        size = sum(path.stat().st_size for path in found)
        if size > most_bytes:
            return None, None, _too_large(size, most_bytes)
        newest = max(path.stat().st_mtime for path in found)
        return found, Vintage.of_day(datetime.fromtimestamp(newest, UTC)), ""
    source = open_source(dataset, settings.origins, guarded=guarded)
    vintage = _vintage_of(source, material)
    size = sum(mark.length or 0 for mark in source.observe(vintage).files)
    if size > most_bytes:
        return None, None, _too_large(size, most_bytes)
    fetched = source.fetch(vintage, into)
    return [file.path for file in fetched if isinstance(file, Arrived)], vintage, ""


def _vintage_of(source: Any, material: Material) -> Vintage:
    try:
        return source.discover()[-1]
    except SourceError:
        # Without a date the server serves its current state; a person dates it.
        if material.recognised.kind != "http":
            raise
        return _day()


def _too_large(size: int, most: int) -> str:
    return f"the data have {size:,} bytes, more than the {most:,} that a draft reads: see --most-megabytes"


def _day() -> Vintage:
    return Vintage.of_day(datetime.now(UTC))


def _apart(
    settings: Settings, work: Path, readable: tuple[Path, ...], what: str, function: Any, *arguments: Any,
    writable: tuple[Path, ...] = (),
) -> Any:  # fmt: skip
    """Call `function` in the sandbox; its answer is untrusted JSON."""
    scratch = work / "scratch"
    with storage_errors(f"write in {work}"):
        scratch.mkdir(exist_ok=True)
    return child.run(
        function,
        *arguments,
        what=what,
        limits=Limits(settings.build_memory or most_memory(), settings.build_seconds),
        settings=_SETTINGS,
        reach=Reach(scratch, readable=readable, writable=writable),
    )
