"""The file server of the embedded default, which serves the folder of a deployment without a public address.

`d4c serve` runs it until stopped; a step that tests its own addresses runs it for the duration of the test. The
answers belong to `file_server`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from d4c_pipeline.ledger import lease_keys
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings, store_root
from d4c_pipeline.services.file_server import serving
from d4c_pipeline.services.portal_files import PATHS
from d4c_pipeline.workspace.archive import archive_root
from d4c_pipeline.workspace.deployment import Deployment, portal_folder


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
            server.enter_context(serving(mounts(deployment.settings), port=deployment.settings.port))
        except PermanentError as error:
            reason = error.cause
        yield reason


def mounts(settings: Settings) -> dict[str, Path]:
    """Return the folders that `d4c serve` serves, by path: the store, the portal, the published local records."""
    root = store_root(settings)
    own = {"/archive/records": archive_root(settings) / "records", PATHS: portal_folder(settings.home)}
    return {**own, **({} if root is None else {"/": root})}
