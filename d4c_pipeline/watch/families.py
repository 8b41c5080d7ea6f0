"""Families: their members, the changed members, and the dataset behind a member.

One listing and one list of changes serve all members of a family, whatever their number. The protocol of the service
belongs to `sources`, declaring a member from the template to `model.family`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import UnknownNameError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.partition import Partition
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.open import open_members, open_source
from d4c_pipeline.watch.failures import DISCOVER, OBSERVE, remembered
from d4c_pipeline.watch.noticing import GLANCE, Observed, named, record_listing
from d4c_pipeline.workspace.deployment import Deployment

_MOST_DAYS = 7
"""After a longer pause, one complete listing is cheaper than a list of changes per day."""


def discover(deployment: Deployment, family: Family, *, accept: bool = False) -> tuple[str, ...]:
    """Return the keys of the members that the source lists, and record the state of each. Takes one request.

    An empty or shrunken listing is refused as for a dataset (`noticing.discover`).
    """
    if deployment.ledger.pauses.of(family.id) is not None:
        known = deployment.ledger.listings.of(family.id)
        return tuple(known.entries) if known else ()
    with remembered(deployment, Partition(family.id, ""), DISCOVER):
        wanted = {
            each.key: each
            for each in open_members(family, deployment.settings.origins, patience=GLANCE).listed()
            if any(fnmatchcase(each.key, glob) for glob in family.members.include)
            and not any(fnmatchcase(each.key, glob) for glob in family.members.exclude)
            and (family.members.archived or not each.archived)
        }
        record_listing(deployment, family.id, sorted(wanted), family.noticing.shrink_allowed, accept=accept)
        deployment.ledger.members.record(family.id, {key: each.facts for key, each in wanted.items()})
        _record(deployment, family, {key: (str(each.vintage), each.mark) for key, each in wanted.items()})
        return tuple(sorted(wanted))


def observe(
    deployment: Deployment,
    family: Family,
    partitions: Collection[str],
    cursor: str | None,
    *,
    now: datetime | None = None,
) -> Observed:
    """Find the members that changed since the last observation, and record their new vintages: one request per day.

    The first observation, an observation after more than a week, and one with an unreadable cursor list all members
    instead. Nothing is requested before `noticing.observe_hours` have passed. Raises what the source raises.
    """
    if (paused := deployment.ledger.pauses.of(family.id)) is not None:
        return Observed(str(paused), cursor or "", frozenset(), remark=str(paused))
    moment = now or datetime.now(UTC)
    current = frozenset(partitions)
    requested_at, since = _read_cursor(cursor)
    if requested_at is not None and timedelta(0) <= moment - requested_at < timedelta(
        hours=family.noticing.observe_hours
    ):
        return Observed(f"Observed at {requested_at:%Y-%m-%d %H:%M} UTC", cursor or "", current)
    following = json.dumps({"asked": moment.isoformat(), "since": moment.date().isoformat()})
    with remembered(deployment, Partition(family.id, ""), OBSERVE):
        if since is None or not timedelta(0) <= moment.date() - since <= timedelta(days=_MOST_DAYS):
            listed = discover(deployment, family)
            return Observed(f"Listed all {len(listed)} members", following, current)
        source = open_members(family, deployment.settings.origins, patience=GLANCE)
        found: dict[str, tuple[str, str]] = {}
        for number in range((moment.date() - since).days + 1):
            released = source.changed(since + timedelta(days=number))
            found |= {key: (str(vintage), str(vintage)) for key, vintage in released.items()}
        changed = _record(deployment, family, {key: state for key, state in found.items() if key in current})
    words = f"The source released {len(found)} tables since {since}"
    words += f"; members changed: {named(changed)}" if changed else "; no members changed"
    return Observed(words, following, current, changed)


def _record(deployment: Deployment, family: Family, listed: Mapping[str, tuple[str, str]]) -> frozenset[str]:
    """Record the (vintage, mark) of members in a listing or a list of changes; return the members with a new state.

    A list of changes has no corrections, and a listing may state another release time than the fetched table. Neither
    makes a member due again.
    """
    observations = deployment.ledger.observations
    known = observations.of(family.id)
    seen: dict[str, str] = {}
    for key, (vintage, mark) in listed.items():
        before = known.get(key)
        if before is not None and before.seen is not None and mark == vintage and before.seen.endswith(f" {vintage}"):
            continue
        fetched = before is not None and before.retained not in (None, mark)
        seen[key] = mark
        if before is not None and fetched and mark == vintage and vintage == _vintage_fetched(deployment, family, key):
            seen[key] = before.retained or mark
    return observations.record_seen(family.id, seen)


def _vintage_fetched(deployment: Deployment, family: Family, key: str) -> str | None:
    retained = deployment.ledger.natives.vintages(member(deployment, family, key).id)
    return str(retained[-1]) if retained else None


def _read_cursor(cursor: str | None) -> tuple[datetime | None, date | None]:
    """Return the time of the last request and the first day to request changes for; None for unreadable parts."""
    try:
        document = json.loads(cursor or "")
        requested_at, since = datetime.fromisoformat(document["asked"]), date.fromisoformat(document["since"])
    except (ValueError, TypeError, KeyError):
        return None, None
    return (requested_at, since) if requested_at.tzinfo is not None else (None, None)


def member(deployment: Deployment, family: Family, key: str) -> Dataset:
    """Return the dataset of a member. Raises UnknownNameError for a member that was never listed."""
    facts = deployment.ledger.members.of(family.id, key)
    if facts is None:
        raise UnknownNameError(
            f"The family {family.id} has no member {key}", f"List its members with 'd4c notice {family.id}', then retry"
        )
    return family.member(key, facts)


def known_datasets(
    deployment: Deployment, datasets: Mapping[str, Dataset], families: Iterable[Family]
) -> dict[str, Dataset]:
    """Return every dataset that may have releases, by id: as defined, else as the ledger last recorded it.

    A family contributes its members with a planned release.
    """
    known = {dataset.id: dataset for dataset in deployment.ledger.declarations.all()}
    for name in list(known):
        for family in families:
            if (key := family.key_of(name)) is not None and deployment.ledger.members.of(family.id, key) is not None:
                known[name] = member(deployment, family, key)
    return {**known, **datasets}


def vintage_at_source(deployment: Deployment, dataset: Dataset) -> Vintage:
    """Return the vintage of a member that its source serves. Raises what the source raises."""
    return max(open_source(dataset, deployment.settings.origins).discover())


def vintage_in_hand(deployment: Deployment, dataset: Dataset) -> Vintage:
    """Return the newest retained vintage of a member, or the earlier vintage with the same content.

    Raises UnknownNameError when no native files are retained.
    """
    vintages = deployment.ledger.natives.vintages(dataset.id)
    if not vintages:
        raise UnknownNameError(f"No native files of {dataset.id} are retained", rerun="raw")
    return deployment.ledger.natives.held_by(dataset.id, vintages[-1])
