"""Checks of what the platform keeps and uses: ledger, stores, archive, definitions of datasets.

Checks of the machine belong to `machine`. Nothing is created in a home that does not exist yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

from d4c_pipeline.chain.preflight import require_answer, require_hidden, require_storage, try_ranges
from d4c_pipeline.ledger.database import HEAD
from d4c_pipeline.ledger.diagnosis import LedgerFacts, examine
from d4c_pipeline.ledger.ledger import embedded_url
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.settings import LOCAL_ARCHIVE, Settings
from d4c_pipeline.upkeep.attention import TOKEN_NOTICE
from d4c_pipeline.upkeep.doctor.findings import Finding, failed, good, warning
from d4c_pipeline.workspace.archive import opened_archive
from d4c_pipeline.workspace.datasets import load_definitions
from d4c_pipeline.workspace.shared_names import shared_names
from d4c_pipeline.workspace.stores import opened_stores


def ledger_facts(settings: Settings) -> LedgerFacts | None:
    """Return the facts of the ledger's database, None if the home has none yet. Raises what `examine` raises."""
    return examine(settings.ledger_url or embedded_url(settings.home))


def ledger_findings(settings: Settings) -> Iterator[Finding]:
    """Check that the ledger can be reached, is undamaged and has a schema that this version knows."""
    facts = ledger_facts(settings)
    if facts is None:
        yield good("ledger", "no ledger yet; the first publication creates it")
    elif facts.damage:
        remedy = "Stop the platform and restore the last backup ('d4c restore') into an empty home"
        yield failed("ledger", f"The database is damaged: {facts.damage}", remedy)
    elif not facts.writable:
        detail = f"{facts.kind} takes no changes from this user"
        yield failed("ledger", detail, "Use the primary server, and grant CREATE on the schema to this user")
    elif facts.revision is None:
        yield good("ledger", f"{facts.kind} without tables; the first publication creates them")
    elif facts.revision > HEAD:
        detail = f"The schema has revision {facts.revision}, this version knows {HEAD}"
        yield failed("ledger", detail, "Install the version of d4c_pipeline that wrote it, or a newer one")
    elif facts.revision < HEAD:
        detail = f"The schema has revision {facts.revision}; the next command changes it to {HEAD}"
        yield warning("ledger", detail, "Back it up first ('d4c backup'): a change has no way back")
    else:
        yield good("ledger", f"{facts.kind}, revision {facts.revision}")


def store_findings(settings: Settings, place: int) -> Iterator[Finding]:
    """Check a store (0: the primary): it takes an object, gives it back, and its address serves ranges of it."""
    store = opened_stores(settings)[place]
    subject = f"store {store.name}"
    is_embedded = place == 0 and settings.store_url is None
    if is_embedded and settings.stores.primary is None and not settings.home.exists():
        yield good(subject, "created with the home")
        return
    require_storage(store)
    if is_embedded:
        yield good(subject, "can be written and read; 'd4c serve' serves it on the loopback")
        return
    require_answer(store)
    verdict = try_ranges(store)
    if not verdict.ok:
        detail = f"The address serves no ranges of a file, which torrents and maps need: {verdict.reason}"
        yield failed(subject, detail, "Allow the header Range at its server, proxy or CDN")
        return
    require_hidden(store)
    yield good(subject, "can be written and read, and its address serves ranges")


def archive_findings(settings: Settings, *, today: date | None = None) -> Iterator[Finding]:
    """Check that the archive accepts the account: it creates a draft and deletes it."""
    subject = f"archive {settings.archive}"
    expires, day = settings.archive_token_expires, today or datetime.now(UTC).date()
    if expires is not None and expires - day <= TOKEN_NOTICE:
        state = "expired" if expires < day else "expires"
        yield warning(subject, f"The token {state} on {expires}", "Make another at the archive, set D4C_ARCHIVE_TOKEN")
    if settings.archive == LOCAL_ARCHIVE and not settings.home.exists():
        yield good(subject, "created with the home; its DOIs are test DOIs")
        return
    with opened_archive(settings, _nowhere) as archive:
        tried = archive.try_access()
        yield good(subject, f"{tried}{'; its DOIs are test DOIs' if archive.test else ''}")


def _nowhere(identifier: str) -> str:
    raise AssertionError(f"a trial of access has no files ({identifier})")


def definition_findings(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check that all definitions can be read, share no name, and that the variables they name are set."""
    definitions = load_definitions(settings.definitions)
    for shared in shared_names(definitions.values()):
        error: D4CError = shared.error(definitions)
        yield failed("definitions", error.cause, error.remedy)
    for identifier, declared in definitions.items():
        source = declared.sample.source if isinstance(declared, Family) else declared.source
        name = getattr(source, "authorization", None)
        if name is not None and not environment.get(name, "").strip():
            detail = f"The source of {identifier} needs the variable {name}, which is not set"
            yield failed("definitions", detail, "Set it to the value of the header Authorization")
    families = sum(isinstance(declared, Family) for declared in definitions.values())
    yield good("definitions", f"{len(definitions) - families} datasets and {families} families can be read")
