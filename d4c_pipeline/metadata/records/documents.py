"""Parts that several records share: canonical JSON, texts of a bounded length, words for files, identifiers of parties.

A standard's own words belong to its module.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from d4c_pipeline.metadata.published import TONGUES, PublishedFile, PublishedMetadata
from d4c_pipeline.model.credits import Party
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline.model.release import ArtifactRole
from d4c_pipeline.model.texts import clean

_ELLIPSIS = " …"


def json_document(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Return canonical JSON: UTF-8, keys in the given order, on one line (indenting takes three times as long).

    `<`, `>` and `&` are escaped, so that the document may stand in a `script` element of a page.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"{text}\n".encode()


def plain(text: str) -> str:
    """Return a text without markup, control and direction characters; line ends and paragraphs stay."""
    return clean(text).strip()


def shortened(text: str, most: int) -> str:
    """Return a plain text of at most `most` characters, cut after a word."""
    text = plain(text)
    if len(text) <= most:
        return text
    cut = text[: most - len(_ELLIPSIS)]
    return f"{cut.rsplit(None, 1)[0] if any(map(str.isspace, cut[len(cut) // 2 :])) else cut}{_ELLIPSIS}"


def known(**facts: Any) -> dict[str, Any]:
    """Return the facts that have a value: neither None nor empty."""
    return {name: value for name, value in facts.items() if value is not None and value not in ("", [], {}, ())}


def party_id(party: Party) -> str | None:
    """Return the identifier of a party as an address: the ORCID of a person, the ROR id of an organisation, its URL."""
    if party.orcid:
        return f"https://orcid.org/{party.orcid}"
    if party.ror and not party.is_person:
        return f"https://ror.org/{party.ror.rpartition('/')[2]}"
    return party.url


def in_language(text: Any, language: str) -> Any:
    """Return the text (or the keywords) of a bilingual value in a language."""
    return getattr(text, language)


def tagged(text: Bilingual, most: int | None = None) -> list[dict[str, str]]:
    """Return a bilingual text as JSON-LD values with language tags."""
    values = ((language, plain(in_language(text, language))) for language in TONGUES)
    return [
        {"@value": shortened(value, most) if most else value, "@language": language}
        for language, value in values
        if value
    ]


def facts_sentence(published: PublishedMetadata, language: str) -> str:
    """Return vintage, version, size and licence of a release as a sentence of more than 50 characters."""
    columns = len(published.columns)
    terms = plain(published.licence.title)
    if language == "fr":
        terms = plain(published.licence.titled("fr"))
        return (
            f"Données de {published.vintage}, version {published.version} : {published.rows} enregistrements, "
            f"{columns} colonnes. Licence : {terms}."
        )
    return (
        f"Data of {published.vintage}, version {published.version}: {published.rows} rows, {columns} columns. "
        f"Licence: {terms}."
    )


_FILE_TITLES: Mapping[ArtifactRole, tuple[str, str]] = {
    ArtifactRole.DATA: ("Data", "Données"),
    ArtifactRole.TILES: ("Vector tiles", "Tuiles vectorielles"),
    ArtifactRole.DESKTOP: ("Data for desktop programs", "Données pour logiciels de bureau"),
    ArtifactRole.THUMBNAIL: ("Map picture", "Image de carte"),
    ArtifactRole.NOTEBOOK: ("Executed notebook", "Carnet exécuté"),
    ArtifactRole.PROFILE: ("Statistics of every column", "Statistiques de chaque colonne"),
    ArtifactRole.MANIFEST: ("Build manifest", "Manifeste de fabrication"),
    ArtifactRole.CHECKSUMS: ("Checksums", "Sommes de contrôle"),
    ArtifactRole.CHECKSUMS_REST: ("Checksums of the other files", "Sommes de contrôle des autres fichiers"),
    ArtifactRole.TORRENT: ("Torrent", "Torrent"),
    ArtifactRole.METADATA: ("STAC item", "Notice STAC"),
    ArtifactRole.SOURCE: ("Source file", "Fichier source"),
    ArtifactRole.README: ("README", "LISEZ-MOI"),
    ArtifactRole.CODE: ("Code that made the data", "Code qui a produit les données"),
    ArtifactRole.CHANGES: ("Changes since the release before", "Changements depuis la version précédente"),
    ArtifactRole.LICENCE: ("Text of the licence", "Texte de la licence"),
}
_FORMATS = {
    ".parquet": "Parquet",
    ".gpkg": "GeoPackage",
    ".fgb": "FlatGeobuf",
    ".csv.gz": "CSV (gzip)",
    ".pmtiles": "PMTiles",
}


def file_title(file: PublishedFile, language: str) -> str:
    """Return what a file is in words: `Data, GeoParquet, part-03`."""
    english, french = _FILE_TITLES[file.role]
    words = [french if language == "fr" else english]
    words += [name for suffix, name in _FORMATS.items() if file.name.endswith(suffix)]
    return ", ".join([*words, *([file.part] if file.part else [])])
