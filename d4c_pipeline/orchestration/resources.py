"""Resources: how a run reaches the deployment. Nothing is opened or read from the environment at import.

Concept: https://docs.dagster.io/guides/build/external-resources
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from d4c_pipeline.chain.deployment import Deployment
from d4c_pipeline.model.settings import Settings


class DeploymentResource(dg.ConfigurableResource):
    """The deployment that the environment describes. `home` overrides D4C_HOME.

    `retries`: whether a transient failure of a step is tried again by Dagster; the command line says no, since its
    user is there to run it again.
    """

    home: str | None = None
    retries: bool = True

    def settings(self) -> Settings:
        """Return the settings. Raises PermanentError when a variable can't be understood."""
        override = {"D4C_HOME": self.home} if self.home else {}
        return Settings.from_environment({**os.environ, **override})

    @contextmanager
    def opened(self) -> Iterator[Deployment]:
        """Open the deployment for one step."""
        with Deployment.open(self.settings()) as deployment:
            yield deployment
