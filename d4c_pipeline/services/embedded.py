"""The file server of the embedded default: a deployment without a public address serves its own folder.

`d4c serve` runs it for as long as an operator wants; a step that tries its own addresses runs it for that long. What
the server answers belongs to `file_server`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.workspace.archive import archive_root
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.stores import store_root


@contextmanager
def answering(deployment: Deployment) -> Iterator[str | None]:
    """Serve the addresses of the embedded default inside the block; yield why that is impossible, else None.

    A deployment with a public address is served by its operator's server, so nothing starts here. A port that another
    program holds stops no publication: a step then leaves out the addresses that it can't try.
    """
    if deployment.settings.store_url is not None:
        yield None
        return
    # One server at a time: a second worker would rely on the first server, which stops when the first worker is done.
    with deployment.ledger.leases.hold(lease_keys.EMBEDDED_SERVER), ExitStack() as server:
        reason = None
        try:
            server.enter_context(serving(mounts(deployment.settings), port=deployment.settings.port))
        except PermanentError as error:
            reason = error.cause
        yield reason


def mounts(settings: Settings) -> dict[str, Path]:
    """Return the folders that `d4c serve` serves, by path: a folder store and published local records."""
    root = store_root(settings)
    return {"/archive/records": archive_root(settings) / "records", **({} if root is None else {"/": root})}
