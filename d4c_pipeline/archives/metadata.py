"""The metadata of a record, mapped from a dataset's declaration and a release, and judged before any call.

Here belong their meaning and their JSON form, which the local archive keeps. How an archive's own schema spells them
belongs to that archive's client.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any

from d4c_pipeline.model.dataset import Dataset, Party
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.licences import Licence, licence
from d4c_pipeline.model.release import Release
from d4c_pipeline.model.secrets import public_address
from d4c_pipeline.model.settings import PUBLISHER

IDENTIFIER_SCHEME = "urn:d4c:"
RESOURCE_TYPE = "dataset"
LANGUAGES = ("eng", "fra")

_DOI = re.compile(r"10\.\d{4,9}/\S+")
_URL = re.compile(r"https?://\S+")
_ROR = re.compile(r"0[a-hj-km-np-tv-z0-9]{6}\d{2}")  # https://ror.readme.io/docs/identifier
_ADDRESS = re.compile(r"https?://[^\s<>]+[^\s<>.,;:!?)\]»]")  # in escaped text
_SHORTEST = 3  # characters of a title: InvenioRDM refuses less


@dataclass(frozen=True)
class Creator:
    """Who made the data. `ror` is the bare id: an organisation's own, a person's that of the `affiliation`."""

    name: str
    orcid: str | None = None
    ror: str | None = None
    person: bool = False
    affiliation: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values; what follows from the others is left out."""
        said: dict[str, Any] = {"name": self.name, "orcid": self.orcid, "ror": self.ror}
        if self.person and self.orcid is None:
            said["person"] = True
        if self.affiliation is not None:
            said["affiliation"] = self.affiliation
        return said


@dataclass(frozen=True)
class RelatedIdentifier:
    """Another thing and what this record is to it; `relation` is DataCite's relation type in lower case.

    `resource_type` says what the other thing is (`dataset`, `software`), None where that is not known.
    """

    identifier: str
    relation: str
    resource_type: str | None = None

    @property
    def scheme(self) -> str:
        """`doi` or `url`."""
        return "doi" if _DOI.fullmatch(self.identifier) else "url"


@dataclass(frozen=True)
class RecordMetadata:
    """What a record says about itself. Raises PermanentError for what an archive or DataCite would refuse.

    `description` is HTML, made of escaped text only. `contributors` are those who provided the data. `identifier` is
    our own alternate identifier, `languages` are ISO 639-3. `formats` are media types, `sizes` words, `bounds` west,
    south, east, north in degrees, `valid` the date of the data (ISO 8601, to the year at least).
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
    languages: tuple[str, ...] = LANGUAGES
    resource_type: str = RESOURCE_TYPE
    formats: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    bounds: tuple[float, float, float, float] | None = None
    valid: str | None = None

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
        self._check_parties("providers", self.contributors)
        for related in self.related:
            if not (_DOI.fullmatch(related.identifier) or _URL.fullmatch(related.identifier)):
                raise PermanentError(
                    f"'{related.identifier}' is neither a DOI nor an http(s) address",
                    "Correct the address that the record should refer to",
                )

    def _check_parties(self, key: str, parties: tuple[Creator, ...]) -> None:
        if key == "creators" and not parties:
            raise PermanentError("A record needs at least one creator", "Declare 'creators' in the dataset's YAML")
        for number, party in enumerate(parties):
            where = f"Correct '{key}.{number}' in the YAML"
            if not party.name.strip():
                raise PermanentError("A creator or provider has a blank name", where)
            if party.orcid is not None and not is_valid_orcid(party.orcid):
                raise PermanentError(f"The ORCID {party.orcid} of {party.name} has a wrong check digit", where)
            if party.ror is not None and not _ROR.fullmatch(party.ror):
                raise PermanentError(f"The ROR id {party.ror} of {party.name} is malformed", where)

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as JSON-ready values; formats, sizes, bounds and dates stand in the manifest beside."""
        return {
            "identifier": self.identifier,
            "title": {"en": self.title.en, "fr": self.title.fr},
            "description": {"en": self.description.en, "fr": self.description.fr},
            "creators": [creator.to_json() for creator in self.creators],
            "contributors": [contributor.to_json() for contributor in self.contributors],
            "licence": {"id": self.licence.id, "title": self.licence.title, "url": self.licence.url},
            "publisher": self.publisher,
            "version": self.version,
            "publication_date": self.publication_date.isoformat(),
            "subjects": list(self.subjects),
            "related": [
                {"identifier": related.identifier, "scheme": related.scheme, "relation": related.relation}
                for related in self.related
            ],
            "languages": list(self.languages),
            "resource_type": self.resource_type,
        }


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
) -> RecordMetadata:
    """Return the metadata of a release's record; the same release gives the same metadata on every run.

    `native_urls`: where its native files came from. `code_url`: the code that made it. `previous_vintage_doi`: the
    vintage before it, which it continues. `page_url`: its page in the portal. `published_on`: the day on which it is
    made public, by default that of the plan. Raises PermanentError when something in them can't stand in a record.
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
    return RecordMetadata(
        identifier=release.identifier,
        title=_title(dataset, release),
        description=_description(dataset, release),
        creators=tuple(_creator(party) for party in dataset.creators),
        contributors=tuple(_creator(party) for party in dataset.providers),
        licence=licence(dataset.license),
        publisher=publisher,
        version=str(release.version),
        publication_date=published_on or release.planned_at.date(),
        subjects=tuple(dict.fromkeys((*dataset.keywords.en, *dataset.keywords.fr))),
        related=tuple(related),
        formats=tuple(dict.fromkeys(artifact.media_type for artifact in release.data_files)),
        sizes=(f"{release.summary.rows} rows", f"{release.data_size} bytes"),
        bounds=release.summary.bounds,
        valid=str(release.vintage).partition("T")[0],
    )


def is_valid_orcid(text: str) -> bool:
    """Say whether the last character of an ORCID is its ISO 7064 11-2 check digit.

    Source: https://support.orcid.org/hc/en-us/articles/360006897674
    """
    digits = text.replace("-", "")
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    return digits[-1] == ("X" if check == 10 else str(check))


def _creator(party: Party) -> Creator:
    if "," in party.name and not (party.is_person or party.type or party.ror):
        raise PermanentError(
            f"'{party.name}' may be a person (Family, Given) or an organisation, and a record has to say which",
            "Declare 'type: person' or 'type: organization' beside the name, or an orcid or a ror",
        )
    ror = party.ror and party.ror.rpartition("/")[2]
    return Creator(party.name, party.orcid, ror, party.is_person, party.affiliation)


def _title(dataset: Dataset, release: Release) -> Bilingual:
    vintage = str(release.vintage)

    def dated(title: str) -> str:
        return title if vintage in title else f"{title} ({vintage})"

    return Bilingual(en=dated(dataset.title.en), fr=dated(dataset.title.fr))


def _description(dataset: Dataset, release: Release) -> Bilingual:
    declared = licence(dataset.license)
    credit = dataset.attribution
    rows = release.summary.rows
    english = f"Data of {release.vintage}, version {release.version}: {rows} rows. Licence: {declared.title}."
    french = (
        f"Données de {release.vintage}, version {release.version} : {rows} enregistrements. Licence : {declared.title}."
    )
    return Bilingual(
        en=_html(dataset.description.en, english, credit.en if credit else ""),
        fr=_html(dataset.description.fr, french, credit.fr if credit else ""),
    )


def _html(text: str, *further: str) -> str:
    # Everything is escaped: what a YAML or a source says is text, never markup.
    parts = (" ".join(part.split()) for part in (*re.split(r"\n\s*\n", text.strip()), *further))
    return "\n".join(f"<p>{_linked(part)}</p>" for part in parts if part)


def _linked(text: str) -> str:
    """The text escaped, its http(s) addresses as links; a sentence's full stop or bracket is not of the address."""
    return _ADDRESS.sub(r'<a href="\g<0>">\g<0></a>', escape(text))
