"""A CKAN package (`package_show`), with the bilingual fields of ckanext-fluent as open.canada.ca has them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from d4c_pipeline.drafting import publishers
from d4c_pipeline.drafting.about import extents
from d4c_pipeline.drafting.facts import Facts, Found, documents, merged, plain, texts_of, words
from d4c_pipeline.drafting.licences import licence_of
from d4c_pipeline.sources.ckan import described
from d4c_pipeline.sources.ckan_resources import language, resources_of

# Frequencies of open.canada.ca's schema that are not ISO 8601 durations already.
_FREQUENCIES = {
    "as_needed": "irregular",
    "irregular": "irregular",
    "not_planned": "not_planned",
    "continual": "continual",
}
_CODES = {"en": "eng", "fr": "fra"}
_ORGANISATIONS = ("org_title_at_publication", "organization", "distributor")


def is_package(document: Any) -> bool:
    """Return whether a JSON document is a package, in CKAN's envelope or without it."""
    inner = unwrapped(document)
    return isinstance(inner, dict) and "resources" in inner and ("license_id" in inner or "metadata_modified" in inner)


def unwrapped(document: Any) -> Any:
    """Return the package inside of CKAN's envelope."""
    return document["result"] if isinstance(document, dict) and isinstance(document.get("result"), dict) else document


def facts(package: Mapping[str, Any], portal: str) -> Facts:
    """Return the facts of a package of the portal at that address."""
    out: Facts = {"id.package": Found(str(package.get("id") or package.get("name")), "id of the package")}
    package = _well_formed(package)
    known = described(package)
    for name, field in (("title", "title_translated"), ("description", "notes_translated")):
        for place, tongue in enumerate(("en", "fr")):
            if text := plain(getattr(known, name)[place]):
                machine = f"{tongue}-t-" in "".join(package.get(field) or {})
                note = ", a machine's translation: read it" if machine else ""
                out[f"{name}.{tongue}"] = Found(text, f"{field}.{tongue} of the package{note}")
    keywords = {tongue: words(known.keywords[place]) for place, tongue in enumerate(("en", "fr"))}
    if any(keywords.values()):
        out["keywords"] = Found(keywords, "keywords or tags of the package")
    licence = licence_of(
        f"license_id {package.get('license_id')} of the package",
        str(package.get("license_id") or "")
        if package.get("license_id") == "ca-ogl-lgo"
        else package.get("license_title"),
        package.get("license_url"),
    )
    if licence is not None:
        out["license"] = licence
    if (frequency := _frequency(package.get("frequency"))) is not None:
        out["publication.frequency"] = Found(frequency, f"frequency {package.get('frequency')} of the package")
    if (box := extents.of_geojson(package.get("spatial"))) is not None:
        out["extent"] = Found(box, "spatial of the package")
    if package.get("jurisdiction") == "federal":
        out["name.region"] = Found("ca", "jurisdiction federal of the package")
    resources = [each for each in resources_of(package, portal) if each.active and each.url]
    tongues = [tongue for tongue in ("en", "fr") if any(tongue in each.languages for each in resources)]
    if tongues:
        out["languages"] = Found([_CODES[tongue] for tongue in tongues], "languages of the package's resources")
    out["address"] = Found(
        [
            {
                "url": each.url,
                "format": min(each.formats, default=""),
                "language": "" if len(each.languages) != 1 else language(min(each.languages)),
                "name": each.names[0] if each.names else each.id,
            }
            for each in resources
        ],
        "resources of the package",
    )
    return merged(out, _creator(package))


def _well_formed(package: Mapping[str, Any]) -> dict[str, Any]:
    """Return a package whose fields have the types of CKAN: portals check none, and strangers send any."""
    out = dict(package)
    for field in ("title_translated", "notes_translated"):
        stated = out.get(field)
        known = stated.items() if isinstance(stated, dict) else ()
        out[field] = {tongue: text for tongue, text in known if isinstance(text, str)}
    stated = out.get("keywords")
    out["keywords"] = (
        {tongue: texts_of(several) for tongue, several in stated.items()} if isinstance(stated, dict) else {}
    )
    for field in ("license_title", "license_url"):
        out[field] = stated if isinstance(stated := out.get(field), str) else None
    out["tags"] = documents(out.get("tags"))
    out["resources"] = documents(out.get("resources"))
    return out


def _creator(package: Mapping[str, Any]) -> Facts:
    for field in _ORGANISATIONS:
        stated = package.get(field)
        if isinstance(stated, str):
            try:
                stated = json.loads(stated)
            except ValueError:
                stated = {"en": stated}
        if not isinstance(stated, dict):
            continue
        english, french = _name(stated.get("en") or stated.get("title")), _name(stated.get("fr"))
        if not english and not french:
            continue
        if " | " in english:  # open.canada.ca's organisations: both names in one title
            english, french = (part.strip() for part in english.split(" | ", 1))
        why = f"{field} of the package: {english or french}"
        if (known := publishers.by_name(f"{english} {french}")) is not None:
            return known.facts(why, licence=False)
        party = {"name": english or french, **({"name_fr": french} if french and english and french != english else {})}
        return {"creators": Found([party], why)}
    return {}


def _name(stated: Any) -> str:
    if isinstance(stated, dict):
        stated = stated.get("organization_name") or stated.get("nom_organization")
    return " ".join(plain(str(stated or "")).split())


def _frequency(stated: Any) -> str | None:
    text = str(stated or "")
    return text if text.startswith("P") and text[1:-1].isdigit() else _FREQUENCIES.get(text)
