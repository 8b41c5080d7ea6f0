"""The audit of the lock: does a pinned version have a known vulnerability?

Run `make audit`. D4C_ADVISORIES names a local database (`advisories.py` says which); nothing is requested from a
network. Without it the audit is skipped and says so; with it, it ends in 1 when a pin is affected, when the database is
older than D4C_ADVISORIES_DAYS (30), when it holds nothing on PyPI, or when an exemption of pyproject.toml
(`[[tool.d4c.audit.accepted]]`) has expired or exempts nothing. pip-audit and `uv audit` ask a server instead, which CI
without internet has not.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from d4c_pipeline.model.errors import D4CError, PermanentError
from supply_chain import advisories, lock_file
from supply_chain.advisories import Advisory
from supply_chain.lock_file import LOCK, REPOSITORY, Locked

SKIPPED = "Audit skipped: D4C_ADVISORIES names no advisory database (docs/supply-chain.md says how to get one)."
PROJECT = REPOSITORY / "pyproject.toml"
_DAYS = 30  # PyPA's database changes on most days: one that did not for a month is a checkout that nobody updates
_FIELDS = {"id", "package", "reason", "until"}


@dataclass(frozen=True)
class Accepted:
    """A vulnerability that a person judged to do no harm here, until a day."""

    identifier: str
    package: str
    reason: str
    until: date

    def covers(self, finding: Finding) -> bool:
        """Tell whether it is about this finding, by any of its identifiers."""
        return finding.package.name == self.package and self.identifier in finding.identifiers


@dataclass(frozen=True)
class Finding:
    """A pin and the advisories that mean the same vulnerability of it."""

    package: Locked
    advisories: tuple[Advisory, ...]

    @property
    def identifiers(self) -> set[str]:
        """Every identifier of the vulnerability, aliases included."""
        return set().union(*(one.identifiers() for one in self.advisories))

    def __str__(self) -> str:
        first = self.advisories[0]
        others = sorted(self.identifiers - {first.identifier})
        fixed = sorted({version for one in self.advisories for version in one.fixed_in(self.package.version)})
        remedy = f"fixed in {', '.join(map(str, fixed))}" if fixed else "no fixed version is known"
        also = f" ({', '.join(others)})" if others else ""
        pin = f"{self.package.name} {self.package.version}"
        return f"{pin}: {first.identifier}{also}: {remedy}. {first.summary}".rstrip()


def findings(packages: Sequence[Locked], database: advisories.Database) -> list[Finding]:
    """Return what the pins have, one finding for advisories of a package that name each other as aliases."""
    of: dict[str, list[Advisory]] = defaultdict(list)
    for advisory in database.advisories:
        of[advisory.package].append(advisory)
    found: list[Finding] = []
    for package in packages:
        groups: list[list[Advisory]] = []
        for advisory in (one for one in of[package.name] if one.affects(package.version)):
            same = [group for group in groups if any(advisory.identifiers() & one.identifiers() for one in group)]
            groups = [group for group in groups if group not in same]
            groups.append([one for group in same for one in group] + [advisory])
        found += [Finding(package, tuple(group)) for group in groups]
    return found


def accepted(project: Mapping[str, Any]) -> list[Accepted]:
    """Read the exemptions of pyproject.toml.

    Raises:
        PermanentError: one lacks its identifier, package, reason or last day.
    """
    read: list[Accepted] = []
    for entry in project.get("tool", {}).get("d4c", {}).get("audit", {}).get("accepted", []):
        if set(entry) != _FIELDS or not str(entry["reason"]).strip() or type(entry["until"]) is not date:
            raise PermanentError(
                f"[[tool.d4c.audit.accepted]] {entry.get('id', '')} needs id, package, reason and until (a date) alone",
                "Say why the vulnerability does no harm here and until which day that holds",
            )
        read.append(Accepted(entry["id"], entry["package"], entry["reason"], entry["until"]))
    return read


def audit(place: Path, today: datetime, days: int, lock: Path = LOCK, project: Path = PROJECT) -> int:
    """Print what the database in `place` knows of the pins, and return the exit code: 0 when nothing is open.

    Raises:
        PermanentError: the lock, the database or the exemptions cannot be read, or the database is older than `days`.
    """
    packages = lock_file.read(lock)
    exempt = accepted(tomllib.loads(project.read_text("utf-8")))
    database = advisories.read(place, {package.name for package in packages})
    if today - database.modified > timedelta(days=days):
        raise PermanentError(
            f"The newest advisory of {place} is of {database.modified:%Y-%m-%d}, more than {days} days ago",
            "Update the database (git pull), or allow its age by D4C_ADVISORIES_DAYS",
        )
    problems: list[str] = []
    used: set[Accepted] = set()
    for finding in findings(packages, database):
        cover = next((one for one in exempt if one.covers(finding)), None)
        if cover is None:
            problems.append(str(finding))
            continue
        used.add(cover)
        if cover.until < today.date():
            problems.append(f"{finding} Accepted until {cover.until}, which has passed: {cover.reason}")
        else:
            print(f"accepted until {cover.until}: {finding} Because: {cover.reason}")
    problems += [
        f"{one.identifier} of {one.package} is accepted in pyproject.toml and found nowhere: remove the exemption"
        for one in exempt
        if one not in used
    ]
    for problem in problems:
        print(problem, file=sys.stderr)
    print(
        f"Audit of {len(packages)} pins against {database.documents} advisories on PyPI, the newest of "
        f"{database.modified:%Y-%m-%d}: {len(problems)} open, {len(used)} accepted."
    )
    return 1 if problems else 0


def main(environment: Mapping[str, str] = os.environ) -> int:
    place = environment.get("D4C_ADVISORIES", "")
    if not place:
        print(SKIPPED)
        return 0
    days = environment.get("D4C_ADVISORIES_DAYS", "") or str(_DAYS)
    try:
        if not days.isdecimal():
            raise PermanentError(f"D4C_ADVISORIES_DAYS={days} is no number of days")
        return audit(Path(place), datetime.now(UTC), int(days))
    except D4CError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
