"""The metadata of a record, mapped from a dataset's declaration and a release, and validated before any call.

The meaning of the metadata and their JSON form, which the local archive keeps, belong here. The schema of another
archive belongs to its client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from html import escape
from typing import Any

from d4c_pipeline.model.credits import DISTRIBUTOR, Contributor, Funding, Party, is_valid_orcid
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.licences import LICENCE_NAME, Licence
from d4c_pipeline.model.release import Column, Release
from d4c_pipeline.model.secrets import public_address
from d4c_pipeline.model.settings import PUBLISHER

IDENTIFIER_SCHEME = "urn:d4c:"
RESOURCE_TYPE = "dataset"

_DOI = re.compile(r"10\.\d{4,9}/\S+")
_URL = re.compile(r"https?://\S+")
_URN = re.compile(r"urn:bt[im]h:[0-9a-f]{40,68}")  # a torrent, by BEP 9 and BEP 52
_ROR = re.compile(r"0[a-hj-km-np-tv-z0-9]{6}\d{2}")  # https://ror.readme.io/docs/identifier
_ADDRESS = re.compile(r"https?://[^\s<>]+[^\s<>.,;:!?)\]»]")  # in escaped text
_SHORTEST = 3  # characters of a title: InvenioRDM refuses shorter titles
_MOST_COLUMNS = 200  # columns described in a record; README and item describe all


@dataclass(frozen=True)
class Creator:
    """A creator of the data. `ror` is the bare id: an organisation's own id, for a person the id of the `affiliation`.

    `role`: a contributor's DataCite contributor type in lower case; None for a creator.
    """

    name: str
    orcid: str | None = None
    ror: str | None = None
    person: bool = False
    affiliation: str | None = None
    role: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values, without values that follow from others."""
        values: dict[str, Any] = {"name": self.name, "orcid": self.orcid, "ror": self.ror}
        if self.person and self.orcid is None:
            values["person"] = True
        if self.affiliation is not None:
            values["affiliation"] = self.affiliation
        if self.role is not None:
            values["role"] = self.role
        return values


@dataclass(frozen=True)
class Grant:
    """A grant that paid for the data. `ror` is the funder's bare id; `number`, `title` and `url` identify the grant."""

    funder: str
    ror: str | None = None
    number: str | None = None
    title: Bilingual | None = None
    url: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values, without unknown values."""
        values = {**vars(self), "title": self.title and self.title.model_dump()}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True)
class RelatedIdentifier:
    """A related resource and the record's relation to it; `relation` is DataCite's relation type in lower case.

    `resource_type` is the type of the resource (`dataset`, `software`), None if it is unknown.
    """

    identifier: str
    relation: str
    resource_type: str | None = None

    @property
    def scheme(self) -> str:
        """`doi`, `url` or `urn`."""
        if self.identifier.startswith("urn:"):
            return "urn"
        return "doi" if _DOI.fullmatch(self.identifier) else "url"


@dataclass(frozen=True)
class RecordMetadata:
    """The metadata of a record. Raises PermanentError for values that an archive or DataCite would refuse.

    `description` is HTML of escaped text only. So is `columns`, which describes the columns in `en` and `fr` as far as
    known. `contributors` have a role. `identifier` is our own alternate identifier. `languages` are the languages of
    the data (ISO 639-3), the main language first. `formats` are media types, `sizes` texts, `bounds` west, south, east,
    north in degrees, `valid` the date of the data (ISO 8601, to the year at least). `licence_file`: the file of the
    release with the licence's text.
    """

    identifier: str
    title: Bilingual
    description: Bilingual
    creators: tuple[Creator, ...]
    contributors: tuple[Creator, ...]
    licence: Licence
    publisher: str
    version: str
    publication_date: date
    subjects: tuple[str, ...]
    related: tuple[RelatedIdentifier, ...]
    languages: tuple[str, ...] = ()
    resource_type: str = RESOURCE_TYPE
    formats: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    bounds: tuple[float, float, float, float] | None = None
    valid: str | None = None
    funding: tuple[Grant, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    licence_file: str | None = None

    def __post_init__(self) -> None:
        if not self.identifier.startswith(IDENTIFIER_SCHEME):
            raise PermanentError(f"'{self.identifier}' is not our identifier", f"It begins with {IDENTIFIER_SCHEME}")
        for language, title in (("en", self.title.en), ("fr", self.title.fr)):
            if len(title.strip()) < _SHORTEST:
                raise PermanentError(
                    f"The title '{title}' is shorter than archives take", f"Correct 'title.{language}' in the YAML"
                )
        if not self.publisher.strip():
            raise PermanentError("A record needs a publisher", "Set D4C_PUBLISHER")
        self._check_parties("creators", self.creators)
        self._check_parties("contributors", self.contributors)
        for related in self.related:
            if not any(form.fullmatch(related.identifier) for form in (_DOI, _URL, _URN)):
                raise PermanentError(
                    f"'{related.identifier}' is neither a DOI nor an http(s) address",
                    "Correct the address that the record should refer to",
                )

    def _check_parties(self, key: str, parties: tuple[Creator, ...]) -> None:
        if key == "creators" and not parties:
            raise PermanentError("A record needs at least one creator", "Declare 'creators' in the dataset's YAML")
        for number, party in enumerate(parties):
            where = f"Correct '{key}.{number}' in the YAML"
            if key == "contributors":
                where = f"Correct {party.name!r} among 'providers' or 'contributors' in the YAML"
            if not party.name.strip():
                raise PermanentError("A creator, provider or contributor has a blank name", where)
            if party.orcid is not None and not is_valid_orcid(party.orcid):
                raise PermanentError(f"The ORCID {party.orcid} of {party.name} has a wrong check digit", where)
            if party.ror is not None and not _ROR.fullmatch(party.ror):
                raise PermanentError(f"The ROR id {party.ror} of {party.name} is malformed", where)

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as JSON-ready values, without optional values that are unknown."""
        known = {
            "languages": list(self.languages),
            "formats": list(self.formats),
            "sizes": list(self.sizes),
            "bounds": list(self.bounds) if self.bounds else None,
            "valid": self.valid,
            "funding": [grant.to_json() for grant in self.funding],
            "columns": dict(self.columns),
        }
        return {
            "identifier": self.identifier,
            "title": {"en": self.title.en, "fr": self.title.fr},
            "description": {"en": self.description.en, "fr": self.description.fr},
            "creators": [creator.to_json() for creator in self.creators],
            "contributors": [contributor.to_json() for contributor in self.contributors],
            "licence": self._licence(),
            "publisher": self.publisher,
            "version": self.version,
            "publication_date": self.publication_date.isoformat(),
            "subjects": list(self.subjects),
            "related": [
                {"identifier": related.identifier, "scheme": related.scheme, "relation": related.relation}
                for related in self.related
            ],
            "resource_type": self.resource_type,
            **{name: value for name, value in known.items() if value},
        }

    def _licence(self) -> dict[str, str]:
        licence = {"id": self.licence.id, "title": self.licence.title, "title_fr": self.licence.title_fr}
        licence |= {"url": self.licence.url, "file": self.licence_file}
        return {name: value for name, value in licence.items() if value is not None}


def record_metadata(
    dataset: Dataset,
    release: Release,
    native_urls: Sequence[str],
    *,
    publisher: str = PUBLISHER,
    code_url: str | None = None,
    previous_vintage_doi: str | None = None,
    page_url: str | None = None,
    published_on: date | None = None,
    elsewhere: Sequence[RelatedIdentifier] = (),
) -> RecordMetadata:
    """Return the metadata of a release's record; the same release gives the same metadata on every run.

    `native_urls`: the sources of its native files. `code_url`: the code that built it. `previous_vintage_doi`: the DOI
    of the vintage before it. `page_url`: its page in the portal. `published_on`: the day of publication, by default the
    day of the plan. `elsewhere`: other places of its files. Raises PermanentError for a value that a record can't
    contain.
    """
    homepage = [dataset.source.homepage] if dataset.source.homepage else []
    origins = dict.fromkeys([*native_urls, *homepage])
    related = [RelatedIdentifier(public_address(url), "isderivedfrom", "dataset") for url in origins]
    for identifier, relation, resource_type in (
        (code_url, "iscompiledby", "software"),
        (previous_vintage_doi, "continues", "dataset"),
        (page_url, "isdocumentedby", None),
    ):
        if identifier is not None:
            related.append(RelatedIdentifier(identifier, relation, resource_type))
    related += elsewhere
    return RecordMetadata(
        identifier=release.identifier,
        title=_title(dataset, release),
        description=_description(dataset, release),
        creators=tuple(_creator(party) for party in dataset.creators),
        contributors=_contributors(dataset),
        licence=dataset.terms,
        publisher=publisher,
        version=str(release.version),
        publication_date=published_on or release.planned_at.date(),
        subjects=tuple(dict.fromkeys((*dataset.keywords.en, *dataset.keywords.fr))),
        related=tuple(dict.fromkeys(related)),
        languages=dataset.languages,
        formats=tuple(dict.fromkeys(artifact.media_type for artifact in release.data_files)),
        sizes=(f"{release.summary.rows} rows", f"{release.data_size} bytes"),
        bounds=release.summary.bounds,
        valid=str(release.vintage).partition("T")[0],
        funding=tuple(_grant(funding) for funding in dataset.funding),
        columns=_columns(release.summary.columns),
        licence_file=None if isinstance(dataset.license, str) else LICENCE_NAME,
    )


def _creator(party: Party) -> Creator:
    if "," in party.name and not (party.is_person or party.type or party.ror):
        raise PermanentError(
            f"'{party.name}' may be a person (Family, Given) or an organisation, and a record has to say which",
            "Declare 'type: person' or 'type: organization' beside the name, or an orcid or a ror",
        )
    role = party.role if isinstance(party, Contributor) else None
    return Creator(party.name, party.orcid, _bare(party.ror), party.is_person, party.affiliation, role)


def _contributors(dataset: Dataset) -> tuple[Creator, ...]:
    """Return the providers, then the other contributors, without duplicates of a party in one role."""
    provide = (replace(_creator(party), role=DISTRIBUTOR) for party in dataset.providers)
    return tuple(dict.fromkeys((*provide, *map(_creator, dataset.contributors))))


def _grant(funding: Funding) -> Grant:
    return Grant(funding.funder, _bare(funding.ror), funding.number, funding.title, funding.url)


def _bare(ror: str | None) -> str | None:
    return ror and ror.rpartition("/")[2]


def _title(dataset: Dataset, release: Release) -> Bilingual:
    vintage = str(release.vintage)

    def dated(title: str) -> str:
        return title if vintage in title else f"{title} ({vintage})"

    return Bilingual(en=dated(dataset.title.en), fr=dated(dataset.title.fr))


def _description(dataset: Dataset, release: Release) -> Bilingual:
    terms, credit = dataset.terms, dataset.attribution
    rows = release.summary.rows
    english = f"Data of {release.vintage}, version {release.version}: {rows} rows. Licence: {terms.title}."
    french = (
        f"Données de {release.vintage}, version {release.version} : {rows} enregistrements. "
        f"Licence : {terms.titled('fr')}."
    )
    return Bilingual(
        en=_html(dataset.description.en, english, credit.en if credit else ""),
        fr=_html(dataset.description.fr, french, credit.fr if credit else ""),
    )


def _columns(columns: Sequence[Column]) -> dict[str, str]:
    """Return the descriptions of the columns as HTML by language: one paragraph per described column."""
    meanings: dict[str, str] = {}
    for language, lead, rest in (
        ("en", "Columns:", "README.md has {} more."),
        ("fr", "Colonnes :", "README.md en a {} de plus."),
    ):
        texts = [(column, getattr(column, f"description_{language}")) for column in columns]
        lines = [f"{column.name} ({column.type}): {text}" for column, text in texts if text]
        more = [rest.format(len(lines) - _MOST_COLUMNS)] if len(lines) > _MOST_COLUMNS else []
        if lines:
            meanings[language] = _html("", lead, *lines[:_MOST_COLUMNS], *more)
    return meanings


def _html(text: str, *further: str) -> str:
    # Everything is escaped: values of a YAML or a source are text, never markup.
    parts = (" ".join(part.split()) for part in (*re.split(r"\n\s*\n", text.strip()), *further))
    return "\n".join(f"<p>{_linked(part)}</p>" for part in parts if part)


def _linked(text: str) -> str:
    """Return the text escaped, with its http(s) addresses as links; the punctuation after an address is not linked."""
    return _ADDRESS.sub(r'<a href="\g<0>">\g<0></a>', escape(text))
