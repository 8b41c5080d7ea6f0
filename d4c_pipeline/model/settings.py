"""The settings of a deployment, read from the environment once, at the door.

Each setting is one `D4C_` variable. The archive's secret is no setting: it is read by `archive_token` where it is used,
so that nothing that shows settings can show it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.limits import Limits
from d4c_pipeline.model.stores import Stores, base_url, read_stores

DEFAULT_PORT = 8763
DEFAULT_COPIES = 3
"""The archive and two stores."""
DEFAULT_FIXITY_DAYS = 30
DEFAULT_BUILD_SECONDS = 6 * 3600
"""The largest tables of Statistics Canada take an hour on two cores."""
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]?)(i?)B", re.IGNORECASE)
_MEMORY = re.compile(r"[0-9]+(\.[0-9]+)? ?[KMGT]i?B", re.IGNORECASE)
LOCAL_ARCHIVE = "local"
ARCHIVES = (LOCAL_ARCHIVE, "zenodo", "zenodo-sandbox", "invenio", "datacite")
PUBLISHER = "Data for Canada"
"""Who publishes, in citations and records, unless the deployment says otherwise."""


@dataclass(frozen=True)
class Settings:
    """Where things lie and how they are reached.

    `home`: folder of ledger, store, archive and staging (D4C_HOME, default ./.d4c). `definitions`: folders of datasets
    beside those that are shipped (D4C_DEFS, separated like PATH). `origins`: origin -> origin that serves it instead
    (D4C_ORIGIN_MAP, `https://a=http://b,https://c=http://d`). `stores`: where releases are kept (the YAML document
    D4C_STORES; unset, a folder of the home alone). `store_url`: the public base address of the primary store (that
    document's or D4C_STORE_URL; unset, the loopback address that `d4c serve` answers on). `archive_url`: the public
    base address of the local archive (D4C_ARCHIVE_URL; unset, `/archive` of `d4c serve`, or none when the store has an
    address of its own). `port`: of `d4c serve` (D4C_PORT). `ledger_url`: an SQLAlchemy URL (D4C_LEDGER_URL; unset,
    SQLite under the home). `trackers`: announce addresses of torrents (D4C_TRACKERS, commas).
    `hybrid_torrents`: v1+v2 instead of v1 (D4C_TORRENT_HYBRID=1). `threads` (D4C_THREADS; unset, one for each core),
    `memory_limit` (D4C_MEMORY_LIMIT, `4GB`; unset, half of what there is) and `temp` (D4C_TEMP, an existing folder for
    what a build lays aside; unset, its staging): of the processing; they change the speed, never the bytes.
    `build_memory` (bytes; D4C_BUILD_MEMORY, `12GB`; unset, nine tenths of what there is) and `build_seconds`
    (D4C_BUILD_SECONDS): past which the process of a build is ended.

    `archive`: where DOIs are minted (D4C_ARCHIVE: local, zenodo, zenodo-sandbox, invenio, datacite). For all but the
    local one, `archive_url` is the server's address (known of Zenodo and DataCite). `archive_test`: its DOIs are test
    DOIs (D4C_ARCHIVE_TEST=1; always so for the sandbox). `archive_community`: the community that records are submitted
    to (D4C_ARCHIVE_COMMUNITY). `archive_account`, `doi_prefix`: of DataCite (D4C_ARCHIVE_ACCOUNT, D4C_DOI_PREFIX).
    `doi_resolver`: where it is asked whether a DOI is registered (D4C_DOI_RESOLVER; unset, https://doi.org).

    `copies`: in how many places a release should lie, the archive being one (D4C_COPIES; the YAML of a dataset goes
    before it). `fixity_days`: within how many days every copy in a store is read in full (D4C_FIXITY_DAYS).
    `fixity_bytes`: how many bytes audits may read a day (D4C_FIXITY_BYTES, `200GB`; unset, no limit).

    `publisher`, `contact`: who publishes and how they are reached (D4C_PUBLISHER, D4C_CONTACT). `code_url`: where the
    code that makes the data is published (D4C_CODE_URL). `page_url`: the page of a dataset, a template over
    `{dataset}`, `{vintage}` and `{version}` (D4C_PAGE_URL).
    """

    home: Path
    definitions: tuple[Path, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    stores: Stores = field(default_factory=Stores)
    store_url: str | None = None
    archive_url: str | None = None
    port: int = DEFAULT_PORT
    ledger_url: str | None = None
    trackers: tuple[str, ...] = ()
    hybrid_torrents: bool = False
    threads: int | None = None
    memory_limit: str | None = None
    temp: Path | None = None
    build_memory: int | None = None
    build_seconds: int = DEFAULT_BUILD_SECONDS
    archive: str = LOCAL_ARCHIVE
    archive_test: bool = False
    archive_community: str | None = None
    archive_account: str | None = None
    doi_prefix: str | None = None
    doi_resolver: str | None = None
    copies: int = DEFAULT_COPIES
    fixity_days: int = DEFAULT_FIXITY_DAYS
    fixity_bytes: int | None = None
    publisher: str = PUBLISHER
    contact: str | None = None
    code_url: str | None = None
    page_url: str | None = None

    @property
    def embedded_url(self) -> str:
        """The loopback address that `d4c serve` answers on."""
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings of `environment` (the process's own by default).

        Raises PermanentError when a variable can't be understood.
        """
        env = os.environ if environment is None else environment
        Limits.from_environment(env)  # a misfit of those is told at the door, not in the middle of a build
        stores = read_stores(Path(env["D4C_STORES"]).expanduser().absolute()) if env.get("D4C_STORES") else Stores()
        return cls(
            home=Path(env.get("D4C_HOME") or ".d4c").expanduser().absolute(),
            definitions=tuple(
                dict.fromkeys(Path(p).expanduser().absolute() for p in env.get("D4C_DEFS", "").split(os.pathsep) if p)
            ),
            origins=_origins(env.get("D4C_ORIGIN_MAP", "")),
            stores=stores,
            store_url=_store_url(_address("D4C_STORE_URL", env) or "", stores),
            archive_url=_address("D4C_ARCHIVE_URL", env),
            port=_port(env.get("D4C_PORT", "")),
            ledger_url=env.get("D4C_LEDGER_URL") or None,
            trackers=tuple(t.strip() for t in env.get("D4C_TRACKERS", "").split(",") if t.strip()),
            hybrid_torrents=_flag(env.get("D4C_TORRENT_HYBRID", "0")),
            threads=thread_count(env.get("D4C_THREADS", "")),
            memory_limit=memory_amount(env.get("D4C_MEMORY_LIMIT", "")),
            temp=temp_folder(env.get("D4C_TEMP", "")),
            build_memory=_bytes("D4C_BUILD_MEMORY", env.get("D4C_BUILD_MEMORY", "")),
            build_seconds=_whole_number("D4C_BUILD_SECONDS", env.get("D4C_BUILD_SECONDS", ""), DEFAULT_BUILD_SECONDS),
            archive=_archive(env.get("D4C_ARCHIVE", "")),
            archive_test=_flag(env.get("D4C_ARCHIVE_TEST", "0")),
            archive_community=env.get("D4C_ARCHIVE_COMMUNITY") or None,
            archive_account=env.get("D4C_ARCHIVE_ACCOUNT") or None,
            doi_prefix=env.get("D4C_DOI_PREFIX") or None,
            doi_resolver=_address("D4C_DOI_RESOLVER", env),
            copies=_whole_number("D4C_COPIES", env.get("D4C_COPIES", ""), DEFAULT_COPIES),
            fixity_days=_whole_number("D4C_FIXITY_DAYS", env.get("D4C_FIXITY_DAYS", ""), DEFAULT_FIXITY_DAYS),
            fixity_bytes=_bytes("D4C_FIXITY_BYTES", env.get("D4C_FIXITY_BYTES", "")),
            publisher=env.get("D4C_PUBLISHER") or PUBLISHER,
            contact=env.get("D4C_CONTACT") or None,
            code_url=env.get("D4C_CODE_URL") or None,
            page_url=_page(env.get("D4C_PAGE_URL", "")),
        )


def archive_token(environment: Mapping[str, str] | None = None) -> str:
    """Return the archive's secret: D4C_ARCHIVE_TOKEN, or what the file D4C_ARCHIVE_TOKEN_FILE holds.

    Raises PermanentError when there is none, or the file can't be read.
    """
    env = os.environ if environment is None else environment
    token = env.get("D4C_ARCHIVE_TOKEN", "").strip()
    file = env.get("D4C_ARCHIVE_TOKEN_FILE", "")
    if not token and file:
        try:
            token = Path(file).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise PermanentError(
                "The file D4C_ARCHIVE_TOKEN_FILE names can't be read", "Check path and rights"
            ) from error
    if not token:
        raise PermanentError(
            "The archive wants a token and none is set",
            "Put it into the environment as D4C_ARCHIVE_TOKEN, or into a file that D4C_ARCHIVE_TOKEN_FILE names",
        )
    secrets.declare(token)
    return token


def has_archive_token(environment: Mapping[str, str] | None = None) -> bool:
    """Say whether a secret of the archive is set; nothing more of it is ever shown."""
    env = os.environ if environment is None else environment
    return bool(env.get("D4C_ARCHIVE_TOKEN") or env.get("D4C_ARCHIVE_TOKEN_FILE"))


def _store_url(text: str, stores: Stores) -> str | None:
    declared = stores.primary.url if stores.primary is not None else None
    if text and declared is not None and text != declared:
        raise PermanentError(
            f"D4C_STORE_URL is '{text}', but the document of stores says that the primary is at {declared}",
            "Leave D4C_STORE_URL unset",
        )
    return declared or text or None


def _address(name: str, env: Mapping[str, str]) -> str | None:
    # The value is not repeated: it may hold a password.
    if not (text := env.get(name, "").strip()):
        return None
    try:
        return base_url(text)
    except ValueError as error:
        raise PermanentError(f"{name} can't be used: {error}", f"Correct {name}") from None


def _flag(text: str) -> bool:
    return text not in ("", "0", "false", "no")


def _archive(text: str) -> str:
    if (text or LOCAL_ARCHIVE) not in ARCHIVES:
        raise PermanentError(f"D4C_ARCHIVE is '{text}'", f"Write one of {', '.join(ARCHIVES)}")
    return text or LOCAL_ARCHIVE


def _page(text: str) -> str | None:
    try:
        text.format(dataset="d", vintage="2021", version="1.0.0")
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise PermanentError(
            f"D4C_PAGE_URL is '{text}', no template", "Use {dataset}, {vintage} and {version} in it"
        ) from error
    return text or None


def thread_count(text: str) -> int | None:
    """Return the number of threads that `text` says, None when it is empty. Raises PermanentError for other texts."""
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
    """Return the existing folder `text`, None when it is empty. Raises PermanentError when it is no folder."""
    if not text.strip():
        return None
    path = Path(text.strip()).expanduser().absolute()
    if not path.is_dir():
        raise PermanentError(f"The folder for temporary files {path} does not exist", "Make it, or correct D4C_TEMP")
    return path


def _port(text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise PermanentError(f"D4C_PORT is '{text}'", "Write a port number from 1 to 65535")
    return int(text)


def _whole_number(name: str, text: str, default: int) -> int:
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise PermanentError(f"{name} is '{text}'", "Write a whole number from 1 on")
    return int(text)


def _bytes(name: str, text: str) -> int | None:
    if not text:
        return None
    found = _BYTES.fullmatch(text.strip())
    if found is None:
        raise PermanentError(f"{name} is '{text}'", "Write an amount such as 200GB or 512MiB")
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix.upper() or " "))


def _origins(text: str) -> dict[str, str]:
    origins: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        old, separator, new = pair.partition("=")
        if not separator or "://" not in old or "://" not in new:
            raise PermanentError(
                f"D4C_ORIGIN_MAP has '{pair}'",
                "Write origin=origin pairs with commas, such as https://a.ca=http://127.0.0.1:8000",
            )
        origins[old.rstrip("/")] = new.rstrip("/")
    return origins
