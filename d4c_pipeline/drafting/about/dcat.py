"""A dataset of DCAT as portals list it in `data.json`: DCAT-US, and JSON-LD with the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from d4c_pipeline.drafting import publishers
from d4c_pipeline.drafting.facts import Facts, Found, plain, words
from d4c_pipeline.drafting.licences import licence_of

_FREQUENCIES = {
    "R/P1Y": "P1Y", "R/P6M": "P6M", "R/P3M": "P3M", "R/P1M": "P1M", "R/P1W": "P1W", "R/P7D": "P1W", "R/P1D": "P1D",
    "irregular": "irregular",
}  # fmt: skip
_LANGUAGES = {"en": ("en", "eng"), "fr": ("fr", "fra")}


def is_dataset(document: Any) -> bool:
    """Return whether a JSON document is a dataset of DCAT."""
    return isinstance(document, dict) and ("distribution" in document or "dcat:distribution" in document)


def facts(dataset: Mapping[str, Any]) -> Facts:
    """Return the facts of a dataset. Texts are in the language that it states, else in English."""
    document = {str(name).rpartition(":")[2]: value for name, value in dataset.items()}
    stated = document.get("language")
    tongue = str((stated[0] if isinstance(stated, list) and stated else stated) or "en")[:2].lower()
    name, code = _LANGUAGES.get(tongue, _LANGUAGES["en"])
    out: Facts = {}
    for field in ("title", "description"):
        if text := _literal(document.get(field)):
            out[f"{field}.{name}"] = Found(text, f"{field} of the DCAT dataset")
    if stated and tongue in _LANGUAGES:
        out["languages"] = Found([code], "language of the DCAT dataset")
    if keywords := words(_literal(each) for each in _listed(document.get("keyword"))):
        out["keywords"] = Found({name: keywords}, "keyword of the DCAT dataset")
    licence = licence_of("license of the DCAT dataset", _literal(document.get("license")), None)
    if licence is not None:
        out["license"] = licence
    publisher = document.get("publisher")
    creator = _literal(publisher.get("name") or publisher.get("foaf:name")) if isinstance(publisher, dict) else ""
    if creator:
        known = publishers.by_name(creator)
        party = known.party if known is not None else {"name": creator}
        out["creators"] = Found([party], f"publisher of the DCAT dataset: {creator}")
        if known is not None:
            out["name.source"] = Found(known.source, f"publisher of the DCAT dataset: {creator}")
    if (frequency := _FREQUENCIES.get(str(document.get("accrualPeriodicity")))) is not None:
        out["publication.frequency"] = Found(frequency, "accrualPeriodicity of the DCAT dataset")
    if str(document.get("landingPage") or "").startswith(("http://", "https://")):
        out["source.homepage"] = Found(str(document["landingPage"]), "landingPage of the DCAT dataset")
    out["address"] = Found(
        [each for each in map(_distribution, _listed(document.get("distribution"))) if each],
        "distribution of the DCAT dataset",
    )
    return out


def _distribution(stated: Any) -> dict[str, str] | None:
    document = (
        {str(name).rpartition(":")[2]: value for name, value in stated.items()} if isinstance(stated, dict) else {}
    )
    url = document.get("downloadURL") or document.get("accessURL")
    if isinstance(url, dict):
        url = url.get("@id")
    if not str(url).startswith(("http://", "https://")):
        return None
    form = str(document.get("format") or document.get("mediaType") or "").lower().rpartition("/")[2]
    return {"url": str(url), "format": form, "language": "", "name": _literal(document.get("title"))}


def _listed(stated: Any) -> list[Any]:
    # JSON-LD writes a list of one as its only value.
    return stated if isinstance(stated, list) else [stated] if stated else []


def _literal(stated: Any) -> str:
    if isinstance(stated, dict):
        stated = stated.get("@value") or stated.get("@id")
    return plain(str(stated)) if stated else ""
