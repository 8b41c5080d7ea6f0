"""The licences that a dataset may declare, under the ids that Zenodo's and InvenioRDM's vocabulary uses.

That vocabulary is SPDX in lower case plus a few national ones. How a record or a STAC item spells a licence belongs
to the rooms that write them.
"""

from __future__ import annotations

from dataclasses import dataclass

from d4c_pipeline.model.errors import PermanentError


@dataclass(frozen=True)
class Licence:
    """A licence: vocabulary id, SPDX id (None where SPDX has none), title and address of its text."""

    id: str
    spdx: str | None
    title: str
    url: str


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
        Licence("ogl-toronto", None, "Open Government Licence - Toronto", "https://open.toronto.ca/open-data-license/"),
        Licence(
            "public-domain-natural-earth",
            None,
            "Natural Earth: public domain",
            "https://www.naturalearthdata.com/about/terms-of-use/",
        ),
    )
}


def licence(identifier: str) -> Licence:
    """Look a licence up by vocabulary id or SPDX id, in any case.

    Raises PermanentError when it is not known here.
    """
    found = _LICENCES.get(identifier.lower())
    if found is None:
        raise PermanentError(f"'{identifier}' is not a known licence", f"Use one of {', '.join(sorted(_LICENCES))}")
    return found
