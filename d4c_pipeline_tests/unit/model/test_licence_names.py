"""Licences as sources and submitters state them: one licence without limits is recognised, all else is for a person."""

from __future__ import annotations

import pytest

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.licence_names import recognised
from d4c_pipeline.model.licences import licences


@pytest.mark.parametrize(
    ("stated", "identifier"),
    [
        ("ogl-canada-2.0", "ogl-canada-2.0"),
        ("OGL-Canada-2.0", "ogl-canada-2.0"),
        ("ca-ogl-lgo", "ogl-canada-2.0"),
        ("Open Government Licence - Canada", "ogl-canada-2.0"),
        ("Licence du gouvernement ouvert – Canada", "ogl-canada-2.0"),
        ("http://open.canada.ca/en/open-government-licence-canada", "ogl-canada-2.0"),
        ("https://ouvert.canada.ca/fr/licence-du-gouvernement-ouvert-canada", "ogl-canada-2.0"),
        (
            "Open Government Licence - Canada (http://open.canada.ca/en/open-government-licence-canada)",
            "ogl-canada-2.0",
        ),
        ("The data are under the Open Government Licence – Toronto.", "ogl-toronto"),
        ("Open Government Licence – Canada version 2.0", "ogl-canada-2.0"),
        ("Les données sont sous la Licence du gouvernement ouvert – Canada", "ogl-canada-2.0"),
        ("https://www.statcan.gc.ca/en/reference/licence", "statcan-open-licence"),
        ("https://creativecommons.org/licenses/by/4.0/legalcode", "cc-by-4.0"),
        ("https://creativecommons.org/licenses/by/4.0/deed.fr", "cc-by-4.0"),
        ("creativecommons.org/licenses/by/4.0", "cc-by-4.0"),
        ("CC BY 4.0", "cc-by-4.0"),
        ("CC-BY-4.0 International", "cc-by-4.0"),
        ("CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/)", "cc-by-4.0"),
        ("Creative Commons Attribution 4.0 International (CC BY 4.0)", "cc-by-4.0"),
        ("Creative Commons Attribution, https://creativecommons.org/licenses/by/4.0/", "cc-by-4.0"),
        ('<a href="https://creativecommons.org/licenses/by/4.0/">CC BY 4.0</a>', "cc-by-4.0"),
        ("CC0", "cc0-1.0"),
        ("CC0 1.0 Universal", "cc0-1.0"),
        ("Open Data Commons Open Database License (ODbL) v1.0", "odbl-1.0"),
        ("https://creativecommons.org/licenses/by/4.0/?ref=chooser-v1", "cc-by-4.0"),
        ("https://www.statcan.gc.ca/eng/reference/licence-eng.html", "statcan-open-licence"),
        ("Domaine public : CC0", None),  # "domaine" is not known
        # Neither a licence of a province nor one without its version.
        ("Open Government Licence - Alberta", None),
        ("CC BY", None),
        ("cc-by", None),
        ("CC BY-SA 4.0", None),
        ("Creative Commons Attribution 3.0", None),
        ("https://creativecommons.org/licenses/by-sa/4.0/", None),
        ("CC BY-SA 4.0, https://creativecommons.org/licenses/by/4.0/", None),
        # Another version.
        ("Open Government Licence - Canada 1.0", None),
        ("CC BY 4.0 2", None),
        ("CC0 2.0", None),
        ("my own", None),
        ("to fill", None),  # the mark of a draft
        # An address of somebody else that only contains one of a licence.
        ("https://evil.example/creativecommons.org/licenses/by/4.0", None),
        ("https://creativecommons.org.evil.example/licenses/by/4.0", None),
        ("https://creativecommons.org/licenses/by/4.01", None),
        ("https://open.canada.ca/en/open-government-licence-canada-alberta", None),
        ("https://www.statcan.gc.ca/not-a-licence-at-all", None),
        # Other licences of Statistics Canada have such addresses too.
        ("https://www12.statcan.gc.ca/census/licence.txt", None),
        ("https://www.statcan.gc.ca/en/microdata/dli/licence", None),
        ("https://open.canada.ca/data/en/dataset/their-own/open-government-licence-canada", None),
        ("https://creativecommons.org/licenses/by/4.0/?not=granted", None),
        ("https://open.canada.ca@evil.example/en/open-government-licence-canada", None),
        # What denies, limits or doubles a licence is for a person to read.
        ("The photographs are not under the Open Government Licence - Canada", None),
        ("Open Government Licence - Canada, except the orthophotos", None),
        ("Open Government Licence - Canada, for schools only", None),
        ("Licence du gouvernement ouvert – Canada, sauf les photographies", None),
        ("CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/), no redistribution", None),
        ("NonCommercial Attribution 4.0 International", None),
        ("Open Government Licence - Canada, personal use", None),
        ("Open Government Licence - Canada for data; photos: all rights reserved", None),
        ("It is unclear if the Open Government Licence - Canada applies", None),
        ("Formerly Open Government Licence - Canada", None),
        ("Is the data under the Open Government Licence - Canada?", None),
        ("CC BY 4.0*", None),
        ("CC BY 4.0 не применяется", None),
        ("C\u0336C\u0336 B\u0336Y\u0336 4.0", None),
        ("Contains information licensed under the Open Government Licence - Canada", None),
        ("Anciennement Licence du gouvernement ouvert - Canada", None),
        ("Open Government Licence - Canada doesn't apply", None),
        ("Open Government Licence - British Columbia, based on Open Government Licence - Canada", None),
        ("CC BY 4.0, commercial use requires a fee", None),
        ("Open Government Licence - Canada and the licence of the city", None),
        ("CC BY 4.0 or CC0", None),
        ("CC BY 4.0, https://city.example/terms", None),
        ("Code: CC0. Data: Open Government Licence - Canada", None),
        (
            "Code: CC0. Data: http://creativecommons.org/publicdomain/zero/1.0/ and Open Government Licence - Canada",
            None,
        ),
        ("https://creativecommons.org/licenses/by/4.0/ https://creativecommons.org/licenses/by-nc/4.0/", None),
    ],
)
def test_a_licence_is_recognised_by_its_words(stated: str, identifier: str | None) -> None:
    found = recognised(stated)
    assert (found.id if found else None) == identifier


def test_every_licence_is_recognised_by_its_own_id_title_and_address() -> None:
    for known in licences():
        assert recognised(known.id, known.spdx, known.title, known.url) == known
        assert recognised(known.url) == known


def test_several_texts_name_one_licence_or_none() -> None:
    assert recognised("CC BY 4.0", None, "CC0") is None
    assert recognised("Creative Commons Attribution", "https://creativecommons.org/publicdomain/zero/1.0/") is None
    assert recognised("Terms of the city", "https://creativecommons.org/licenses/by/4.0/") is None
    assert recognised(None, "") is None


def test_further_names_are_of_known_licences() -> None:
    aliases = {"CC-BY-4.0": ["our licence", "data.example.ca/licence", "-"]}
    for stated in ("Our Licence", "https://data.example.ca/licence/en"):
        found = recognised(stated, aliases=aliases)
        assert found is not None
        assert found.id == "cc-by-4.0"
    assert recognised("https://data.example.ca/licences", aliases=aliases) is None
    assert recognised("version 2.0", aliases=aliases) is None
    with pytest.raises(PermanentError, match="'mit' is not a known licence"):
        recognised("Our licence", aliases={"mit": ["our licence"]})
