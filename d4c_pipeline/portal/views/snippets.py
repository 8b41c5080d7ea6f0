"""Code that opens a release: DuckDB, Python, R, GDAL and QGIS, curl, aria2, for this version and for the latest.

Lines with checksums belong to the version only, because the bytes of the latest change. A test runs every snippet.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from d4c_pipeline.metadata.published import PublishedFile
from d4c_pipeline.portal.facts import ReleaseFacts


@dataclass(frozen=True)
class Snippet:
    """The code of a program. `latest` is the same for the latest version, None where there is no such address."""

    id: str
    name: str
    version: str
    latest: str | None


def snippets(facts: ReleaseFacts) -> tuple[Snippet, ...]:
    """Return the snippets of a release in the order of the page."""
    published = facts.published
    files = published.data_files
    urls = [published.url(file) for file in files]
    latest = [facts.latest[file.name] for file in files if file.name in facts.latest]
    follow = latest if len(latest) == len(urls) else None
    with_geometry = bool(published.geometry_types)

    def both(name: str, title: str, write: Callable[[Sequence[str]], str]) -> Snippet:
        return Snippet(name, title, write(urls), write(follow) if follow else None)

    return (
        both("duckdb", "DuckDB", lambda each: _duckdb(each, with_geometry=with_geometry)),
        both("python", "Python", lambda each: _python(each, with_geometry=with_geometry)),
        both("r", "R", _r),
        both("gdal", "GDAL · QGIS", _gdal),
        Snippet("curl", "curl", _curl(urls, files), _curl(follow, ()) if follow else None),
        Snippet("aria2", "aria2", _aria2(facts, files), _aria2_latest(follow) if follow else None),
    )


def _sql(urls: Sequence[str]) -> str:
    names = [f"'{url.replace(chr(39), chr(39) * 2)}'" for url in urls]
    return names[0] if len(names) == 1 else f"read_parquet([\n  {f',{chr(10)}  '.join(names)}\n])"


def _duckdb(urls: Sequence[str], *, with_geometry: bool) -> str:
    extensions = "INSTALL httpfs; LOAD httpfs;\n"
    spatial = "INSTALL spatial; LOAD spatial;\n" if with_geometry else ""
    return f"{extensions}{spatial}\nSELECT *\nFROM {_sql(urls)}\nLIMIT 10;"


def _python(urls: Sequence[str], *, with_geometry: bool) -> str:
    package = "geopandas" if with_geometry else "pandas"
    install = f"import {package}  # pip install {package} pyarrow fsspec aiohttp requests"
    if len(urls) == 1:
        return f"{install}\n\ndata = {package}.read_parquet(\n    {json.dumps(urls[0])}\n)\nprint(data.head())"
    listed = "\n".join(f"    {json.dumps(url)}," for url in urls)
    together = "import pandas\n" if with_geometry else ""
    joined = f"data = pandas.concat([{package}.read_parquet(url) for url in urls])"
    return f"{install}\n{together}\nurls = [\n{listed}\n]\n{joined}\nprint(data.head())"


def _r(urls: Sequence[str]) -> str:
    query = f"SELECT * FROM {_sql(urls)}"  # noqa: S608 - shown to readers
    connect = 'library(duckdb)  # install.packages("duckdb")\ncon <- dbConnect(duckdb())'
    load = 'dbExecute(con, "INSTALL httpfs; LOAD httpfs;")'
    return f"{connect}\n{load}\ndata <- dbGetQuery(con, {json.dumps(query, ensure_ascii=False)})\nhead(data)"


def _gdal(urls: Sequence[str]) -> str:
    read = "\n".join(f"ogrinfo -so -al {shlex.quote(f'/vsicurl/{url}')}" for url in urls)
    driver = "# GDAL with its Parquet driver (conda-forge: libgdal-arrow-parquet)"
    return f"{driver}\n{read}\n\n# QGIS: Layer > Add Layer > Add Vector Layer > Protocol: HTTP(S)\n# {urls[0]}"


def _curl(urls: Sequence[str], files: Sequence[PublishedFile]) -> str:
    lines = [f"curl --fail --location --remote-name --retry 5 {shlex.quote(url)}" for url in urls]
    checks = [f"echo {shlex.quote(f'{file.sha256}  {file.name}')} | sha256sum --check" for file in files]
    return "\n".join([*lines, *checks])


def _aria2(facts: ReleaseFacts, files: Sequence[PublishedFile]) -> str:
    lines: list[str] = []
    for file in files:
        places = " \\\n  ".join(map(shlex.quote, facts.published.urls(file)))
        lines.append(f"aria2c --checksum=sha-256={file.sha256} \\\n  {places}")
        if file.torrent is not None:
            lines.append(f"# Torrent\naria2c --seed-time=0 {shlex.quote(facts.published.href(file.torrent.address))}")
    return "\n".join(lines)


def _aria2_latest(urls: Sequence[str]) -> str:
    return "\n".join(f"aria2c --allow-overwrite=true {shlex.quote(url)}" for url in urls)
