"""The interface of a protocol and the registry of all protocols: a module of `services.protocols` each.

A module there has one `PROTOCOL`. `d4c serve` mounts the routes of those that the setting `D4C_SERVICES` names; nothing
else has to know a protocol.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar
from urllib.parse import urlsplit

import duckdb
from starlette.requests import Request
from starlette.routing import BaseRoute

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.service_access import ServiceAccess
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services import protocols
from d4c_pipeline.services.access import Guard, guarded
from d4c_pipeline.services.catalogue_index import CatalogueIndex, Preparation
from d4c_pipeline.services.lanes import Lane
from d4c_pipeline.services.signing import Signer, signing_key
from d4c_pipeline.workspace.stores import opened_stores

ALL, NONE = "all", "none"
_FOLDER = "services"


_Shared = TypeVar("_Shared")


@dataclass(frozen=True)
class Services:
    """What the protocols of one server share: the settings, and the index of the catalogue that they read.

    `lifetime` is closed when the server ends; `shared` makes what several protocols need once.
    """

    settings: Settings
    index: CatalogueIndex
    access: ServiceAccess = field(default_factory=ServiceAccess)
    lifetime: ExitStack = field(default_factory=ExitStack)
    _made: dict[str, Any] = field(default_factory=dict[str, Any])

    def shared(self, name: str, make: Callable[[], AbstractContextManager[_Shared]]) -> _Shared:
        """Return what `make` makes: entered at the first call with `name`, left when the server ends."""
        if name not in self._made:
            self._made[name] = self.lifetime.enter_context(make())
        return self._made[name]

    def lane(self, what: str, threads: int) -> Lane:
        """Return the lane of the work `what` in this server, made with so many `threads` at the first call."""
        return self.shared(f"lane of {what}", lambda: nullcontext(Lane(what, threads)))

    @cached_property
    def signer(self) -> Signer:
        """What signs cookies and tokens of users."""
        return Signer(self.key, self.access.token_days)

    @cached_property
    def key(self) -> str:
        """The secret of this home, or of the setting, that signatures are made with."""
        return signing_key(self.access.key_file or self.settings.home / _FOLDER / "key")

    def base_url(self, request: Request) -> str:
        """Return the public address of the services without a trailing slash: the portal's, else the request's.

        A request to the host of the store's public address has the scheme of that: TLS may end at a proxy.
        """
        if self.settings.portal_url is not None:
            return self.settings.portal_url.rstrip("/")
        store = urlsplit(self.settings.store_url or "")
        if store.netloc == request.url.netloc:
            return f"{store.scheme}://{store.netloc}"
        return str(request.base_url).rstrip("/")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A protocol that machines read the catalogue by.

    `name`: in `D4C_SERVICES`. `title`: one phrase for lists of services. `path`: the address of its entry point,
    without a leading slash. `routes`: called once when the server starts; their handlers raise `ProblemError` or a
    `D4CError` for requests that can't be fulfilled. `prepare`: tables or indexes that it adds to the index of the
    catalogue whenever that is built. `needs`: modules that an extra installs; without them the protocol is left out.
    `others`: further first parts of its addresses beside that of `path`, which a web server passes on (`nginx`).
    """

    name: str
    title: str
    path: str
    routes: Callable[[Services], Sequence[BaseRoute]]
    prepare: Callable[[duckdb.DuckDBPyConnection], None] | None = None
    needs: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        """The first part of each of its addresses."""
        return self.path.partition("/")[0], *self.others

    @property
    def is_installed(self) -> bool:
        """Whether every module of `needs` can be imported."""
        return all(find_spec(module) is not None for module in self.needs)


@cache
def all_protocols() -> Mapping[str, Protocol]:
    """Return every protocol by name, sorted. Raises ValueError when two share a name."""
    found: dict[str, Protocol] = {}
    for module in pkgutil.iter_modules(protocols.__path__):
        protocol = getattr(import_module(f"{protocols.__name__}.{module.name}"), "PROTOCOL", None)
        if protocol is None:
            continue
        if protocol.name in found:
            raise ValueError(f"Two protocols are called {protocol.name}")
        found[protocol.name] = protocol
    return dict(sorted(found.items()))


def chosen(settings: Settings) -> tuple[Protocol, ...]:
    """Return the protocols that `D4C_SERVICES` switches on.

    Raises PermanentError for an unknown name, and for a named protocol whose modules are not installed.
    """
    known, wanted = all_protocols(), settings.services
    if wanted == (NONE,):
        return ()
    if wanted == (ALL,):
        return tuple(each for each in known.values() if each.is_installed)
    if unknown := [name for name in wanted if name not in known]:
        raise PermanentError(
            f"D4C_SERVICES names {', '.join(unknown)}", f"Use {ALL}, {NONE}, or some of {', '.join(known)}"
        )
    if missing := [name for name in wanted if not known[name].is_installed]:
        raise PermanentError(
            f"D4C_SERVICES names {', '.join(missing)}, which is not installed", "Install the extra 'services'"
        )
    return tuple(known[name] for name in wanted)


def preparations(protocols: Sequence[Protocol]) -> tuple[Preparation, ...]:
    """Return what the protocols add to the index of the catalogue."""
    return tuple((each.name, each.prepare) for each in protocols if each.prepare is not None)


@contextmanager
def opened(settings: Settings) -> Iterator[list[BaseRoute]]:
    """Yield the routes of the chosen protocols while their index is kept up to date.

    Raises PermanentError as `chosen`, and when the primary store can't be opened.
    """
    protocols = chosen(settings)
    if not protocols:
        yield []
        return
    index = CatalogueIndex(opened_stores(settings)[0], settings.home / _FOLDER, preparations(protocols))
    with ExitStack() as lifetime, index:
        services = Services(settings, index, ServiceAccess.from_environment(), lifetime)
        guard = Guard(services.access, services.signer)
        yield guarded([route for each in protocols for route in each.routes(services)], guard)
