"""Judges the facts of a submission by the criteria of the policy: PASS, WARNING or FAILURE, each with a sentence.

Pure functions: fetching belongs to `delivered`, reading to `examination`, recording to `assessment`. A criterion that
can't be judged for lack of facts is a WARNING, because a manager has to look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from d4c_pipeline.appraisal.causes import in_french
from d4c_pipeline.appraisal.delivered import Delivered
from d4c_pipeline.appraisal.examination import FileFacts, PartFacts
from d4c_pipeline.appraisal.policy import Policy, Rights
from d4c_pipeline.appraisal.words import amount
from d4c_pipeline.model.frequency import CONTINUAL, duration
from d4c_pipeline.model.licence_names import recognised, words_of
from d4c_pipeline.model.submission import Submission
from d4c_pipeline.processing.checks.verdict import Outcome

Bounds = tuple[float, float, float, float]
_DAYS = {"D": 1, "W": 7, "M": 30.4, "Y": 365.25}
_PAGE = "web page"
_MOST_NAMED = 5


@dataclass(frozen=True)
class Twin:
    """Data that the platform or another submission has. `sure`: the same bytes; else the same address or columns."""

    en: str
    fr: str
    sure: bool


@dataclass(frozen=True)
class Facts:
    """What is known of a submission. `delivered`: by its source addresses; `files`: all; `twins`: duplicates."""

    submission: Submission
    delivered: Sequence[Delivered] = ()
    files: Sequence[FileFacts] = ()
    twins: Sequence[Twin] = ()

    @property
    def parts(self) -> list[PartFacts]:
        """All tables and layers."""
        return [part for file in self.files for part in file.parts]

    @property
    def bounds(self) -> Bounds | None:
        """The bounds of all layers in degrees, else those that the submitter states."""
        found = [part.bounds for part in self.parts if part.bounds is not None]
        if not found:
            return self.submission.bounds
        west, south, east, north = zip(*found, strict=True)
        return min(west), min(south), max(east), max(north)

    @property
    def size(self) -> int | None:
        """The bytes of all files, by what arrived, what the servers state, and what the submitter states."""
        # A file of a source is counted once, by its delivery.
        own = sum(file.size for file in self.files if file.address is None)
        known = [each.size for each in self.delivered if each.size is not None]
        seen = own + sum(known)
        return max(seen, self.submission.size or 0) or None


@dataclass(frozen=True)
class Judgement:
    """The outcome of a criterion, with a sentence in both languages."""

    criterion: str
    outcome: Outcome
    en: str
    fr: str


@dataclass
class _Says:
    outcome: Outcome = Outcome.PASS
    en: list[str] = field(default_factory=list[str])
    fr: list[str] = field(default_factory=list[str])

    def add(self, outcome: Outcome, en: str, fr: str) -> None:
        self.outcome = max(self.outcome, outcome)
        self.en.append(en)
        self.fr.append(fr)


def judged(facts: Facts, policy: Policy) -> tuple[Judgement, ...]:
    """Return the judgement of each criterion, in the order of the policy."""
    judges = {
        "scope": _scope,
        "rights": _rights,
        "quality": _quality,
        "format": _format,
        "size": _size,
        "uniqueness": _uniqueness,
        "cost": _cost,
    }
    found: list[Judgement] = []
    for name, _ in policy.criteria:
        said = _Says()
        judges[name](facts, policy, said)
        found.append(Judgement(name, said.outcome, " ".join(said.en), " ".join(said.fr)))
    return tuple(found)


def declining(judgements: Sequence[Judgement], policy: Policy) -> list[Judgement]:
    """Return the failures that decline a submission by rule."""
    rules = {name for name, criterion in policy.criteria if criterion.declines}
    return [each for each in judgements if each.outcome is Outcome.FAILURE and each.criterion in rules]


def forbidding(text: str, rights: Rights) -> str | None:
    """Return the words of the policy in `text` that forbid redistribution or adaptation; None if it has none."""
    words = f" {' '.join(words_of(text))} "
    return next((phrase for phrase in rights.forbidden if f" {' '.join(words_of(phrase))} " in words), None)


def _scope(facts: Facts, policy: Policy, said: _Says) -> None:
    bounds = facts.bounds
    if bounds is None:
        said.add(
            Outcome.WARNING,
            "No extent is stated or found: a person has to check what area the data describe.",
            "Aucune étendue n'est indiquée ni trouvée : une personne doit vérifier le territoire décrit.",
        )
        return
    shown = ", ".join(f"{side:g}" for side in bounds)
    if _meets(bounds, policy.criteria.scope.bounds):
        said.add(Outcome.PASS, f"The extent ({shown}) meets Canada.", f"L'étendue ({shown}) touche le Canada.")
    else:
        said.add(
            Outcome.FAILURE,
            f"The extent ({shown}) lies outside of Canada.",
            f"L'étendue ({shown}) se trouve hors du Canada.",
        )


def _rights(facts: Facts, policy: Policy, said: _Says) -> None:
    rights, submission = policy.criteria.rights, facts.submission
    stated = submission.licence
    if (phrase := forbidding(stated, rights)) is not None:
        said.add(
            Outcome.FAILURE,
            f"The licence '{stated}' forbids redistribution or adaptation ('{phrase}').",
            f"La licence « {stated} » interdit la redistribution ou l'adaptation (« {phrase} »).",
        )
    elif (known := recognised(stated, aliases=rights.aliases)) is not None:
        said.add(Outcome.PASS, f"The licence is {known.title}.", f"La licence est {known.titled('fr')}.")
    else:
        said.add(
            Outcome.WARNING,
            f"The licence '{stated}' is not known: a person has to read it.",
            f"La licence « {stated} » n'est pas connue : une personne doit la lire.",
        )
    if submission.rights is not None and (phrase := forbidding(submission.rights, rights)) is not None:
        said.add(
            Outcome.WARNING,
            f"The stated rights say '{phrase}'.",
            f"Les droits indiqués contiennent « {phrase} ».",
        )


def _quality(facts: Facts, policy: Policy, said: _Says) -> None:
    limits = policy.criteria.quality
    for each in facts.delivered:
        # A page is a matter of format, a file beyond the quota one of size.
        if each.problem is None or _PAGE in each.problem or each.size is not None:
            continue
        said.add(
            Outcome.WARNING if each.temporary else Outcome.FAILURE,
            f"{each.address} can't be fetched: {each.problem}.",
            f"{each.address} ne peut pas être obtenu : {in_french(each.problem)}.",
        )
    for problem in [part.problem for part in facts.parts if part.problem is not None]:
        said.add(
            Outcome.FAILURE, f"A part can't be read: {problem}.", f"Une partie est illisible : {in_french(problem)}."
        )
    readable = [part for part in facts.parts if part.problem is None]
    if not readable:
        if said.outcome is Outcome.PASS:
            said.add(Outcome.WARNING, "No data were read.", "Aucune donnée n'a été lue.")
        return
    rows, columns = sum(part.rows for part in readable), sum(len(part.columns) for part in readable)
    said.add(
        Outcome.PASS if rows >= limits.least_rows else Outcome.FAILURE,
        f"{rows} rows and {columns} columns were read in {len(readable)} tables or layers.",
        f"{rows} lignes et {columns} colonnes ont été lues dans {len(readable)} tables ou couches.",
    )
    empty = sum(len(part.empty) for part in readable)
    if columns and empty / columns > limits.empty_columns:
        said.add(
            Outcome.WARNING, f"{empty} of {columns} columns are empty.", f"{empty} colonnes sur {columns} sont vides."
        )
    if unnamed := sum(part.unnamed for part in readable):
        said.add(Outcome.WARNING, f"{unnamed} columns have no name.", f"{unnamed} colonnes n'ont pas de nom.")


def _format(facts: Facts, policy: Policy, said: _Says) -> None:  # noqa: ARG001 - as the other judges
    for each in facts.delivered:
        if each.problem is not None and _PAGE in each.problem:
            said.add(
                Outcome.WARNING,
                f"{each.address} is a web page: a specialist has to find its files.",
                f"{each.address} est une page Web : un spécialiste doit trouver ses fichiers.",
            )
    for file in facts.files:
        if file.problem is not None:
            french = in_french(file.problem)
            named = french if file.name in french else f"{file.name} n'est pas lisible : {french}"
            said.add(Outcome.FAILURE, f"{file.problem}.", f"{named}.")
    formats = sorted({file.format for file in facts.files if file.parts})
    if formats:
        said.add(Outcome.PASS, f"Formats that are read: {', '.join(formats)}.", f"Formats lus : {', '.join(formats)}.")
    elif said.outcome is Outcome.PASS:
        said.add(Outcome.WARNING, "No format is known yet.", "Aucun format n'est connu.")


def _size(facts: Facts, policy: Policy, said: _Says) -> None:
    limits, size = policy.criteria.size, facts.size
    if size is None:
        said.add(Outcome.WARNING, "The size is not known.", "La taille n'est pas connue.")
        return
    outcome = Outcome.beyond(size, warning=limits.warns_from, failure=limits.largest)
    said.add(
        outcome,
        f"The files have {amount(size)}; the quota is {amount(limits.largest)}.",
        f"Les fichiers ont {amount(size, 'fr')}; le quota est de {amount(limits.largest, 'fr')}.",
    )


def _uniqueness(facts: Facts, policy: Policy, said: _Says) -> None:  # noqa: ARG001 - as the other judges
    for twin in facts.twins[:_MOST_NAMED]:
        said.add(Outcome.FAILURE if twin.sure else Outcome.WARNING, twin.en, twin.fr)
    if not facts.twins:
        said.add(
            Outcome.PASS,
            "No release and no other submission has the same files, addresses or columns.",
            "Aucune version et aucune autre soumission n'a les mêmes fichiers, adresses ou colonnes.",
        )


def _cost(facts: Facts, policy: Policy, said: _Says) -> None:
    cost, size = policy.criteria.cost, facts.size
    if size is None:
        said.add(Outcome.WARNING, "The cost of storage is not known.", "Le coût du stockage n'est pas connu.")
        return
    releases = releases_within(facts.submission.frequency, cost.years)
    total = round(size * releases * cost.copies)
    said.add(
        Outcome.WARNING if total > cost.warns_from else Outcome.PASS,
        f"{releases:.0f} releases in {cost.years} years, {cost.copies} copies each: {amount(total)}.",
        f"{releases:.0f} versions en {cost.years} ans, {cost.copies} copies de chacune : {amount(total, 'fr')}.",
    )


def releases_within(frequency: str | None, years: int) -> float:
    """Return the number of releases of a frequency within `years`, at least 1."""
    if frequency is None or (frequency != CONTINUAL and duration(frequency) is None):
        return 1.0
    number, unit = duration(frequency) or (1, "D")
    return max(1.0, years * 365.25 / (number * _DAYS[unit]))


def _meets(one: Bounds, other: Bounds) -> bool:
    # West of east, unless the bounds cross the antimeridian.
    spans = [(one[0], one[2])] if one[0] <= one[2] else [(one[0], 180.0), (-180.0, one[2])]
    across = any(west <= other[2] and east >= other[0] for west, east in spans)
    return across and one[1] <= other[3] and one[3] >= other[1]
