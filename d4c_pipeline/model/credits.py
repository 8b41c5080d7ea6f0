"""Who made, keeps and paid for the data, as a dataset's YAML declares it: parties, their roles, funding.

How a record or a STAC item spells a party belongs to the rooms that write them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from d4c_pipeline.model.declared import Bilingual, Declared, HttpUrl, full_match, text_of_number

DISTRIBUTOR = "distributor"
CONTACT = "contactperson"


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


# DataCite 4.5's contributor types, which are InvenioRDM's roles in lower case.
# Source: https://datacite-metadata-schema.readthedocs.io/en/4.5/appendices/appendix-1/contributorType/
Role = Annotated[
    Literal[
        "contactperson",
        "datacollector",
        "datacurator",
        "datamanager",
        "distributor",
        "editor",
        "hostinginstitution",
        "other",
        "producer",
        "projectleader",
        "projectmanager",
        "projectmember",
        "registrationagency",
        "registrationauthority",
        "relatedperson",
        "researchgroup",
        "researcher",
        "rightsholder",
        "sponsor",
        "supervisor",
        "workpackageleader",
    ],
    BeforeValidator(_lower),
]
Ror = Annotated[str, full_match(r"(https://ror\.org/)?0[a-hj-km-np-tv-z0-9]{6}\d{2}", "a ROR id")]


class Party(Declared):
    """A person or organisation that made or provides the data. `ror` is the id or address at ror.org.

    `type`: `person` (written "Family, Given") or `organization`; left out, whoever has an `orcid` is a person and all
    others are organisations. `affiliation`: where a person works, by name; a person's `ror` is that of the affiliation.
    """

    name: str = Field(min_length=1)
    type: Literal["person", "organization"] | None = None
    affiliation: str | None = Field(default=None, min_length=1)
    ror: Ror | None = None
    orcid: Annotated[str, full_match(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", "an ORCID")] | None = None
    url: HttpUrl | None = None

    @model_validator(mode="after")
    def _a_person_or_an_organisation(self) -> Self:
        if self.type == "organization" and (self.orcid or self.affiliation):
            raise ValueError(f"'{self.name}' is an organization: orcid and affiliation are those of a person")
        return self

    @property
    def is_person(self) -> bool:
        """Whether it is a person, as declared or told by an ORCID."""
        return self.type == "person" or self.orcid is not None


class Contributor(Party):
    """A party with its role. `role`: DataCite's contributor type, in any case (`ContactPerson`, `contactperson`).

    `email` stands in the README of every release, for ever: an address of an office, not of a person who may leave.
    """

    role: Role
    email: Annotated[str, full_match(r"[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+", "an address of mail")] | None = None


class Funding(Declared):
    """A grant that paid for the data. `ror` is the funder's; `number`, `title` and `url` are the grant's."""

    funder: str = Field(min_length=1)
    ror: Ror | None = None
    number: Annotated[str, Field(min_length=1), BeforeValidator(text_of_number)] | None = None
    title: Bilingual | None = None
    url: HttpUrl | None = None

    @model_validator(mode="after")
    def _a_grant_has_a_number(self) -> Self:
        if self.number is None and (self.title or self.url):
            raise ValueError(f"funding by '{self.funder}': a grant's title or url wants its number")
        return self
