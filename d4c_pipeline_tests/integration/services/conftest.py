"""What tests of the services share: one home with a catalogue of 60 releases, a server of its protocols, a provider."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from d4c_pipeline.model.settings import Settings
from d4c_pipeline_tests.support.catalogued_home import catalogued_home, served


@pytest.fixture(scope="session")
def catalogued(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with 60 published releases: 10 of a rolling series, tables, parts, one withdrawn."""
    return catalogued_home(tmp_path_factory.mktemp("services"))


@pytest.fixture(scope="session")
def services_url(catalogued: Settings) -> Iterator[str]:
    """The address of a server of the home's protocols."""
    with served(catalogued) as url:
        yield url


@pytest.fixture(scope="session")
def issuer() -> Iterator[str]:
    """The address of an OpenID provider with the users ana (verified address) and bob (specialist)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import oidc_provider_mock

        users = [
            oidc_provider_mock.User(sub="ana", claims={"email": "ana@example.ca", "email_verified": True}),
            oidc_provider_mock.User(sub="bob", claims={"email": "boss@example.ca", "roles": ["specialist"]}),
        ]
        server: AbstractContextManager[Any] = oidc_provider_mock.run_server_in_thread(user_claims=users)
        with server as running:
            yield f"http://localhost:{running.server_port}"
