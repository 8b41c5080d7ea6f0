"""The parties that made, provide and paid for the data, as a dataset's YAML declares them: names, roles, funding.

Writing a party into a record or a STAC item belongs to `metadata` and `catalogue`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    model_serializer,
    model_validator,
)

from d4c_pipeline.model.declared import REMEMBERED, Bilingual, Declared, HttpUrl, full_match, text_of_number

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
_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def _ror_checked(text: str, info: ValidationInfo) -> str:
    """Compare the last two digits of a ROR id with the checksum of the rest (ISO/IEC 7064, MOD 97-10).

    Source: https://ror.readme.io/docs/identifier
    """
    identifier = text.rpartition("/")[2]
    number = 0
    for letter in identifier[:-2]:
        number = number * 32 + _CROCKFORD.index(letter)
    if info.context != REMEMBERED and int(identifier[-2:]) != 98 - number * 100 % 97:
        raise ValueError(f"'{text}' is not a ROR id: its last two digits do not fit the rest, so one is mistyped")
    return text


def is_valid_orcid(text: str) -> bool:
    """Return whether the last character of an ORCID is its ISO 7064 11-2 check digit.

    Source: https://support.orcid.org/hc/en-us/articles/360006897674
    """
    digits = text.replace("-", "")
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    check = (12 - total % 11) % 11
    return digits[-1] == ("X" if check == 10 else str(check))


def _orcid_checked(text: str, info: ValidationInfo) -> str:
    if info.context != REMEMBERED and not is_valid_orcid(text):
        raise ValueError(f"'{text}' is not an ORCID: its last character does not fit the rest, so one is mistyped")
    return text


Ror = Annotated[
    str,
    full_match(r"(https://ror\.org/)?0[a-hj-km-np-tv-z0-9]{6}\d{2}", "a ROR id"),
    AfterValidator(_ror_checked),
]
Orcid = Annotated[str, full_match(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", "an ORCID"), AfterValidator(_orcid_checked)]


class Party(Declared):
    """A person or organisation that made or provides the data. `ror` is the id or address at ror.org.

    `type`: `person` (written "Family, Given") or `organization`; by default a party with an `orcid` is a person and any
    other party is an organisation. `affiliation`: the name of the organisation where a person works; a person's `ror`
    identifies that organisation. `name_fr`: the French name, for French pages; records have `name`.
    """

    name: str = Field(min_length=1)
    name_fr: Annotated[str, Field(min_length=1)] | None = None
    type: Literal["person", "organization"] | None = None
    affiliation: str | None = Field(default=None, min_length=1)
    ror: Ror | None = None
    orcid: Orcid | None = None
    url: HttpUrl | None = None

    @model_validator(mode="after")
    def _a_person_or_an_organisation(self) -> Self:
        if self.type == "organization" and (self.orcid or self.affiliation):
            raise ValueError(f"'{self.name}' is an organization: orcid and affiliation are those of a person")
        return self

    @model_serializer(mode="wrap")
    def _without_absent_name(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # The digest of a definition that does not use the field stays that of the time before it.
        written = write(self)
        if self.name_fr is None:
            written.pop("name_fr", None)
        return written

    def named(self, language: str) -> str:
        """Return the name in `en` or `fr`, the only name without a French one."""
        return self.name_fr if language == "fr" and self.name_fr is not None else self.name

    @property
    def is_person(self) -> bool:
        """Whether the party is a person, by its declared type or its ORCID."""
        return self.type == "person" or self.orcid is not None


class Contributor(Party):
    """A party with its role. `role`: a DataCite contributor type in any case (`ContactPerson`, `contactperson`).

    `email` is part of the README of every release and can't be removed later. Declare the address of an office, not of
    a person who may leave.
    """

    role: Role
    email: Annotated[str, full_match(r"[^\s@<>]+@[^\s@<>]+\.[^\s@<>]+", "an address of mail")] | None = None


class Funding(Declared):
    """A grant that paid for the data. `ror` identifies the funder; `number`, `title` and `url` identify the grant."""

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
