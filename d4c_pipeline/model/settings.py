"""The settings of a deployment: its folders, its servers, its limits, and the archive that mints DOIs.

A command or a step reads them from the environment once, when it starts. The settings of limits, the seeder and the UI
belong to `limits`, `seeding` and `ui_access`. `archive_token` reads the archive's secret at the point of use, so that
code that prints settings can't print it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, SecretStr

from d4c_pipeline.model import secrets
from d4c_pipeline.model.environment import (
    ByteCount,
    EnvironmentSettings,
    Flag,
    OptionalPath,
    Parser,
    Positive,
    Words,
    path,
    variable,
    words,
)
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.stores import FolderPlace, Stores, base_url, read_stores

DEFAULT_PORT = 8763
DEFAULT_COPIES = 3
"""The archive and two stores."""
DEFAULT_FIXITY_DAYS = 30
DEFAULT_BUILD_SECONDS = 6 * 3600
"""The largest tables of Statistics Canada take an hour on two cores."""
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)? ?[KMGT]i?B", re.IGNORECASE)
OWN_STORE = "store"
"""The folder in the home that is the primary store, unless the document of stores declares another."""
LOCAL_ARCHIVE = "local"
LOG_FORMATS = ("colored", "json")
ARCHIVES = (LOCAL_ARCHIVE, "zenodo", "zenodo-sandbox", "invenio", "datacite")
_RELEASE_PAGE = "en/datasets/{dataset}/{vintage}/{version}/"  # of the portal
PUBLISHER = "Data for Canada"
"""The publisher in citations and records, unless the deployment sets another."""


def thread_count(text: str) -> int | None:
    """Return the number of threads that `text` states, None when it is empty. Raises PermanentError for other texts."""
    if not text.strip():
        return None
    if not text.strip().isdecimal() or int(text) < 1:
        raise PermanentError(f"The number of threads is '{text}'", "Write a whole number from 1 on (D4C_THREADS)")
    return int(text)


def memory_amount(text: str) -> str | None:
    """Return `text` if it is an amount of memory (`4GB`, `512MiB`), None when it is empty.

    Raises PermanentError for other texts.
    """
    if not text.strip():
        return None
    if _MEMORY.fullmatch(text.strip()) is None:
        raise PermanentError(f"The memory limit is '{text}'", "Write it as 4GB or 512MiB (D4C_MEMORY_LIMIT)")
    return text.strip()


def temp_folder(text: str) -> Path | None:
    """Return the existing folder `text`, None when it is empty. Raises PermanentError when it is not a folder."""
    if not text.strip():
        return None
    folder = Path(text.strip()).expanduser().absolute()
    if not folder.is_dir():
        raise PermanentError(f"The folder for temporary files {folder} does not exist", "Make it, or correct D4C_TEMP")
    return folder


def _folders(_variable: str, text: str) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(Path(p).expanduser().absolute() for p in text.split(os.pathsep) if p))


def _origins(variable: str, text: str) -> dict[str, str]:
    origins: dict[str, str] = {}
    for pair in words(text):
        old, separator, new = pair.partition("=")
        if not separator or "://" not in old or "://" not in new:
            raise PermanentError(
                f"{variable} has '{pair}'",
                "Write origin=origin pairs with commas, such as https://a.ca=http://127.0.0.1:8000",
            )
        origins[old.rstrip("/")] = new.rstrip("/")
    return origins


def _stores(_variable: str, text: str) -> Stores:
    return read_stores(Path(text).expanduser().absolute())


def _address(variable: str, text: str) -> str:
    # The message omits the value, because it may contain a password.
    try:
        return base_url(text.strip())
    except ValueError as error:
        raise PermanentError(f"{variable} can't be used: {error}", f"Correct {variable}") from None


def _archive(variable: str, text: str) -> str:
    if text not in ARCHIVES:
        raise PermanentError(f"{variable} is '{text}'", f"Write one of {', '.join(ARCHIVES)}")
    return text


def _page(variable: str, text: str) -> str:
    try:
        text.format(dataset="d", vintage="2021", version="1.0.0")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise PermanentError(
            f"{variable} is '{text}', no template", "Use {dataset}, {vintage} and {version} in it"
        ) from error
    return text


def _problems(variable: str, text: str) -> str:
    is_mail = re.fullmatch(r"(mailto:)?[^\s@/:?]+@[^\s@/:]+", text)
    if not is_mail and re.match(r"https?://[^\s/]", text) is None:
        raise PermanentError(
            f"{variable} is '{text}'",
            "Write an address of mail, or an https address such as https://github.com/o/r/issues/new?title={release}",
        )
    return text


def _day(variable: str, text: str) -> date:
    try:
        return date.fromisoformat(text.strip())
    except ValueError as error:
        raise PermanentError(f"{variable} is '{text}'", "Write a day such as 2027-03-31") from error


def _port(variable: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise PermanentError(f"{variable} is '{text}'", "Write a port number from 1 to 65535")
    return int(text)


def _log_format(variable: str, text: str) -> str:
    if text not in LOG_FORMATS:
        raise PermanentError(f"{variable} is '{text}'", f"Write one of {', '.join(LOG_FORMATS)}")
    return text


_Address = Annotated[str | None, Parser(_address)]


class Settings(EnvironmentSettings):
    """Where data lies and how each part of a deployment is reached."""

    home: Annotated[Path, Parser(path)] = variable(
        "D4C_HOME",
        "The folder of ledger, store, archive, staging and Dagster's instance; `--home` sets it for one command.",
        factory=lambda: Path(".d4c").absolute(),
        unset="./.d4c",
    )
    definitions: Annotated[tuple[Path, ...], Parser(_folders)] = variable(
        "D4C_DEFS", "Folders of your own datasets, separated like `PATH`; `--defs` adds one.", default=()
    )
    origins: Annotated[Mapping[str, str], Parser(_origins)] = variable(
        "D4C_ORIGIN_MAP",
        "Other servers of an origin, for closed networks and tests: `https://a.ca=http://127.0.0.1:8000,...`.",
        factory=dict[str, str],
    )
    stores: Annotated[Stores, Parser(_stores)] = variable(
        "D4C_STORES",
        "The YAML document of stores: a primary store elsewhere, mirrors; see [Stores](stores.md).",
        factory=Stores,
        unset="the folder `store` of the home",
    )
    store_url: _Address = variable(
        "D4C_STORE_URL",
        "The public base address of the primary store.",
        unset="the loopback address of `d4c serve`",
    )
    archive_url: _Address = variable(
        "D4C_ARCHIVE_URL",
        "The public base address of the local archive, or the server of `invenio`; of Zenodo and DataCite it is known.",
        unset="`/archive` of `d4c serve`, or none where the store has a public address",
    )
    port: Annotated[int, Parser(_port)] = variable("D4C_PORT", "The port of `d4c serve`.", default=DEFAULT_PORT)
    services: Words = variable(
        "D4C_SERVICES",
        "Protocols that `d4c serve` answers beside files, with commas: `all` that are installed, `none`, or names; see "
        "[Services](services.md).",
        default=("all",),
    )
    ledger_url: str | None = Field(
        default=None,
        validation_alias="D4C_LEDGER_URL",
        repr=False,  # it may contain a password
        description="The SQLAlchemy URL of the ledger, such as `postgresql+psycopg2://user@host/database`; give the "
        "password by `PGPASSWORD`.",
        json_schema_extra={"unit": "", "unset": "SQLite in the home"},
    )
    log: Annotated[str, Parser(_log_format)] = variable(
        "D4C_LOG",
        "The form of logs: `json` (a line per record, with dataset, vintage, step and run) or `colored`.",
        default="colored",
    )
    trackers: Words = variable("D4C_TRACKERS", "Announce addresses of torrents, with commas.", default=())
    hybrid_torrents: Flag = variable(
        "D4C_TORRENT_HYBRID", "Make v1+v2 torrents. Several clients of today can't read them.", default=False
    )
    threads: Annotated[int | None, Parser(lambda _, text: thread_count(text))] = variable(
        "D4C_THREADS", "Threads of a build; the resource `duckdb` in the UI overrides it.", unset="all cores"
    )
    memory_limit: Annotated[str | None, Parser(lambda _, text: memory_amount(text))] = variable(
        "D4C_MEMORY_LIMIT", "Memory of a build, such as `4GB`; the rest spills to disk.", unset="half of the memory"
    )
    temp: Annotated[Path | None, Parser(lambda _, text: temp_folder(text))] = variable(
        "D4C_TEMP", "An existing folder, perhaps on a faster disk, that builds spill to.", unset="the vintage's staging"
    )
    build_memory: ByteCount = variable(
        "D4C_BUILD_MEMORY",
        "Memory, such as `12GB`, past which the process of a build is ended.",
        unset="nine tenths of the memory",
        unit="bytes",
    )
    build_seconds: Positive = variable(
        "D4C_BUILD_SECONDS",
        "Time after which the process of a build is ended; the largest tables of Statistics Canada take an hour on two "
        "cores.",
        default=DEFAULT_BUILD_SECONDS,
        unit="seconds",
    )
    archive: Annotated[str, Parser(_archive)] = variable(
        "D4C_ARCHIVE",
        "The archive that mints DOIs: `local`, `zenodo`, `zenodo-sandbox`, `invenio` or `datacite`; see "
        "[Zenodo](zenodo.md).",
        default=LOCAL_ARCHIVE,
    )
    archive_test: Flag = variable(
        "D4C_ARCHIVE_TEST", "The archive's DOIs are test DOIs. Those of the sandbox always are.", default=False
    )
    archive_community: str | None = variable(
        "D4C_ARCHIVE_COMMUNITY", "The community of an InvenioRDM that records are submitted to."
    )
    archive_account: str | None = variable("D4C_ARCHIVE_ACCOUNT", "DataCite's repository account.")
    doi_prefix: str | None = variable("D4C_DOI_PREFIX", "The prefix under which DataCite mints.")
    doi_resolver: _Address = variable(
        "D4C_DOI_RESOLVER", "The resolver that reports whether a DOI is registered.", unset="https://doi.org"
    )
    copies: Positive = variable(
        "D4C_COPIES",
        "Copies of each release, the archive's included; `publication.copies` of a dataset overrides it. See "
        "[Fixity](fixity.md).",
        default=DEFAULT_COPIES,
    )
    fixity_days: Positive = variable(
        "D4C_FIXITY_DAYS",
        "Time within which audits read every copy in a store in full.",
        default=DEFAULT_FIXITY_DAYS,
        unit="days",
    )
    fixity_bytes: ByteCount = variable(
        "D4C_FIXITY_BYTES", "Amount that audits may read a day, such as `200GB`.", unset="no limit", unit="bytes"
    )
    archive_token_expires: Annotated[date | None, Parser(_day)] = variable(
        "D4C_ARCHIVE_TOKEN_EXPIRES",
        "Day on which the archive's token expires, such as `2027-03-31`; `d4c todo` reports it 30 days before.",
    )
    publisher: str = variable("D4C_PUBLISHER", "The publisher in records and citations.", default=PUBLISHER)
    publisher_fr: str | None = variable(
        "D4C_PUBLISHER_FR", "The publisher's French name on the French pages of the portal.", unset="`D4C_PUBLISHER`"
    )
    contact: str | None = variable("D4C_CONTACT", "Address of mail or web, in the README of each release.")
    code_url: str | None = variable("D4C_CODE_URL", "Address at which the code that makes the data is published.")
    portal_url: _Address = variable(
        "D4C_PORTAL_URL",
        "The public address of the portal, whose server may be another than the store's; see [Portal](portal.md).",
        unset="the address of the primary store",
    )
    problems: Annotated[str | None, Parser(_problems)] = variable(
        "D4C_PROBLEMS",
        "Address at which readers report a problem: of mail, or of a web page (`{release}` is the release's name).",
        unset="`D4C_CONTACT`",
    )
    page_url: Annotated[str | None, Parser(_page)] = variable(
        "D4C_PAGE_URL",
        "The page of a dataset, such as `https://data.example.ca/{dataset}/{vintage}` (also `{version}`).",
        unset="the portal's, where `D4C_PORTAL_URL` is set",
    )

    @property
    def embedded_url(self) -> str:
        """The loopback address of `d4c serve`."""
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings from `environment`, by default the environment of the process.

        Raises PermanentError when a variable has a wrong value, including the variables of `Limits`: a command refuses
        them when it starts, not during a build.
        """
        Limits.from_environment(environment)
        settings = super().from_environment(environment)
        if settings.page_url is None and settings.portal_url is not None:
            settings = settings.model_copy(update={"page_url": f"{settings.portal_url.rstrip('/')}/{_RELEASE_PAGE}"})
        primary = settings.stores.primary
        if primary is None or primary.url is None:
            return settings
        if settings.store_url not in (None, primary.url):
            raise PermanentError(
                f"D4C_STORE_URL is '{settings.store_url}', but the document of stores says that the primary is at "
                f"{primary.url}",
                "Leave D4C_STORE_URL unset",
            )
        return settings.model_copy(update={"store_url": primary.url})


def store_root(settings: Settings) -> Path | None:
    """Return the folder of the primary store, None if it is a bucket."""
    place = settings.stores.primary
    if place is None:
        return settings.home / OWN_STORE
    return place.path if isinstance(place, FolderPlace) else None


class ArchiveSecret(EnvironmentSettings):
    """The secret of the archive, or the file that contains it."""

    token: SecretStr | None = variable(
        "D4C_ARCHIVE_TOKEN", "The archive's token, or DataCite's password; never shown, never stored."
    )
    token_file: OptionalPath = variable("D4C_ARCHIVE_TOKEN_FILE", "A file that holds the token instead.")


def archive_token(environment: Mapping[str, str] | None = None) -> str:
    """Return the archive's secret: D4C_ARCHIVE_TOKEN, or the content of the file D4C_ARCHIVE_TOKEN_FILE.

    Raises PermanentError when no secret is set, or the file can't be read.
    """
    secret = ArchiveSecret.from_environment(environment)
    token = secret.token.get_secret_value().strip() if secret.token is not None else ""
    if not token and secret.token_file is not None:
        try:
            token = secret.token_file.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PermanentError(
                "The file D4C_ARCHIVE_TOKEN_FILE names can't be read", "Check path and rights"
            ) from error
    if not token:
        raise PermanentError(
            "The archive requires a token and none is set",
            "Set D4C_ARCHIVE_TOKEN in the environment, or D4C_ARCHIVE_TOKEN_FILE to a file that holds it",
        )
    secrets.declare(token)
    return token


def has_archive_token(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether a secret of the archive is set; only this fact is ever shown."""
    secret = ArchiveSecret.from_environment(environment)
    return secret.token is not None or secret.token_file is not None
