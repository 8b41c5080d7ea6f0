"""A server of submissions alone, with clients of somebody, of a reader and of a manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.service_access import ServiceAccess
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services import file_server
from d4c_pipeline.services.access import SESSION_COOKIE, Guard, guarded
from d4c_pipeline.services.protocol import Services
from d4c_pipeline.services.protocols import submissions


@dataclass(frozen=True)
class Face:
    """A server of submissions at `url`, clients of three people, its ledger, the cookie of a manager's `session`."""

    url: str
    session: str
    client: httpx.Client
    manager: httpx.Client
    reader: httpx.Client
    ledger: Ledger


@contextmanager
def faced(home: Path) -> Iterator[Face]:
    access = ServiceAccess(managers=("mia@example.ca",), specialists=("bo",))
    services = Services(Settings(home=home), None, access)  # type: ignore[arg-type]
    with services.lifetime, closing(Ledger.in_folder(home)) as ledger:
        routes = guarded(list(submissions.PROTOCOL.routes(services)), Guard(access, services.signer))
        with file_server.serving({}, others=routes) as url:

            def client(**facts: Any) -> httpx.Client:
                cookies = {SESSION_COOKIE: services.signer.written_session(facts)} if facts else {}
                return httpx.Client(base_url=url, cookies=cookies, timeout=30)

            with (
                client() as anybody,
                client(user="mia", email="mia@example.ca") as manager,
                client(user="zoe", email=None) as reader,
            ):
                yield Face(
                    url,
                    str(manager.cookies[SESSION_COOKIE]),
                    anybody,
                    manager,
                    reader,
                    ledger,
                )
