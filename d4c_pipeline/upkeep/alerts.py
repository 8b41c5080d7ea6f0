"""Alerts: tells people by mail, chat or webhook what waits for them, once per cause and day and address.

`attention` finds what waits. Deliveries are rows of the ledger, so that a repeated or concurrent call sends nothing
twice. An address that can't be reached raises nothing: it is recorded, tried again by the next call, and itself listed
by `attention`. Addresses are secrets and appear nowhere but in the request to their service.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.alerting import AlertSettings
from d4c_pipeline.transport.messages import deliver
from d4c_pipeline.upkeep.attention import Attention, Kind, alert_label
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.reports import collection_numbers

_BY_CAUSE = (Kind.FAILED, Kind.UNREACHABLE, Kind.ARCHIVE, Kind.CHECK, Kind.RUN)
"""Kinds of which many findings have one cause, such as a server that is down; findings of other kinds stand alone."""
_SILENT = (Kind.ALERT,)
"""Kinds without an alert: an address that fails would be told by the same address."""
_MOST_SHOWN = 10
_MOST_ALERTS = 20  # of one call to one address; the next call sends the rest
_WEEK = timedelta(days=7)

Link = Callable[[Attention], str | None]
"""Returns the path of the page in the UI on which a finding is settled, None without one."""


@dataclass(frozen=True)
class Alert:
    """A message about one cause. `keys`: the identity of each of its findings, for the ledger."""

    title: str
    body: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Sent:
    """The number of delivered messages, and the labels of the addresses that failed."""

    delivered: int
    failed: tuple[str, ...]


def alerts_of(findings: Iterable[Attention], link: Link, ui: str) -> list[Alert]:
    """Group findings by cause into messages. `ui`: the address in front of the paths that `link` returns."""
    groups: dict[tuple[str, str], list[Attention]] = {}
    for each in findings:
        if each.kind not in _SILENT:
            cause = _cause(each) if each.kind in _BY_CAUSE else ""
            groups.setdefault((each.kind.value, cause), []).append(each)
    return [_alert(group, link, ui) for group in groups.values()]


def send(ledger: Ledger, alerts: Sequence[Alert], settings: AlertSettings, *, at: datetime | None = None) -> Sent:
    """Send each alert to each address that was not told of one of its findings today (UTC).

    Raises BusyError while another process sends.
    """
    with ledger.leases.hold(lease_keys.ALERTS):  # two sensors at once would both send
        return _send(ledger, alerts, settings.places(), (at or datetime.now(UTC)).date())


def _send(ledger: Ledger, alerts: Sequence[Alert], places: Sequence[str], day: date) -> Sent:
    told = ledger.alerts.sent(day)
    delivered = 0
    failed: list[str] = []
    for place in places:
        label = alert_label(place)
        due = [alert for alert in alerts if any((key, label) not in told for key in alert.keys)]
        for alert in due[:_MOST_ALERTS]:
            error = deliver(place, alert.title, alert.body)
            for key in alert.keys:
                ledger.alerts.record(key, day, label, error=error)
            if error is not None:
                failed.append(label)
                break  # the next call tries again; each attempt may take as long as its time-out
            delivered += 1
    return Sent(delivered, tuple(failed))


def weekly_report(deployment: Deployment, findings: Sequence[Attention], *, at: datetime | None = None) -> Alert:
    """Return the report on the state of the collection: its numbers, the releases of seven days, what waits."""
    moment = at or datetime.now(UTC)
    recent = [each for each in deployment.ledger.releases.published() if moment - each.published_at <= _WEEK]
    kinds = Counter(each.kind.value for each in findings)
    lines = [f"{name.replace('_', ' ')}: {number:,}" for name, number in collection_numbers(deployment).items()]
    lines += ["", f"released in seven days: {len(recent)}", *(f"- {each.name}" for each in recent[:_MOST_SHOWN])]
    if recent[_MOST_SHOWN:]:
        lines.append(f"- and {len(recent) - _MOST_SHOWN} more")
    lines += ["", f"waits for a person: {len(findings)}", *(f"- {count} {kind}" for kind, count in kinds.items())]
    year, week, _ = moment.isocalendar()
    return Alert(f"d4c: state of the collection, week {week} of {year}", "\n".join(lines), (f"report {year}-{week}",))


def _alert(group: Sequence[Attention], link: Link, ui: str) -> Alert:
    first = group[0]
    subjects = list(dict.fromkeys(each.subject for each in group))
    more = f" and {len(subjects) - 1} more" if subjects[1:] else ""
    lines = [first.detail, ""] if first.kind in _BY_CAUSE else []
    for each in group[:_MOST_SHOWN]:
        page = link(each)
        lines.append(f"- {each.subject}{'' if first.kind in _BY_CAUSE else f': {each.detail}'}")
        lines.append(f"  {each.command}{f' or {ui}{page}' if page else ''}")
        if each.remedy:
            lines.append(f"  {each.remedy}")
    if group[_MOST_SHOWN:]:
        lines.append(f"- and {len(group) - _MOST_SHOWN} more; 'd4c todo' lists all")
    keys = {_key(each) for each in group}
    return Alert(f"d4c: {first.kind.value}: {subjects[0]}{more}", "\n".join(lines), tuple(sorted(keys)))


def _key(finding: Attention) -> str:
    identity = _cause(finding) if finding.kind in _BY_CAUSE else finding.subject
    return hashlib.sha256(f"{finding.kind.value}\n{identity}".encode()).hexdigest()


def _cause(finding: Attention) -> str:
    """Return the detail of a finding without its own names and without numbers, which differ between partitions."""
    text = finding.detail
    for name in (finding.dataset, finding.partition):
        if name:
            text = text.replace(name, "*")
    return re.sub(r"[0-9]+", "#", text)
