"""What the fork server imports before it forks the first run (`forked_runs`). Nothing else imports this module.

Here belong modules that runs import late, and the process that forks the servers of builds. Nothing here starts a
thread or opens a connection: a fork would share it.
"""

from __future__ import annotations

import gc
import pkgutil
from importlib import import_module

from PIL import Image

from d4c_pipeline import chain
from d4c_pipeline.portal.pages import compile_templates
from d4c_pipeline.processing import checks
from d4c_pipeline.sandbox import call
from d4c_pipeline.workspace.code_archive import pack_own_code

_MODULES = (
    "alembic.command",
    "anyio._backends._asyncio",
    "dagster._cli",
    "dagster._core.execution.plan.active",
    "dagster._core.executor.in_process",
    "dagster._core.instance.factory",
    "dagster._core.storage.event_log",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.migration.utils",
    "dagster._core.storage.root",
    "dagster._core.storage.sqlite_storage",
    "dagster._core.workspace.autodiscovery",
    "dagster._daemon.controller",
    "dagster._grpc.impl",
    "dagster._utils.test.definitions",
    "d4c_pipeline.definitions",
    "d4c_pipeline.processing.preview",
    "d4c_pipeline.processing.profile",
    "d4c_pipeline.review.changes",
    "d4c_pipeline.review.verdicts",
    "d4c_pipeline.services.file_server",
    "geopandas",
    "httpcore",
    "libtorrent",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "tenacity",
    "upath.implementations.local",
    "uvicorn.lifespan.off",
    "uvicorn.loops.uvloop",
)
for _name in (
    *_MODULES,
    *(f"{room.__name__}.{it.name}" for room in (chain, checks) for it in pkgutil.iter_modules(room.__path__)),
):
    import_module(_name)
Image.preinit()
compile_templates()
pack_own_code()
call.share_servers()
gc.freeze()  # the collector of a fork leaves loaded objects alone, whose pages it would copy
