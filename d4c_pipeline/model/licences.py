"""The licences that a dataset may declare: by an id of the vocabulary of Zenodo and InvenioRDM, or in full.

That vocabulary is SPDX in lower case plus a few national licences. Canadian cities have their own licences, which a
definition declares with title, address and text. Writing a licence into a record or a STAC item belongs to `metadata`
and `catalogue`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from d4c_pipeline.model.declared import Bilingual, Declared, HttpUrl
from d4c_pipeline.model.errors import D4CError, DefinitionError, PermanentError
from d4c_pipeline.model.gaps import NO_ADDRESS, TO_FILL
from d4c_pipeline.model.texts import unfit

LICENCE_NAME = "LICENSE"
"""The name of the artifact with the text of a declared licence."""
DECLARED = "declared"
"""The id of a licence that the definition declares in full."""
_LARGEST = 1_000_000  # bytes; the longest licence of SPDX has 120,000


@dataclass(frozen=True)
class Licence:
    """A licence: vocabulary id, SPDX id (None if SPDX has none), title and address of its text.

    `title_fr` is None if the licence has one title for all languages.
    """

    id: str
    spdx: str | None
    title: str
    url: str
    title_fr: str | None = None

    def titled(self, language: Literal["en", "fr"]) -> str:
        """Return the title in a language."""
        return self.title_fr or self.title if language == "fr" else self.title


_LICENCES = {
    licence.id: licence
    for licence in (
        Licence(
            "ogl-canada-2.0",
            "OGL-Canada-2.0",
            "Open Government Licence - Canada 2.0",
            "https://open.canada.ca/en/open-government-licence-canada",
        ),
        Licence(
            "statcan-open-licence",
            None,
            "Statistics Canada Open Licence",
            "https://www.statcan.gc.ca/en/terms-conditions/open-licence",
        ),
        Licence(
            "cc-by-4.0",
            "CC-BY-4.0",
            "Creative Commons Attribution 4.0 International",
            "https://creativecommons.org/licenses/by/4.0/",
        ),
        Licence(
            "cc0-1.0",
            "CC0-1.0",
            "Creative Commons Zero 1.0 Universal",
            "https://creativecommons.org/publicdomain/zero/1.0/",
        ),
        Licence(
            "odbl-1.0",
            "ODbL-1.0",
            "Open Data Commons Open Database License 1.0",
            "https://opendatacommons.org/licenses/odbl/1-0/",
        ),
        Licence(TO_FILL, None, TO_FILL, NO_ADDRESS),  # of a draft, which is not published
        Licence("ogl-toronto", None, "Open Government Licence - Toronto", "https://open.toronto.ca/open-data-license/"),
        Licence(
            "public-domain-natural-earth",
            None,
            "Natural Earth: public domain",
            "https://www.naturalearthdata.com/about/terms-of-use/",
        ),
    )
}


def licences() -> tuple[Licence, ...]:
    """Return the licences of the vocabulary."""
    return tuple(each for each in _LICENCES.values() if each.id != TO_FILL)


def licence(identifier: str) -> Licence:
    """Return the licence with a vocabulary id or SPDX id, in any case.

    Raises PermanentError for an unknown licence.
    """
    found = _LICENCES.get(identifier.lower())
    if found is None:
        raise PermanentError(
            f"'{identifier}' is not a known licence",
            f"Use one of {', '.join(sorted(each.id for each in licences()))}, "
            "or declare it: {title: {en, fr}, url, text_file}",
        )
    return found


class DeclaredLicence(Declared):
    """A licence outside the vocabulary. Every release contains its text as `LICENSE`, because cities remove pages.

    `url`: the publisher's address of the licence. `text`, or `text_file`: a file of UTF-8 text beside the YAML.
    """

    title: Bilingual
    url: HttpUrl
    text: Annotated[str, Field(min_length=1)] | None = None
    text_file: Annotated[str, Field(min_length=1)] | None = None

    @field_validator("text_file")
    @classmethod
    def _text_is_beside(cls, name: str | None) -> str | None:
        if name is not None and (Path(name).is_absolute() or ".." in Path(name).parts):
            raise ValueError("name a file in the dataset's own folder")
        return name

    @model_validator(mode="after")
    def _single_text(self) -> Self:
        if (self.text is None) == (self.text_file is None):
            raise ValueError("a licence of one's own wants its text: declare either text or text_file")
        return self

    @property
    def licence(self) -> Licence:
        """The licence as records and items show it."""
        return Licence(DECLARED, None, self.title.en, self.url, self.title.fr)

    def content(self, folder: Path | None) -> bytes:
        """Return the text as it is published. `folder`: the dataset's own folder.

        Raises DefinitionError when the file is missing, empty, larger than a megabyte or not plain UTF-8 text.
        """
        if self.text is not None:
            return (self.text.rstrip("\n") + "\n").encode()
        path = (folder or Path()) / str(self.text_file)
        try:
            content = path.read_bytes()
            text = content.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DefinitionError(
                f"The text of the licence, {path}, can't be read: {error}", "Save it there as UTF-8 text"
            ) from error
        # Form feeds separate the pages of licences, and Notepad begins a file with a byte order mark.
        what = unfit(text.removeprefix("\ufeff").replace("\f", ""), markup=False)
        if not text.strip() or len(content) > _LARGEST or what is not None:
            wrong = what or ("no text" if not text.strip() else f"{len(content):,} bytes")
            raise DefinitionError(
                f"The text of the licence, {path}, has {wrong}", "Save the licence's plain text there"
            )
        return content


def _known(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return licence(value).id
    except D4CError as error:
        raise ValueError(str(error)) from error


def _form(value: object) -> str | None:
    if isinstance(value, str):
        return "known"
    return DECLARED if isinstance(value, dict | DeclaredLicence) else None


AnyLicence = Annotated[
    Annotated[str, Tag("known")] | Annotated[DeclaredLicence, Tag(DECLARED)],
    Discriminator(
        _form,
        custom_error_type="licence",
        custom_error_message="Input should be the id of a licence, or {title: {en, fr}, url, text_file}",
    ),
    BeforeValidator(_known),
]
"""The id of a known licence, or a licence declared in full."""
