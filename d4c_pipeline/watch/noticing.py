"""Noticing: the listed vintages of a source, the changed vintages, and the changes to report to the automation.

Nothing here fetches data or starts a run. Protocols belong to `sources`, schedules and runs to `orchestration`. The
ledger keeps the observations, so that any process can continue.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from d4c_pipeline.ledger.noticing import Observation
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, SourceError
from d4c_pipeline.model.partition import Partition
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.batch import ask_all
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline.watch.failures import DISCOVER, OBSERVE, remembered
from d4c_pipeline.watch.vintages import Seen, Served, observed, served
from d4c_pipeline.workspace.deployment import Deployment

BUDGET_SECONDS = 25.0
"""The time in which one tick starts requests. Dagster stops a sensor after 60 seconds, and the last request may take
`GLANCE`."""

GLANCE = Patience(attempts=2, longest_wait=2.0, connect_timeout=5.0, read_timeout=8.0)
"""The time limit of a request; the next observation follows within hours."""

REPORTS = 5
"""The number of reports of a change to the automation before it is left to an operator."""

_FIRST_WAIT = timedelta(hours=2)
_AT_ONCE = 4  # concurrent requests to one source
_TOKEN = 16  # hex digits of a fingerprint in a message


@dataclass(frozen=True)
class Round:
    """A round over all partitions of a dataset, spread over several ticks.

    `after` is the partition that was observed last ("" at the start); `complete`: all were observed.
    """

    began: datetime
    after: str = ""
    complete: bool = False

    @classmethod
    def parse(cls, text: str | None) -> Round | None:
        """Parse the text of `str`; None for any other text, after which the caller starts over."""
        try:
            document = json.loads(text or "")
            began = datetime.fromisoformat(document["began"])
            found = cls(began, str(document["after"]), bool(document["complete"]))
        except (ValueError, TypeError, KeyError):
            return None
        return found if began.tzinfo is not None else None

    @classmethod
    def now_or_next(cls, text: str | None, every: timedelta, now: datetime) -> Round:
        """Return the round of a cursor, or a new round without a readable cursor or after the interval."""
        known = cls.parse(text)
        if known is None or known.began > now or (known.complete and now - known.began >= every):
            return cls(now)
        return known

    def __str__(self) -> str:
        return json.dumps({"began": self.began.isoformat(), "after": self.after, "complete": self.complete})


class ShrunkenListingError(SourceError):
    """A listing lost more partitions than `noticing.shrink_allowed`; a person accepts it or waits."""


class EmptyListingError(SourceError):
    """A source lists nothing; nobody can accept that."""


@dataclass(frozen=True)
class Observed:
    """The result of one observation, summarised in `words`. `cursor` is for the next one.

    `current` are the partitions that the source serves; a run of others is useless. `remark` is an implausible
    statement of the source, or a limit, such as edits of a file without ETag and date.
    """

    words: str
    cursor: str
    current: frozenset[str]
    changed: frozenset[str] = frozenset()
    unanswered: Mapping[str, D4CError] = field(default_factory=dict[str, D4CError])
    remark: str | None = None


def discover(deployment: Deployment, dataset: Dataset, *, accept: bool = False) -> tuple[Vintage, ...]:
    """Return the vintages that the source lists, oldest first, and record the listing.

    An empty listing, or a listing that lost more than `noticing.shrink_allowed` of the last one, is refused with
    a SourceError and changes nothing; `accept` accepts a shrunken listing. Of a paused source, the last listing is
    returned. Raises what the source raises.
    """
    if deployment.ledger.pauses.of(dataset.id) is not None:
        known = deployment.ledger.listings.of(dataset.id)
        return tuple(sorted(Vintage.parse(entry) for entry in known.entries)) if known else ()
    return list_served(deployment, dataset, accept=accept).vintages


def list_served(deployment: Deployment, dataset: Dataset, *, accept: bool = False) -> Served:
    """Return the vintages as `discover` does, with the dates that the source states differently."""
    with remembered(deployment, Partition(dataset.id, ""), DISCOVER):
        source = open_source(dataset, deployment.settings.origins, patience=GLANCE)
        found = served(deployment, dataset, source)
        entries = [str(each) for each in found.vintages]
        record_listing(deployment, dataset.id, entries, dataset.noticing.shrink_allowed, accept=accept)
        return found


def record_listing(
    deployment: Deployment, subject: str, entries: Sequence[str], shrink_allowed: float, *, accept: bool = False
) -> None:
    """Record a listing of partitions. Raises ShrunkenListingError or EmptyListingError for such a listing."""
    known = deployment.ledger.listings.of(subject)
    reason = suspicion(known.entries if known else (), entries, shrink_allowed)
    if reason is not None and not (accept and entries):
        refused = ShrunkenListingError if entries else EmptyListingError
        raise refused(
            f"The source of {subject} {reason}",
            "Check the source; nothing was changed here"
            + (f". If the listing is correct, run 'd4c notice {subject} --accept'" if entries else ""),
        )
    deployment.ledger.listings.record(subject, entries)


def suspicion(known: Collection[str], found: Collection[str], shrink_allowed: float) -> str | None:
    """Return why a listing is refused, None when it is accepted. `known` is the last accepted listing."""
    if not found:
        return "lists nothing" + (f", and listed {len(known)} before" if known else "")
    # By number: a source that serves only its newest vintage lists a different vintage each time.
    if len(found) < len(known) * (1 - shrink_allowed):
        return f"lists {len(found)} where it listed {len(known)} before (gone: {named(set(known) - set(found))})"
    return None


def observe(
    deployment: Deployment,
    dataset: Dataset,
    partitions: Collection[str],
    cursor: str | None,
    *,
    budget: float = BUDGET_SECONDS,
    now: datetime | None = None,
) -> Observed:
    """Observe the vintages that are due, in a round over all `partitions`, and record their fingerprints.

    A round starts every `noticing.observe_hours` and continues from the last `cursor`; an unreadable cursor starts
    over. After `budget` seconds no further request starts. An unreachable vintage is recorded as failed and does not
    stop the others. Of a paused source nothing is requested, and no vintage is current. Raises what `discover` raises.
    """
    if (paused := deployment.ledger.pauses.of(dataset.id)) is not None:
        return Observed(str(paused), cursor or "", frozenset(), remark=str(paused))
    deadline = time.monotonic() + budget
    moment = now or datetime.now(UTC)
    turn = Round.now_or_next(cursor, timedelta(hours=dataset.noticing.observe_hours), moment)
    current, restated = frozenset(partitions), None
    if dataset.fixed_vintages is None:
        # A source that serves only its newest vintage would return it for any older vintage.
        if turn == Round(moment):
            now_served = list_served(deployment, dataset)
            restated = now_served.words
            listed = [str(each) for each in now_served.vintages]
        else:
            listing = deployment.ledger.listings.of(dataset.id)
            listed = list(listing.entries if listing else ())
        current = current.intersection(listed)
    if turn.complete:
        return Observed(f"All observed since {turn.began:%Y-%m-%d %H:%M} UTC", str(turn), current)
    source = open_source(dataset, deployment.settings.origins, patience=GLANCE)

    recorded = deployment.ledger.observations.of(dataset.id)

    def request(key: str) -> Seen:
        with remembered(deployment, Partition(dataset.id, key), OBSERVE):
            return observed(deployment, dataset, dataset.vintage(key), source, recorded.get(key))

    waiting = sorted(key for key in current if key > turn.after)
    answers = ask_all(
        {key: partial(request, key) for key in waiting},
        seconds=max(1.0, deadline - time.monotonic()),
        at_once=_AT_ONCE,
    )
    seen = {key: answer.fingerprint for key, answer in answers.items() if isinstance(answer, Seen)}
    blind = sorted({url for answer in answers.values() if isinstance(answer, Seen) for url in answer.blind})
    unanswered = {key: answer for key, answer in answers.items() if isinstance(answer, D4CError)}
    changed = deployment.ledger.observations.record_seen(dataset.id, seen)
    turn = Round(turn.began, next(reversed(answers), turn.after), complete=len(answers) == len(waiting))
    words = f"Observed {len(answers)} of {len(current)} vintages"
    words += f"; changed: {named(changed)}" if changed else "; nothing new"
    words += "".join(f"; {key}: {error}" for key, error in unanswered.items())
    remark = "; ".join(each for each in (restated, blind_words(blind) if blind else None) if each) or None
    words += f"; {remark}" if remark else ""
    return Observed(words, str(turn), current, changed, unanswered, remark)


def blind_words(urls: Collection[str]) -> str:
    """Return the remark that edits of the files at `urls` can't be noticed."""
    return (
        f"edits of {named(urls)} can't be noticed, as the source states no ETag and no date of an edit:"
        " publish on a schedule of your own to fetch and compare"
    )


def named(keys: Collection[str]) -> str:
    """Return the first few of `keys` for a sentence."""
    return ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def report(
    observation: Observation,
    reported: str | None,
    *,
    hopeless: bool,
    reported_at: Callable[[], datetime],
    now: datetime | None = None,
) -> str | None:
    """Return the data version to report to the automation for a due partition, None if no report is due.

    `reported` is the version of the last report, `reported_at` its time. A change is reported at once. While the chain
    does not succeed, the change is reported again under a new number after 2, 4, 8 and 16 hours, which repeats a run
    that was lost or failed for a transient reason. `hopeless`: the failure is permanent, so only an operator or another
    change of the source helps.
    """
    token = (observation.seen or "")[:_TOKEN]
    base, _, number = (reported or "").partition(".")
    if reported is None or base != token:
        return token
    times = int(number) if number.isdecimal() else 1
    if hopeless or times >= REPORTS:
        return None
    passed = (now or datetime.now(UTC)) - reported_at()
    return f"{token}.{times + 1}" if passed >= _FIRST_WAIT * 2 ** (times - 1) else None
