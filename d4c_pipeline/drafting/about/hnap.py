"""A metadata record of ISO 19115 as ISO 19139 writes it, with both languages as HNAP has them (PT_FreeText).

HNAP is the Harmonized North American Profile, the records of the Federal Geospatial Platform and open.canada.ca.
Source: https://www.fgp-pgf.gc.ca (HNAP), CAN/CGSB-171.100-2009 (codes RI_...).
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]

from d4c_pipeline.drafting import publishers
from d4c_pipeline.drafting.about import extents
from d4c_pipeline.drafting.facts import Facts, Found, merged, plain, words
from d4c_pipeline.drafting.licences import licence_of

_NAMES = {"d": "http://www.isotc211.org/2005/gmd", "c": "http://www.isotc211.org/2005/gco"}
_ROOT = "{http://www.isotc211.org/2005/gmd}MD_Metadata"
_IDENTIFICATION = "d:identificationInfo/*"
_FREQUENCIES = {
    "continual": "continual", "daily": "P1D", "weekly": "P1W", "fortnightly": "P2W", "monthly": "P1M",
    "quarterly": "P3M", "biannually": "P6M", "annually": "P1Y", "asneeded": "irregular", "irregular": "irregular",
    "notplanned": "not_planned",
}  # fmt: skip
_LANGUAGES = {"eng": "eng", "fre": "fra", "fra": "fra"}


def is_record(root: etree._Element) -> bool:
    """Return whether an XML document is a record of ISO 19139."""
    return root.tag == _ROOT


def facts(root: etree._Element) -> Facts:
    """Return the facts of a record."""
    out: Facts = {}
    french_first = _text(root, "d:language/c:CharacterString").startswith(("fra", "fre"))
    for field, path in (("title", "d:citation//d:title"), ("description", "d:abstract")):
        for tongue, text in _bilingual(root, f"{_IDENTIFICATION}/{path}", french_first=french_first).items():
            if text:
                name = path.rpartition(":")[2]
                out[f"{field}.{tongue}"] = Found(text, f"{name} of the ISO 19115 record")
    keywords: dict[str, list[str]] = {"en": [], "fr": []}
    for element in root.iterfind(f"{_IDENTIFICATION}/d:descriptiveKeywords/d:MD_Keywords/d:keyword", _NAMES):
        for tongue, text in _of(element, french_first=french_first).items():
            keywords[tongue].append(text)
    if any(keywords.values()):
        out["keywords"] = Found({tongue: words(texts) for tongue, texts in keywords.items()}, "keywords of the record")
    for path in ("d:useLimitation", "d:otherConstraints"):
        stated = _bilingual(root, f"{_IDENTIFICATION}/d:resourceConstraints/*/{path}", french_first=french_first)
        found = licence_of(f"{path[2:]} of the record: {stated['en'][:80]}", stated["en"], title_fr=stated["fr"])
        if found is not None:
            out.setdefault("license", found)
    _add_dates(out, root)
    frequency = _text(root, f"{_IDENTIFICATION}/d:resourceMaintenance//d:maintenanceAndUpdateFrequency/*")
    if (duration := _FREQUENCIES.get(frequency.partition(";")[0].strip().lower())) is not None:
        out["publication.frequency"] = Found(duration, f"maintenanceAndUpdateFrequency {frequency} of the record")
    sides = [
        _text(root, f"{_IDENTIFICATION}//d:EX_GeographicBoundingBox/d:{side}/c:Decimal")
        for side in ("westBoundLongitude", "southBoundLatitude", "eastBoundLongitude", "northBoundLatitude")
    ]
    stated_all = all(re.fullmatch(r"-?\d+(\.\d+)?", side) for side in sides)
    if stated_all and (box := extents.box(*map(float, sides))) is not None:
        out["extent"] = Found(box, "EX_GeographicBoundingBox of the record")
    stated = [each.text or "" for each in root.iterfind(f"{_IDENTIFICATION}/d:language/*", _NAMES)]
    if tongues := list(dict.fromkeys(_LANGUAGES[each[:3]] for each in stated if each[:3] in _LANGUAGES)):
        out["languages"] = Found(tongues, "language of the record's data")
    kind = _text(root, f"{_IDENTIFICATION}/d:spatialRepresentationType/*").partition(";")[0].strip()
    if kind in ("vector", "textTable"):
        value = "vector" if kind == "vector" else "table"
        out["processing.kind"] = Found(value, f"spatialRepresentationType {kind} of the record")
    out["address"] = Found(_addresses(root), "transferOptions of the record")
    return merged(out, _creator(root, french_first=french_first), _by_hosts(out["address"].value))


def _add_dates(out: Facts, root: etree._Element) -> None:
    begin = _text(root, f"{_IDENTIFICATION}//{{*}}TimePeriod/{{*}}beginPosition")
    end = _text(root, f"{_IDENTIFICATION}//{{*}}TimePeriod/{{*}}endPosition")
    if begin and (not end or begin[:4] == end[:4]):
        out["vintage"] = Found(begin[:4], f"the record's period begins {begin}" + (f" and ends {end}" if end else ""))
    for wanted in ("creation", "publication"):
        for each in root.iterfind(f"{_IDENTIFICATION}/d:citation/*/d:date/d:CI_Date", _NAMES):
            if wanted in _text(each, "d:dateType/*") and (date := _text(each, "d:date/*")):
                out.setdefault("vintage", Found(date[:10], f"{wanted} date of the record"))


def _creator(root: etree._Element, *, french_first: bool) -> Facts:
    places = (
        f"{_IDENTIFICATION}/d:citation//d:citedResponsibleParty",
        f"{_IDENTIFICATION}/d:pointOfContact",
        "d:contact",
    )
    for place in places:
        stated = _bilingual(root, f"{place}/*/d:organisationName", french_first=french_first)
        # `Government of Canada; Statistics Canada`: the last part is the department or its sector.
        english, french = (" ".join(stated[tongue].split()) for tongue in ("en", "fr"))
        if not english:
            continue
        why = f"organisationName of the record's {place.rpartition(':')[2]}: {english}"
        if (known := publishers.by_name(f"{english} {french}")) is not None:
            return known.facts(why, licence=False)
        name, name_fr = (text.rpartition(";")[2].strip() for text in (english, french))
        return {"creators": Found([{"name": name, **({"name_fr": name_fr} if name_fr not in ("", name) else {})}], why)}
    return {}


def _by_hosts(addresses: list[dict[str, str]]) -> Facts:
    for each in addresses:
        if (known := publishers.by_address(each["url"])) is not None:
            why = f"the record's data lie at {each['url'][:80]}"
            return known.facts(why, licence=False)
    return {}


def _addresses(root: etree._Element) -> list[dict[str, str]]:
    found: list[dict[str, str]] = []
    for online in root.iterfind(".//d:transferOptions//d:CI_OnlineResource", _NAMES):
        url = _text(online, "d:linkage/d:URL")
        described = _text(online, "d:description/c:CharacterString").split(";")
        # HNAP writes `Dataset;SHP;eng,fra`: the kind of the content, its format, its languages.
        kind, form, tongue = [part.strip() for part in described] if len(described) == 3 else ("", "", "")
        if url.startswith(("http://", "https://")):
            found.append(
                {
                    "url": url,
                    "format": form.lower(),
                    "language": {"eng": "en", "fra": "fr", "fre": "fr"}.get(tongue, ""),
                    "name": _text(online, "d:name/c:CharacterString"),
                    "kind": kind.lower(),
                }
            )
    return found


def _bilingual(root: etree._Element, path: str, *, french_first: bool) -> dict[str, str]:
    element = root.find(path, _NAMES)
    return {"en": "", "fr": ""} if element is None else _of(element, french_first=french_first)


def _of(element: etree._Element, *, french_first: bool) -> dict[str, str]:
    own = plain(_text(element, "c:CharacterString"))
    other = plain(_text(element, "d:PT_FreeText/d:textGroup/d:LocalisedCharacterString"))
    return {"en": other, "fr": own} if french_first else {"en": own, "fr": other}


def _text(element: Any, path: str) -> str:
    found = element.find(path, _NAMES)
    return "" if found is None else str(found.text or "").strip()
