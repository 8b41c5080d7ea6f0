"""The languages of the data: ISO 639-3 as declared, and the BCP 47 tag for standards that require it.

Titles and descriptions are always in English and French, independently of the data.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator


def _code(text: str) -> str:
    # Loading its 8,000 languages takes 0.17 s, so only a definition that declares languages loads them.
    from iso639 import Lang  # noqa: PLC0415
    from iso639.exceptions import DeprecatedLanguageValue, InvalidLanguageValue  # noqa: PLC0415

    try:
        language = Lang(text)
    except DeprecatedLanguageValue as error:
        raise ValueError(f"'{text}' is no code of ISO 639-3 any more: {error}") from error
    except InvalidLanguageValue as error:
        raise ValueError(f"'{text}' is not a language of ISO 639-3 (eng, fra, iku)") from error
    if language.pt3 != text:
        # `Lang` accepts en, fre and French too; an archive's vocabulary has only the three letters of part 3.
        raise ValueError(f"'{text}' is not a language of ISO 639-3: write {language.pt3 or 'a language, not a group'}")
    return text


Language = Annotated[str, AfterValidator(_code)]


def bcp47(code: str) -> str:
    """Return the BCP 47 tag of an ISO 639-3 code: `en` of `eng`; the three letters if no two-letter code exists.

    Source: https://www.rfc-editor.org/rfc/rfc5646#section-2.2.1 (the shortest code).
    """
    from iso639 import Lang  # noqa: PLC0415 - as above

    return Lang(code).pt1 or code
