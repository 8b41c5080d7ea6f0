"""Facts of a release in the terms that ISO 19139 and ISO 19115-3 share: responsible parties, online files, statements.

The elements belong to the modules of the two encodings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.documents import file_title, party_id, plain
from d4c_pipeline.model.credits import Contributor, Party
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.frequency import iso_19115
from d4c_pipeline.model.release import ArtifactRole

# DataCite's contributor type -> CI_RoleCode of 2003, which ISO 19115-1 kept.
_ROLES: Mapping[str, str] = {
    "contactperson": "pointOfContact",
    "datacollector": "originator",
    "datacurator": "custodian",
    "datamanager": "custodian",
    "distributor": "distributor",
    "editor": "processor",
    "hostinginstitution": "distributor",
    "producer": "originator",
    "projectleader": "principalInvestigator",
    "projectmanager": "principalInvestigator",
    "registrationauthority": "owner",
    "researcher": "author",
    "rightsholder": "owner",
    "workpackageleader": "principalInvestigator",
}
_ONLINE = (ArtifactRole.DATA, ArtifactRole.DESKTOP, ArtifactRole.TILES)
_EPSG = re.compile(r"EPSG:(\d+)")


@dataclass(frozen=True)
class Responsible:
    """A party with its role as a CI_RoleCode; `email` and `address` are those of the contact."""

    party: Party
    role: str
    email: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class OnlineFile:
    """A file to download: its address, words for it, its media type and its size in megabytes."""

    address: str
    title: Bilingual
    media_type: str
    megabytes: float


def maintenance(published: PublishedMetadata) -> str:
    """Return the MD_MaintenanceFrequencyCode: a release never changes, so it is that of the dataset's next releases."""
    if published.line.superseded_by is not None or published.withdrawn is not None:
        return "notPlanned"
    return iso_19115(published.frequency) if published.frequency else "asNeeded"


def publisher(published: PublishedMetadata, role: str = "publisher") -> Responsible:
    """Return the publisher, who is also the contact for the record."""
    contact = published.site.contact
    email = contact if contact and "@" in contact and ":" not in contact else None
    return Responsible(Party(name=published.site.publisher), role, email, None if email else contact)


def responsible(published: PublishedMetadata) -> tuple[Responsible, ...]:
    """Return creators, providers, contributors and the publisher, each once per role."""

    def each() -> Iterator[Responsible]:
        yield from (Responsible(party, "originator", address=party_id(party)) for party in published.creators)
        yield from (Responsible(party, "distributor", address=party_id(party)) for party in published.providers)
        yield from (_contributor(party) for party in published.contributors)
        yield publisher(published)

    return tuple({(found.party.name, found.role): found for found in each()}.values())


def contacts(published: PublishedMetadata) -> tuple[Responsible, ...]:
    """Return the contacts of the data; without any, the publisher."""
    found = tuple(Responsible(party, "pointOfContact", party.email, party_id(party)) for party in published.contacts)
    return found or (publisher(published, "pointOfContact"),)


def _contributor(party: Contributor) -> Responsible:
    return Responsible(party, _ROLES.get(party.role, "resourceProvider"), party.email, party_id(party))


def online_files(published: PublishedMetadata) -> tuple[OnlineFile, ...]:
    """Return data, tiles and files for desktop programs with every address that each has."""
    return tuple(
        OnlineFile(
            address,
            Bilingual(en=file_title(file, "en"), fr=file_title(file, "fr")),
            file.media_type,
            round(file.size / 1e6, 6),
        )
        for file in published.files
        if file.role in _ONLINE
        for address in published.urls(file)
    )


def lineage(published: PublishedMetadata) -> Bilingual:
    """Return the statement on where the data comes from."""
    sources = ", ".join(published.sources)
    if not sources:
        return Bilingual(en="Published as received.", fr="Publié tel que reçu.")
    return Bilingual(en=f"Made from: {sources}", fr=f"Produit à partir de : {sources}")


def epsg(published: PublishedMetadata) -> str | None:
    """Return the EPSG code of the data, None where it has none."""
    found = _EPSG.fullmatch(published.crs or "")
    return found and found[1]


def licence_title(published: PublishedMetadata) -> Bilingual:
    """Return the title of the licence."""
    terms = published.licence
    return Bilingual(en=plain(terms.title), fr=plain(terms.titled("fr")))


def dated_title(published: PublishedMetadata) -> Bilingual:
    """Return the title with the vintage."""
    return Bilingual(en=plain(published.record.title.en), fr=plain(published.record.title.fr))
