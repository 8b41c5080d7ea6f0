"""Tells the address of a webhook that a job has ended: one POST, to public addresses only.

Whoever asks for a job chooses the address, so the rules for foreign addresses apply (`sources.fetch.public`): every
resolved address is public, also at the moment of the connection, and no redirect is followed.
"""

from __future__ import annotations

import logging
import socket
from http import HTTPStatus
from urllib.parse import urlsplit

import orjson
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.services.jobs.folder import Job, Outcome, State
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.sources.fetch.public import PublicHttpPool, PublicHttpsPool, require_public

_LONGEST = 2_000
_SECONDS = 10.0
_log = logging.getLogger(__name__)


def checked_callback(address: object, what: str) -> str:
    """Return the address of a webhook. Raises ProblemError (400) unless it is an http(s) address of the public web."""
    remedy = "Send an https address that the public internet reaches"
    if not isinstance(address, str) or len(address) > _LONGEST:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"{what} is no address", remedy)
    try:
        parts = urlsplit(address)
        host = parts.hostname if parts.scheme in ("http", "https") and parts.username is None else None
        if not host:
            raise ProblemError(HTTPStatus.BAD_REQUEST, f"{what} is no http(s) address", remedy)
        require_public(address)
    except ValueError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"{what} is no address", remedy) from error
    except socket.gaierror as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The host of {what} does not resolve", remedy) from error
    except SourceError as error:
        # Not which address: the names of inner hosts are nobody's business.
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"The host of {what} is not public", remedy) from error
    return address


def notify(job: Job, state: State, outcome: Outcome) -> bool:
    """Send the state of a job that ended; return whether it was accepted, True without an address for that state."""
    address = job.callbacks.get(state.value)
    if address is None:
        return True
    parts = urlsplit(address)
    pool = PublicHttpsPool if parts.scheme == "https" else PublicHttpPool
    document = {
        "jobID": job.id,
        "status": state.value,
        "rows": outcome.rows,
        "sha256": outcome.sha256 or None,
        "message": outcome.problem,
    }
    target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
    try:
        with pool(parts.hostname or "", parts.port, timeout=Timeout(total=_SECONDS), retries=False) as connection:
            answer = connection.request(
                "POST",
                target,
                body=orjson.dumps(document),
                headers={"Content-Type": "application/json"},
                redirect=False,
            )
    except (HTTPError, SourceError, OSError) as error:
        _log.warning("The webhook of job %s did not answer: %s", job.id, type(error).__name__)
        return False
    return answer.status < 400
