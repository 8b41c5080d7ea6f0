"""The file server of the embedded default, which serves the folder of a deployment without a public address.

`d4c serve` runs it until stopped; a step that tests its own addresses runs it for the duration of the test. The
answers belong to `file_server`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings, store_root
from d4c_pipeline.services.portal_files import PATHS
from d4c_pipeline.workspace.archive import archive_root
from d4c_pipeline.workspace.deployment import Deployment, portal_folder

_SHARED_SECONDS = 10.0
_TURN_SECONDS = 0.5  # a process that waits for the lease tries every 0.2 s


@contextmanager
def answering(deployment: Deployment) -> Iterator[str | None]:
    """Serve the addresses of the embedded default inside the block; yield the reason if that is impossible, else None.

    A deployment with a public address has its own server, so nothing starts here. A port in use by another program
    stops no publication: a step then omits the addresses that it can't test.
    """
    if deployment.settings.store_url is not None:
        yield None
        return
    # One server at a time: a second worker would use the first server, which stops when the first worker finishes.
    with deployment.ledger.leases.hold(lease_keys.EMBEDDED_SERVER), ExitStack() as server:
        reason = None
        try:
            from d4c_pipeline.services.file_server import serving  # noqa: PLC0415 - a web framework, needed by few runs

            server.enter_context(serving(mounts(deployment.settings), port=deployment.settings.port))
        except PermanentError as error:
            reason = error.cause
        yield reason


class SharedServer:
    """The file server for tests of many addresses, started at the first test and shared by those that follow.

    A context manager. It stops every `_SHARED_SECONDS` for a moment, so that a publication that waits for its own
    server gets it; a start for each of a thousand releases would take most of the time.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment, self._started = deployment, 0.0
        self._server, self._reason = ExitStack(), None
        self._runs = False

    def __enter__(self) -> SharedServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause()

    def silent(self) -> str | None:
        """Start the server unless it runs; return why it can't serve, else None. Raises BusyError as `answering`."""
        if self._runs and time.monotonic() - self._started > _SHARED_SECONDS:
            self.pause()
            time.sleep(_TURN_SECONDS)
        if not self._runs:
            self._reason = self._server.enter_context(answering(self._deployment))
            self._started, self._runs = time.monotonic(), True
        return self._reason

    def pause(self) -> None:
        """Stop the server until the next test: before a long read, and before waiting for the lease on a vintage.

        A publication holds the lease on its vintage while it waits for the server.
        """
        self._runs = False
        self._server.close()


def mounts(settings: Settings) -> dict[str, Path]:
    """Return the folders that `d4c serve` serves, by path: the store, the portal, the published local records."""
    root = store_root(settings)
    own = {"/archive/records": archive_root(settings) / "records", PATHS: portal_folder(settings.home)}
    return {**own, **({} if root is None else {"/": root})}
