"""The metadata that ArcGIS writes beside a shapefile (`.shp.xml`): FGDC and ISO elements under ArcGIS's own names."""

from __future__ import annotations

import re

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from d4c_pipeline.drafting.facts import Facts, Found, plain, words
from d4c_pipeline.drafting.licences import licence_of

_FILE_NAME = re.compile(r"\S*_\S*")
_WHY = "the .shp.xml of the delivery"


def is_metadata(root: etree._Element) -> bool:
    """Return whether an XML document is metadata of ArcGIS or FGDC."""
    return root.tag == "metadata" and (root.find("Esri") is not None or root.find("idinfo") is not None)


def facts(root: etree._Element) -> Facts:
    """Return the facts: title, abstract, keywords, licence, and what columns mean."""
    out: Facts = {}
    for field, paths in (
        ("title.en", ("dataIdInfo/idCitation/resTitle", "idinfo/citation/citeinfo/title")),
        ("description.en", ("dataIdInfo/idAbs", "idinfo/descript/abstract")),
    ):
        for path in paths:
            text = plain(root.findtext(path))
            # ArcGIS fills an empty title with the name of the file, and other empty elements with REQUIRED.
            if text and not text.startswith("REQUIRED") and not (field == "title.en" and _FILE_NAME.fullmatch(text)):
                out.setdefault(field, Found(text, f"{path.rpartition('/')[2]} in {_WHY}"))
    keywords = words(
        each.text
        for path in ("dataIdInfo/searchKeys/keyword", "idinfo/keywords/theme/themekey")
        for each in root.iterfind(path)
    )
    if keywords := [each for each in keywords if not each.startswith("REQUIRED")]:
        out["keywords"] = Found({"en": keywords}, f"keywords in {_WHY}")
    for path in ("dataIdInfo/resConst/LegConsts/useLimit", "dataIdInfo/resConst/Consts/useLimit", "idinfo/useconst"):
        stated = plain(root.findtext(path))
        licence = licence_of(f"{path.rpartition('/')[2]} in {_WHY}: {stated[:80]}", stated) if stated else None
        if licence is not None and isinstance(licence.value, str):  # a paragraph of terms is no title of a licence
            out.setdefault("license", licence)
    for attribute in root.iterfind("eainfo/detailed/attr"):
        label, meaning = plain(attribute.findtext("attrlabl")), plain(attribute.findtext("attrdef"))
        # ArcGIS defines its own columns (FID, Shape), as "Internal feature number.".
        if label and meaning and plain(attribute.findtext("attrdefs")).lower() != "esri":
            out[f"columns.{label}.en"] = Found(meaning, f"attrdef in {_WHY}")
    return out
