"""What people changed at the archive since we last sent a record's metadata, and what is sent so that it stays.

Three sides are compared, field by field and in the archive's own words: what it had after our last request, what it has
now, and what we would send. Who sends it and what the ledger keeps is decided by `archives.deposit`.
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
    """What is noted of the metadata that were sent last.

    `sent`: what we had to say; `kept`: what the archive had right after it, None where nothing is known. `base`: the
    same but for fields that people changed, which stand as they were before. `pending`: what is about to be sent, until
    the answer is noted. `decided`: what a person said of fields that both sides changed, `archive` or `ours`.
    """

    sent: Fields = field(default_factory=dict[str, Any])
    base: Fields | None = None
    kept: Fields | None = None
    pending: Fields | None = None
    decided: str | None = None

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> LastSent:
        """Read what the ledger keeps of `vars`; nothing is known when there is none."""
        return cls(**value) if value else cls()

    def edited(self, there: Fields, own: Collection[str]) -> tuple[str, ...]:
        """Return the fields that people changed since the last request, by name; none where nothing is known."""
        if self.kept is None or (self.pending is not None and _holds(self.pending, there)):
            return ()
        kept = self.kept
        return tuple(name for name in sorted({*there, *kept}) if name not in own and there.get(name) != kept.get(name))

    def after(self, ours: Fields, there: Fields, merged: Merged) -> LastSent:
        """Return what to note once `ours` were sent as `merged` says and the archive has `there`."""
        base = {name: value for name, value in there.items() if name not in merged.keep}
        for name in merged.keep:
            if (count := merged.added.get(name)) is not None:
                base[name] = list(there.get(name) or ())[:-count]
            elif self.base is not None and name in self.base:
                base[name] = self.base[name]
        return LastSent(sent=ours, base=base, kept=there, decided=self.decided)


@dataclass(frozen=True)
class Merged:
    """`keep`: the fields that the archive's side wins, with their values (None: left out there); the rest is ours.

    `added`: how many entries at the end of such a field people added to ours. `conflicts`: fields that both sides
    changed, with the archive's value and ours.
    """

    keep: Fields
    added: Mapping[str, int]
    conflicts: Mapping[str, tuple[Any, Any]]


def merge(last: LastSent, there: Fields, ours: Fields, *, own: Collection[str]) -> Merged:
    """Return what of the archive's present fields stays when `ours` are sent. `own`: fields that only we decide.

    Of a record of which nothing is noted, fields stay that we have nothing to say of, but for relations that are true
    of one version alone: the next one begins as a copy, and is not identical to files of the version before.
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
            continue  # as it was, or as the request of a run that died has left it
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
    """A field without the relations (in the words of any archive) to copies and torrents of one version's files."""
    if not isinstance(value, list):
        return value
    entries = cast("list[Any]", value)
    return [one for one in entries if not (isinstance(one, Mapping) and _relation(cast("Fields", one)) in _OF_FILES)]


def _relation(entry: Fields) -> str:
    found = entry.get("relation_type") or entry.get("relationType") or entry.get("relation") or ""
    return str(cast("Fields", found).get("id", "") if isinstance(found, Mapping) else found).lower()


def _added(before: Any, now: Any) -> list[Any] | None:
    """What came to a list of which nothing went; None when it is no such list."""
    if not isinstance(now, list) or not isinstance(before, list | None):
        return None
    old, new = cast("list[Any]", before or []), cast("list[Any]", now)
    return [one for one in new if one not in old] if all(one in new for one in old) else None


def _holds(sent: Fields, there: Fields) -> bool:
    return all(_same(value, there.get(name)) for name, value in sent.items() if value)


def _same(one: Any, other: Any) -> bool:
    return next(differences(one, other), None) is None
