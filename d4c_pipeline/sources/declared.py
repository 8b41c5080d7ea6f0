"""Base classes of all sources: declaration, vintages, refusal of a replaced vintage, HTTP client.

Requests, listings and the date of a vintage belong to the module of the protocol.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Generic, TypeVar

from d4c_pipeline.model.described import Described
from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.model.sources import FolderSource
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.sources.fetch.web import Web, WebDeclaration, web_of
from d4c_pipeline.transport.patience import Patience

Declaration = TypeVar("Declaration", bound=WebDeclaration | FolderSource)
OnTheWeb = TypeVar("OnTheWeb", bound=WebDeclaration)


class DeclaredSource(ABC, Generic[Declaration]):
    """A `Source` (see `port.py`) of declared vintages, or of those that `_discovered` finds.

    `vintages`: the declared vintages, None if they are discovered.
    """

    def __init__(self, declared: Declaration, *, vintages: Sequence[Vintage] | None = None) -> None:
        self._declared = declared
        self._vintages = None if vintages is None else tuple(vintages)

    @property
    def document(self) -> str | None:
        """Return None. See `Source.document`."""
        return None

    def discover(self) -> tuple[Vintage, ...]:
        """Return the declared vintages, or the vintages that the source serves now. See `Source.discover`."""
        return self._vintages if self._vintages is not None else self._discovered()

    def content(self, vintage: Vintage) -> str | None:
        """Return None. See `Source.content`."""
        return None

    def describe(self, vintage: Vintage) -> Described | None:
        """Return None. See `Source.describe`."""
        return None

    @abstractmethod
    def _discovered(self) -> tuple[Vintage, ...]:
        """Return the vintages that the source serves now, oldest first; never empty."""

    @property
    def _is_current_only(self) -> bool:
        """Whether the source serves only its current vintage, which the declaration leaves open."""
        return self._vintages is None and not self._declared.lists_vintages

    def _require_served(self, vintage: Vintage, served: Callable[[], Vintage], place: str) -> None:
        """Raise SourceError when a source of one vintage serves another vintage; `served` runs for no other source."""
        if self._is_current_only and (now := served()) != vintage:
            raise SourceError(
                f"{place} serves vintage {now} now, not {vintage}",
                f"Publish vintage {now}; an earlier vintage can only be published from its retained native files",
            )


class WebSource(DeclaredSource[OnTheWeb]):
    """A `DeclaredSource` over HTTP.

    `origins`: origin -> origin that serves it instead. `patience`: overrides the declared time-outs. `pause` is called
    with the seconds to wait between attempts. `guarded`: a stranger wrote the declaration, so that its own addresses
    must be public as well.
    """

    guarded: bool = False

    def __init__(
        self,
        declared: OnTheWeb,
        *,
        origins: Mapping[str, str],
        vintages: Sequence[Vintage] | None = None,
        patience: Patience | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(declared, vintages=vintages)
        self._origins = origins
        self._patience = patience
        self._pause = pause

    @abstractmethod
    def _addresses(self) -> tuple[str, ...]:
        """Return the declared addresses: their origins get the credentials and may be private."""

    @cached_property
    def _web(self) -> Web:
        return self._web_of(self._addresses())

    def _web_of(self, addresses: tuple[str, ...]) -> Web:
        return web_of(addresses, self._declared, origins=self._origins, patience=self._patience, guarded=self.guarded)
