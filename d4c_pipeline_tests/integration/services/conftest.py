"""What tests of the services share: one home with a catalogue of 60 releases, a server of its protocols, a provider."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from werkzeug.serving import make_server

from d4c_pipeline.model.settings import Settings
from d4c_pipeline_tests.support.catalogued_home import catalogued_home, served
from d4c_pipeline_tests.support.home_of_releases import publish_all
from d4c_pipeline_tests.support.ports import free_port


@pytest.fixture(scope="session")
def catalogued(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with 60 published releases: 10 of a rolling series, tables, parts, one withdrawn."""
    return catalogued_home(tmp_path_factory.mktemp("services"))


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with the data files of four published datasets; tests leave no jobs in it."""
    return publish_all(tmp_path_factory.mktemp("published"), free_port())


@pytest.fixture(scope="session")
def services_url(catalogued: Settings) -> Iterator[str]:
    """The address of a server of the home's protocols."""
    with served(catalogued) as url:
        yield url


@pytest.fixture(scope="session")
def issuer() -> Iterator[str]:
    """The address of an OpenID provider with the users ana (verified address) and bob (specialist)."""
    import oidc_provider_mock  # imports Authlib, which few tests need

    users = [
        oidc_provider_mock.User(sub="ana", claims={"email": "ana@example.ca", "email_verified": True}),
        oidc_provider_mock.User(sub="bob", claims={"email": "boss@example.ca", "roles": ["specialist"]}),
    ]
    # The package's own runner fails when a loaded machine takes more than 1.5 s to stop it.
    server = make_server("localhost", 0, oidc_provider_mock.app(user_claims=users), threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
