"""A server of the metadata manager alone, over a git repository with one definition."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.service_access import ServiceAccess
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vocabulary import Term, Vocabulary
from d4c_pipeline.services import file_server
from d4c_pipeline.services.access import SESSION_COOKIE, Guard, guarded
from d4c_pipeline.services.protocol import Services
from d4c_pipeline.services.protocols import metadata

TREES = """\
type: d4c_pipeline.PublishedDataset
attributes:
  id: trees # the folder
  name: {region: ca, source: city, dguid: 2021A000011124, package: d4c-datapkg-statistical}
  title:
    en: Street trees # as the city says it
    fr: Arbres de rue
  description:
    en: >-
      Position and species of every street tree of the city,
      from the inventory of 2025.
    fr: Position et essence de chaque arbre de rue de la ville, selon l'inventaire de 2025.
  license: ogl-canada-2.0
  creators:
    # The office, not the person.
    - {name: City of Example, url: "https://example.ca"}
  keywords:
    en:
      - trees # a free keyword
      - Canada
    fr: [arbres, Canada]
  vintages: ["2025"]
  source:
    kind: http
    urls: ["https://example.ca/trees.csv"]
  processing:
    kind: table
    key: [id]
    columns:
      id: {source: ID, type: integer}
"""
TERMS = (
    Term("t1", "Forests", "Forêt"),
    Term("t2", "Urban forests", "Forêt urbaine"),
    Term("t3", "Wind speed", None),
)


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=Op", "-c", "user.email=op@example.ca", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *own, "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder: Path, text: str = TREES, dataset: str = "trees") -> Path:
    """Make a git repository with a definition, and return its file."""
    file = folder / dataset / "defs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text, "utf-8")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", f"--message={dataset}")
    return file


@dataclass(frozen=True)
class MetadataFace:
    """A server at `url`; the `file` of the definition; clients of a specialist, another one, and a reader."""

    url: str
    file: Path
    session: str
    client: httpx.Client
    other: httpx.Client
    reader: httpx.Client
    anybody: httpx.Client
    ledger: Ledger
    home: Path


@contextmanager
def metadata_faced(home: Path, definitions: Path) -> Iterator[MetadataFace]:
    access = ServiceAccess(specialists=("bo", "li@example.ca"))
    services = Services(Settings(home=home, definitions=(definitions,)), None, access)  # type: ignore[arg-type]
    with services.lifetime, closing(Ledger.in_folder(home)) as ledger:
        ledger.vocabularies.add(Vocabulary("subjects", "1", "Subjects", "0" * 64, TERMS), who="op")
        routes = guarded(list(metadata.PROTOCOL.routes(services)), Guard(access, services.signer))
        with file_server.serving({}, others=routes) as url:

            def client(user: str | None, email: str | None = None) -> httpx.Client:
                facts = {"user": user, "email": email}
                cookies = {SESSION_COOKIE: services.signer.written_session(facts)} if user else {}
                return httpx.Client(base_url=url, cookies=cookies, timeout=30)

            with (
                client("bo", "bo@example.ca") as bo,
                client("Li Wei", "li@example.ca") as li,
                client("zoe") as zoe,
                client(None) as anybody,
            ):
                file = definitions / "trees" / "defs.yaml"
                session = str(bo.cookies[SESSION_COOKIE])
                yield MetadataFace(url, file, session, bo, li, zoe, anybody, ledger, home)
