"""The README of a release, for readers who have only its record: content, how to open it, how to cite it.

English comes first, then French, both complete. The README contains only facts known before publication, so the same
release gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from d4c_pipeline.metadata.changes import in_words
from d4c_pipeline.metadata.citation import citation
from d4c_pipeline.model.corrections import of_vintage
from d4c_pipeline.model.credits import Contributor
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.parts import every_part
from d4c_pipeline.model.release import CHANGES, CHECKSUMS_REST_NAME, LEFT_OUT, ArtifactRole, Deposit, Release, Torrent
from d4c_pipeline.model.settings import PUBLISHER
from d4c_pipeline.model.texts import clean

README_NAME = "README.md"


@dataclass(frozen=True)
class _Words:
    """The fixed words of one language; `file_roles` describe the files."""

    language: Literal["en", "fr"]
    what: str
    size: str
    columns: str
    column_heads: str
    corrections: str
    correction: str
    reported: tuple[str, str]
    opening: str
    licence: str
    citing: str
    files: str
    file_heads: str
    left_out: str
    checking: str
    torrent: str
    sources: str
    languages: str
    funding: str
    grant: str
    contact: str
    file_roles: Mapping[ArtifactRole, str]


_ENGLISH = _Words(
    language="en",
    what="Data of {vintage}, version {version}.",
    size="{rows} rows, {columns} columns.",
    columns="Columns",
    column_heads="| Column | Type | Meaning |",
    corrections="Corrections of the source",
    correction="`{column}` where {where}: {old} at the source, {new} here. {why} {reported}",
    reported=("Reported to the source on {day:%Y-%m-%d}.", "Not reported to the source."),
    opening="How to open it",
    licence="Licence",
    citing="How to cite it",
    files="Files",
    file_heads="| File | Bytes | What it is |",
    left_out="`{name}` leaves out {rows} of {all} rows, which have no geometry: the format has no place for them.",
    checking="In the folder of the files, `sha256sum --check --ignore-missing {checksums}` says if they are whole. "
    "This README, the torrents and the item stand in the second list.",
    torrent="Torrent of `{name}`: info hash `{info_hash}`.",
    sources="Made from:",
    languages="Language of the data: {codes} (ISO 639-3).",
    funding="Funding",
    grant="grant {number}",
    contact="Contact",
    file_roles={
        ArtifactRole.DATA: "the data",
        ArtifactRole.TILES: "vector tiles for web maps",
        ArtifactRole.DESKTOP: "the data for desktop programs",
        ArtifactRole.THUMBNAIL: "a map of the data",
        ArtifactRole.NOTEBOOK: "the executed notebook that made the rows",
        ArtifactRole.CHANGES: "every row that differs from the release before, with both values",
        ArtifactRole.PROFILE: "statistics of every column",
        ArtifactRole.MANIFEST: "how it was made: native files, parameters, versions, checksums",
        ArtifactRole.CHECKSUMS: "sha256 of the files",
        ArtifactRole.CODE: "the code that made it",
        ArtifactRole.TORRENT: "the torrent",
        ArtifactRole.LICENCE: "the text of the licence",
    },
)
_FRENCH = _Words(
    language="fr",
    what="Données de {vintage}, version {version}.",
    size="{rows} enregistrements, {columns} colonnes.",
    columns="Colonnes",
    column_heads="| Colonne | Type | Signification |",
    corrections="Corrections de la source",
    correction="`{column}` où {where} : {old} à la source, {new} ici. {why} {reported}",
    reported=("Signalé à la source le {day:%Y-%m-%d}.", "Non signalé à la source."),
    opening="Comment les ouvrir",
    licence="Licence",
    citing="Comment les citer",
    files="Fichiers",
    file_heads="| Fichier | Octets | Contenu |",
    left_out="`{name}` omet {rows} des {all} enregistrements, sans géométrie : le format ne peut pas les contenir.",
    checking="Dans leur dossier, `sha256sum --check --ignore-missing {checksums}` dit si les fichiers sont intacts. "
    "Ce README, les torrents et la notice figurent dans la seconde liste.",
    torrent="Torrent de `{name}` : somme `{info_hash}`.",
    sources="Produites à partir de :",
    languages="Langue des données : {codes} (ISO 639-3).",
    funding="Financement",
    grant="subvention {number}",
    contact="Contact",
    file_roles={
        ArtifactRole.DATA: "les données",
        ArtifactRole.TILES: "tuiles vectorielles pour cartes web",
        ArtifactRole.DESKTOP: "les données pour logiciels de bureau",
        ArtifactRole.THUMBNAIL: "une carte des données",
        ArtifactRole.NOTEBOOK: "le carnet exécuté qui a produit les enregistrements",
        ArtifactRole.CHANGES: "chaque enregistrement qui diffère de la version précédente, avec les deux valeurs",
        ArtifactRole.PROFILE: "statistiques de chaque colonne",
        ArtifactRole.MANIFEST: "leur fabrication : fichiers sources, paramètres, versions, sommes de contrôle",
        ArtifactRole.CHECKSUMS: "sha256 des fichiers",
        ArtifactRole.CODE: "le code qui les a produites",
        ArtifactRole.TORRENT: "le torrent",
        ArtifactRole.LICENCE: "le texte de la licence",
    },
)


def readme(
    dataset: Dataset,
    release: Release,
    deposit: Deposit,
    torrents: Mapping[str, Torrent],
    *,
    publisher: str = PUBLISHER,
    contact: str | None = None,
    sources: Sequence[str] = (),
) -> bytes:
    """Return the README of a release as Markdown in UTF-8.

    `torrents`: data artifact name -> its torrent. `contact`: a mail or web address. `sources`: the sources of the
    native files. Raises PermanentError when the deposit has no DOI yet.
    """
    lines: list[str] = []
    for words in (_ENGLISH, _FRENCH):
        cited = citation(dataset, release, deposit, publisher=publisher, language=words.language)
        lines += ["---", ""] if lines else []
        lines += _part(words, dataset, release, cited)
        lines += _files(words, release, torrents)
        lines += [words.sources, "", *(f"- <{source}>" for source in sources), ""] if sources else []
        lines += _funding(words, dataset)
        lines += _contact(words, dataset, publisher, contact)
    return "\n".join(lines).encode()


def _part(words: _Words, dataset: Dataset, release: Release, cited: str) -> Iterator[str]:
    english = words.language == "en"
    summary, terms, credit = release.summary, dataset.terms, dataset.attribution
    yield f"# {dataset.title.en if english else dataset.title.fr}"
    yield ""
    yield (dataset.description.en if english else dataset.description.fr).strip()
    yield ""
    yield words.what.format(vintage=release.vintage, version=release.version)
    yield words.size.format(rows=summary.rows, columns=len(summary.columns))
    if dataset.languages:
        yield words.languages.format(codes=", ".join(dataset.languages))
    yield from ("", f"## {words.columns}", "", words.column_heads, "| --- | --- | --- |")
    for column in summary.columns:
        meaning = column.description_en if english else column.description_fr
        yield f"| `{_cell(column.name)}` | {_cell(column.type)} | {_cell(meaning or '')} |"
    yield from _corrections(words, dataset, release)
    yield from _changes(words, release)
    yield from ("", f"## {words.opening}", "")
    yield from _opening(release)
    yield from (f"## {words.licence}", "", f"[{terms.titled(words.language)}]({terms.url})")
    kept = release.artifact(ArtifactRole.LICENCE)
    if kept is not None:
        yield from ("", f"`{kept.name}`: {words.file_roles[kept.role]}.")
    if credit is not None:
        yield from ("", credit.en if english else credit.fr)
    yield from ("", f"## {words.citing}", "", cited, "")


def _corrections(words: _Words, dataset: Dataset, release: Release) -> Iterator[str]:
    found = of_vintage(dataset.processing.corrections, release.vintage)
    if found:
        yield from ("", f"## {words.corrections}", "")
    for each in found:
        reported, silent = words.reported
        text = words.correction.format(
            column=_cell(each.column),
            where=", ".join(f"`{_cell(name)}` = {_value(value)}" for name, value in each.where.items()),
            old=_value(each.old),
            new=_value(each.new),
            why=_cell(each.why.en if words.language == "en" else each.why.fr),
            reported=silent if each.reported is None else reported.format(day=each.reported),
        )
        yield f"- {text}"


def _changes(words: _Words, release: Release) -> Iterator[str]:
    """Yield the counts of what differs from the release before; also of a release that does not carry the file."""
    found = release.summary.report.get(CHANGES)
    if found is None:
        return
    told = in_words(found, words.language)
    yield from ("", f"## {told.heading}", "")
    yield from (f"- {line}" for line in told.lines(lambda name: f"`{_cell(name)}`"))


def _value(value: str | None) -> str:
    return "null" if value is None else f"`{_cell(value)}`"


def _opening(release: Release) -> Iterator[str]:
    """Yield one example for each common reader, the same in every language."""
    files = release.data_files
    name = files[0].name if len(files) == 1 else every_part(release.name)
    reader = "geopandas" if release.summary.geometry_types else "pandas"
    yield from ("```sh", f"duckdb -c \"SELECT * FROM '{name}' LIMIT 10\"", "```", "")  # noqa: S608 - shown, not run
    if len(files) == 1:
        yield from ("```python", f"import {reader}", "", f'data = {reader}.read_parquet("{name}")', "```", "")
        return
    imports = ("from glob import glob", "", *sorted({"import pandas", f"import {reader}"}), "")
    yield from ("```python", *imports, f'parts = [{reader}.read_parquet(path) for path in glob("{name}")]')
    yield from ("data = pandas.concat(parts, ignore_index=True)", "```", "")


def _files(words: _Words, release: Release, torrents: Mapping[str, Torrent]) -> Iterator[str]:
    """Yield the files that exist when the README is written, so not the README itself or the catalogue item."""
    yield from (f"## {words.files}", "", words.file_heads, "| --- | --- | --- |")
    listed = [artifact for artifact in release.artifacts if artifact.role in words.file_roles]
    for artifact in sorted(listed, key=lambda artifact: artifact.name):
        yield f"| `{artifact.name}` | {artifact.size} | {words.file_roles[artifact.role]} |"
    yield ""
    for suffix, rows in sorted(release.summary.report.get(LEFT_OUT, {}).items()):
        text = words.left_out.format(name=f"{release.name}{suffix}", rows=rows, all=release.summary.rows)
        yield from (text, "")
    checksums = release.artifact(ArtifactRole.CHECKSUMS)
    if checksums is not None:
        yield from (words.checking.format(checksums=f"{checksums.name} {CHECKSUMS_REST_NAME}"), "")
    for name, torrent in sorted(torrents.items()):
        yield from (words.torrent.format(name=name, info_hash=torrent.info_hash), "")


def _funding(words: _Words, dataset: Dataset) -> Iterator[str]:
    if not dataset.funding:
        return
    yield from (f"## {words.funding}", "")
    for funding in dataset.funding:
        title = funding.title and (funding.title.en if words.language == "en" else funding.title.fr)
        grant = words.grant.format(number=funding.number) if funding.number else None
        yield f"- {', '.join(filter(None, (funding.funder, grant, title, funding.url)))}"
    yield ""


def _contact(words: _Words, dataset: Dataset, publisher: str, contact: str | None) -> Iterator[str]:
    """Yield the contacts of the dataset, then the publisher."""
    lines = [_address(party) for party in dataset.contacts] + ([f"{publisher}: {contact}"] if contact else [])
    if lines:
        yield from (f"## {words.contact}", "")
        yield from (f"- {line}" for line in lines) if len(lines) > 1 else lines
        yield ""


def _address(party: Contributor) -> str:
    text = ", ".join(filter(None, (party.name, party.affiliation)))
    where = ", ".join(filter(None, (party.email, party.url)))
    return f"{text}: {where}" if where else text


def _cell(text: str) -> str:
    """Return a text in the form of a table cell."""
    return " ".join(clean(text).split()).replace("|", "\\|")
