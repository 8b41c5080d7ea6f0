"""Registration of published DOIs with their agency, checked at the handle system that resolves them.

An archive publishes while DataCite is down and registers later, so the check is separate and repeated. API:
https://www.doi.org/doi-handbook/HTML/rest-api.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from d4c_pipeline.model.errors import D4CError, PermanentError
from d4c_pipeline.model.release import DepositState
from d4c_pipeline.transport.rest import Refusal, RestClient
from d4c_pipeline.workspace.archive import DOI_RESOLVER
from d4c_pipeline.workspace.deployment import Deployment

_FOUND = 1  # responseCode of the handle system; 100 is "handle not found", 200 "values not found"


@dataclass(frozen=True)
class Registration:
    """Whether the DOI of a release is registered."""

    release: str
    doi: str
    registered: bool


def check_registrations(deployment: Deployment) -> tuple[Registration, ...]:
    """Check every published DOI not yet known to be registered, and record the result.

    Test DOIs never resolve; they are checked only if D4C_DOI_RESOLVER names their own resolver. Raises TransientError
    when the resolver is unreachable.
    """
    settings, ledger = deployment.settings, deployment.ledger
    releases = {release.id: release for release in ledger.releases.published()}
    due = [
        deposit
        for deposit in ledger.deposits.all()
        if deposit.state is DepositState.PUBLISHED
        and deposit.registered_at is None
        and deposit.doi is not None
        and deposit.release_id in releases
        and (settings.doi_resolver is not None or not deposit.test)
    ]
    found: list[Registration] = []
    with _resolver(settings.doi_resolver or DOI_RESOLVER) as resolver:
        for deposit in due:
            doi, release = str(deposit.doi), releases[deposit.release_id]
            registered = _is_registered(resolver, doi)
            ledger.deposits.record_registration(release, registered=registered)
            found.append(Registration(release.name, doi, registered))
    return tuple(found)


def _is_registered(resolver: RestClient, doi: str) -> bool:
    answer = resolver.request("GET", f"/api/handles/{quote(doi)}", passing=(404,))
    return answer.status == 200 and answer.body.get("responseCode") == _FOUND


@contextmanager
def _resolver(address: str) -> Iterator[RestClient]:
    client = RestClient(address, None, refused=_refused)
    try:
        yield client
    finally:
        client.close()


def _refused(refusal: Refusal) -> D4CError:
    return PermanentError(
        f"The DOI resolver refuses {refusal.method} {refusal.path} ({refusal.status}: {refusal.message})",
        "Correct D4C_DOI_RESOLVER, or leave it out",
    )
