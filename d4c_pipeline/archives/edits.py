"""Three-way merge of a record's metadata: edits of people at the archive since our last request stay.

The merge compares three versions, field by field and in the archive's own vocabulary: after our last request, now, and
ours to send. Requests and the ledger belong to `deposit.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from d4c_pipeline.archives.invenio.answers import differences

Fields = Mapping[str, Any]
_OF_FILES = frozenset({"isidenticalto", "hasmetadata"})


@dataclass(frozen=True)
class LastSent:
    """The recorded state of the last request.

    `sent`: our metadata. `kept`: the archive's metadata right after the request, None if unknown. `base`: the same,
    with fields that people changed in their earlier state. `pending`: the metadata of a request whose response is not
    recorded yet. `decided`: a person's decision on fields that both sides changed, `archive` or `ours`.
    """

    sent: Fields = field(default_factory=dict[str, Any])
    base: Fields | None = None
    kept: Fields | None = None
    pending: Fields | None = None
    decided: str | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> LastSent:
        """Read the ledger's record of `vars`; everything is unknown without one."""
        return cls(**value) if value else cls()

    def edited(self, there: Fields, own: Collection[str]) -> tuple[str, ...]:
        """Return the fields that people changed since the last request, by name; empty if unknown."""
        if self.kept is None or (self.pending is not None and _holds(self.pending, there)):
            return ()
        kept = self.kept
        return tuple(name for name in sorted({*there, *kept}) if name not in own and there.get(name) != kept.get(name))

    def after(self, ours: Fields, there: Fields, merged: Merged) -> LastSent:
        """Return the state to record after `ours` were sent as in `merged` and the archive has `there`."""
        base = {name: value for name, value in there.items() if name not in merged.keep}
        for name in merged.keep:
            if (count := merged.added.get(name)) is not None:
                base[name] = list(there.get(name) or ())[:-count]
            elif self.base is not None and name in self.base:
                base[name] = self.base[name]
        return LastSent(sent=ours, base=base, kept=there, decided=self.decided)


@dataclass(frozen=True)
class Merged:
    """The result of a merge. `keep`: fields with the archive's value (None: absent there); all other fields are ours.

    `added`: for fields in `keep`, the number of entries that people added after ours. `conflicts`: fields that both
    sides changed, with the archive's value and ours.
    """

    keep: Fields
    added: Mapping[str, int]
    conflicts: Mapping[str, tuple[Any, Any]]


def merge(last: LastSent, there: Fields, ours: Fields, *, own: Collection[str]) -> Merged:
    """Return the archive's fields that stay when `ours` are sent. `own`: fields that only we set.

    For a record without a recorded state, fields stay that we do not set, except for relations that hold for one
    version only: the next version starts as a copy, and its files are not identical to those of the previous version.
    """
    base, sent = last.base, last.sent
    keep: dict[str, Any] = {}
    count: dict[str, int] = {}
    conflicts: dict[str, tuple[Any, Any]] = {}
    for name in sorted({*there, *(base or ())} - set(own)):
        now, mine = there.get(name), ours.get(name)
        before = None if base is None else base.get(name)
        if base is None:
            if not mine and (stays := _without_identity(now)):
                keep[name] = stays
        elif now == before or (last.pending is not None and name in ours and _same(last.pending.get(name), now)):
            continue  # unchanged, or as sent by the request of a killed run
        elif mine == sent.get(name) or (now is not None and mine is not None and _same(mine, now)):
            keep[name] = now
        elif (added := _added(before, now)) is not None:
            if added:
                keep[name], count[name] = [*cast("list[Any]", mine or []), *added], len(added)
        elif last.decided == "archive":
            keep[name] = now
        elif last.decided != "ours":
            conflicts[name] = (now, mine)
    return Merged(keep, count, conflicts)


def _without_identity(value: Any) -> Any:
    """Return a field without the relations (in any vocabulary) to copies and torrents of one version's files."""
    if not isinstance(value, list):
        return value
    entries = cast("list[Any]", value)
    return [
        entry for entry in entries if not (isinstance(entry, Mapping) and _relation(cast("Fields", entry)) in _OF_FILES)
    ]


def _relation(entry: Fields) -> str:
    found = entry.get("relation_type") or entry.get("relationType") or entry.get("relation") or ""
    return str(cast("Fields", found).get("id", "") if isinstance(found, Mapping) else found).lower()


def _added(before: Any, now: Any) -> list[Any] | None:
    """Return the entries added to a list that lost none; None for any other change."""
    if not isinstance(now, list) or not isinstance(before, list | None):
        return None
    old, new = cast("list[Any]", before or []), cast("list[Any]", now)
    return [entry for entry in new if entry not in old] if all(entry in new for entry in old) else None


def _holds(sent: Fields, there: Fields) -> bool:
    return all(_same(value, there.get(name)) for name, value in sent.items() if value)


def _same(entry: Any, other: Any) -> bool:
    return next(differences(entry, other), None) is None
