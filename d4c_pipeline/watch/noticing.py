"""Noticing: which vintages a source lists, which of them changed, and what is worth telling the automation.

Nothing here fetches data or starts a run. Talking to a source belongs to `sources`, scheduling the looks and starting
runs to `orchestration`; what was seen is kept by the ledger, so that any process can go on with it.
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
"""How long one look goes on beginning new questions. Dagster gives up on a sensor after 60 seconds, and the last
question may take the whole of `GLANCE`."""

GLANCE = Patience(attempts=2, longest_wait=2.0, connect_timeout=5.0, read_timeout=8.0)
"""How long a question is waited for: there is another look in a few hours."""

REPORTS = 5
"""How often a change is told to the automation before it is left to a person."""

_FIRST_WAIT = timedelta(hours=2)
_AT_ONCE = 4  # questions to one source
_TOKEN = 16  # hex digits of a fingerprint that a person is shown


@dataclass(frozen=True)
class Round:
    """A round over all partitions of a dataset, spread over as many looks as it takes.

    `after` is the partition that was asked last ("" at the start); `complete`: all were asked.
    """

    began: datetime
    after: str = ""
    complete: bool = False

    @classmethod
    def parse(cls, text: str | None) -> Round | None:
        """Read what `str` wrote; None for anything else, whereupon the caller starts over."""
        try:
            told = json.loads(text or "")
            began = datetime.fromisoformat(told["began"])
            found = cls(began, str(told["after"]), bool(told["complete"]))
        except (ValueError, TypeError, KeyError):
            return None
        return found if began.tzinfo is not None else None

    @classmethod
    def now_or_next(cls, text: str | None, every: timedelta, now: datetime) -> Round:
        """Return the round that a cursor tells of, or a new one where there is none or its time is over."""
        known = cls.parse(text)
        if known is None or known.began > now or (known.complete and now - known.began >= every):
            return cls(now)
        return known

    def __str__(self) -> str:
        return json.dumps({"began": self.began.isoformat(), "after": self.after, "complete": self.complete})


@dataclass(frozen=True)
class Observed:
    """What came of one look, told in `words`. `cursor` is for the next one.

    `current` are the partitions that the source stands for now: what is due of others is not worth a run. `remark`:
    what the source says and is not believed, or can't say, such as an edit of a file without ETag and date.
    """

    words: str
    cursor: str
    current: frozenset[str]
    changed: frozenset[str] = frozenset()
    unanswered: Mapping[str, D4CError] = field(default_factory=dict[str, D4CError])
    remark: str | None = None


def discover(deployment: Deployment, dataset: Dataset, *, accept: bool = False) -> tuple[Vintage, ...]:
    """Return the vintages that the source lists now, oldest first, and remember them as its listing.

    An empty listing, or one that lost more than `noticing.shrink_allowed` of the last, is refused with SourceError and
    changes nothing; `accept` believes a shrunken one. Raises what the source raises.
    """
    return look(deployment, dataset, accept=accept).vintages


def look(deployment: Deployment, dataset: Dataset, *, accept: bool = False) -> Served:
    """Do what `discover` does, and return with the vintages what the source says otherwise of them."""
    with remembered(deployment, Partition(dataset.id, ""), DISCOVER):
        source = open_source(dataset, deployment.settings.origins, patience=GLANCE)
        found = served(deployment, dataset, source)
        entries = [str(one) for one in found.vintages]
        believe(deployment, dataset.id, entries, dataset.noticing.shrink_allowed, accept=accept)
        return found


def believe(
    deployment: Deployment, subject: str, entries: Sequence[str], shrink_allowed: float, *, accept: bool = False
) -> None:
    """Record a listing of partitions unless it is suspicious. Raises SourceError for one that is empty or shrunken."""
    known = deployment.ledger.listings.of(subject)
    reason = suspicion(known.entries if known else (), entries, shrink_allowed)
    if reason is not None and not (accept and entries):
        raise SourceError(
            f"The source of {subject} {reason}",
            "Look at the source; nothing was changed here"
            + (f". If it is right, run 'd4c notice {subject} --accept'" if entries else ""),
        )
    deployment.ledger.listings.record(subject, entries)


def suspicion(known: Collection[str], found: Collection[str], shrink_allowed: float) -> str | None:
    """Say why a listing is not to be believed, None when it is. `known` is the one that was believed last."""
    if not found:
        return "lists nothing at all" + (f", and {len(known)} before" if known else "")
    # By number: a source that always serves its newest vintage alone lists another one each time.
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
    """Ask the source about vintages that are due, in a round over all `partitions`, and record their fingerprints.

    A round begins every `noticing.observe_hours` and goes on from `cursor`, the one of the last look; a cursor that
    can't be read starts over. After `budget` seconds no further question is asked. A vintage that can't be asked is
    remembered as failed and stops none of the others. Raises what `discover` raises.
    """
    deadline = time.monotonic() + budget
    moment = now or datetime.now(UTC)
    turn = Round.now_or_next(cursor, timedelta(hours=dataset.noticing.observe_hours), moment)
    current, restated = frozenset(partitions), None
    if dataset.fixed_vintages is None:
        # A source that only serves its newest vintage would answer for that when it is asked for an older one.
        if turn == Round(moment):
            now_served = look(deployment, dataset)
            restated = now_served.words
            listed = [str(one) for one in now_served.vintages]
        else:
            listing = deployment.ledger.listings.of(dataset.id)
            listed = list(listing.entries if listing else ())
        current = current.intersection(listed)
    if turn.complete:
        return Observed(f"All were asked since {turn.began:%Y-%m-%d %H:%M} UTC", str(turn), current)
    source = open_source(dataset, deployment.settings.origins, patience=GLANCE)

    recorded = deployment.ledger.observations.of(dataset.id)

    def ask(key: str) -> Seen:
        with remembered(deployment, Partition(dataset.id, key), OBSERVE):
            return observed(deployment, dataset, dataset.vintage(key), source, recorded.get(key))

    waiting = sorted(key for key in current if key > turn.after)
    answers = ask_all(
        {key: partial(ask, key) for key in waiting},
        seconds=max(1.0, deadline - time.monotonic()),
        at_once=_AT_ONCE,
    )
    seen = {key: answer.fingerprint for key, answer in answers.items() if isinstance(answer, Seen)}
    blind = sorted({url for answer in answers.values() if isinstance(answer, Seen) for url in answer.blind})
    unanswered = {key: answer for key, answer in answers.items() if isinstance(answer, D4CError)}
    changed = deployment.ledger.observations.record_seen(dataset.id, seen)
    turn = Round(turn.began, next(reversed(answers), turn.after), complete=len(answers) == len(waiting))
    words = f"Asked about {len(answers)} of {len(current)} vintages"
    words += f"; the source says something new of {named(changed)}" if changed else "; nothing new"
    words += "".join(f"; {key}: {error}" for key, error in unanswered.items())
    remark = "; ".join(one for one in (restated, blind_words(blind) if blind else None) if one) or None
    words += f"; {remark}" if remark else ""
    return Observed(words, str(turn), current, changed, unanswered, remark)


def blind_words(urls: Collection[str]) -> str:
    """Say that edits of the files at `urls` can't be noticed."""
    return (
        f"edits of {named(urls)} can't be noticed, as the source states no ETag and no date of an edit:"
        " publish on a schedule of your own to fetch and compare"
    )


def named(keys: Collection[str]) -> str:
    """The first few of `keys`, for a sentence."""
    return ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")


def report(
    observation: Observation,
    told: str | None,
    *,
    hopeless: bool,
    told_at: Callable[[], datetime],
    now: datetime | None = None,
) -> str | None:
    """Return the data version to tell the automation of a partition that is due, None when it is not time.

    `told` is the version that it was told last, `told_at` says when. A change is told at once. If the chain did not go
    through with it, it is told again, under a new number, after 2, 4, 8 and 16 hours: a run that failed for a reason
    that passes, or was lost, gets another chance. `hopeless`: it failed for one that does not pass, so that only
    another change of the source, or a person, helps.
    """
    token = (observation.seen or "")[:_TOKEN]
    base, _, number = (told or "").partition(".")
    if told is None or base != token:
        return token
    times = int(number) if number.isdecimal() else 1
    if hopeless or times >= REPORTS:
        return None
    passed = (now or datetime.now(UTC)) - told_at()
    return f"{token}.{times + 1}" if passed >= _FIRST_WAIT * 2 ** (times - 1) else None
