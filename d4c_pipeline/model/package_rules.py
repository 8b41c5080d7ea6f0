"""The rules of a package: fields that its datasets must fill, and vocabularies that their keywords must come from.

`packages.yaml` of a folder of definitions declares them. Finding what a dataset lacks belongs to
`workspace.package_rules`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from d4c_pipeline.model.completeness import WANTED
from d4c_pipeline.model.declared import Declared, Identifier, full_match


def _wanted(name: str) -> str:
    known = [wanted.field for wanted in WANTED]
    if name not in known:
        raise ValueError(f"'{name}' is not a field that a package may require: {', '.join(known)}")
    return name


PackageName = Annotated[str, full_match(r"d4c-datapkg-[a-z0-9]+", "a package (d4c-datapkg-...)")]


class PackageRule(Declared):
    """What each dataset of a package must have. `fields`: fields of `completeness`, by their path.

    `keywords`: name of a vocabulary -> the least number of its terms that are keywords, in English or French.
    """

    fields: tuple[Annotated[str, AfterValidator(_wanted)], ...] = ()
    keywords: dict[Identifier, Annotated[int, Field(ge=1)]] = Field(default_factory=dict[str, int])
