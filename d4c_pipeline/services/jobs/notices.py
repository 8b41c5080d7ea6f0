"""Tells that a job has ended: a webhook by one POST, to public addresses only, and a user by mail.

Whoever asks for a job chooses the address of the webhook, so the rules for foreign addresses apply
(`sources.fetch.public`): every resolved address is public, also at the moment of the connection, and no redirect is
followed. Mail goes to the address of a signed-in user: nobody can have mail sent to strangers.
"""

from __future__ import annotations

import logging
import re
import socket
from http import HTTPStatus
from urllib.parse import urlsplit

import orjson
from urllib3 import Timeout
from urllib3.exceptions import HTTPError

from d4c_pipeline.model.errors import SourceError
from d4c_pipeline.services.access import Visitor
from d4c_pipeline.services.jobs.folder import Job, Outcome, State
from d4c_pipeline.services.problems import ProblemError
from d4c_pipeline.sources.fetch.public import PublicHttpPool, PublicHttpsPool, require_public
from d4c_pipeline.transport.messages import deliver, mail_to

WEBHOOK, MAIL = "webhook", "mail"
_LONGEST, _LONGEST_MAIL = 2_000, 254
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
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


def checked_mail(address: object, visitor: Visitor) -> str:
    """Return the address of the mail about a job. Raises ProblemError: 400 for no address, 403 for one of others."""
    if not isinstance(address, str) or len(address) > _LONGEST_MAIL or _MAIL.fullmatch(address) is None:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "mail is no address of mail", "Send it as name@example.ca")
    own = {each.casefold() for each in (visitor.email, visitor.user) if each}
    if address.casefold() not in own:
        raise ProblemError(
            HTTPStatus.FORBIDDEN,
            "mail is not the address of the signed-in user",
            "Sign in at /user/login with that address, or send successUri",
        )
    return address


def pending(job: Job) -> bool:
    """Return whether somebody is still to be told of the end of a job."""
    return (bool(job.callbacks) and WEBHOOK not in job.told) or (job.mail is not None and MAIL not in job.told)


def tell(job: Job, state: State, outcome: Outcome, title: str, mail_server: str | None) -> tuple[str, ...]:
    """Tell by every channel that is not done with; return those that are now. `title`: of the subset."""
    told = set(job.told)
    if WEBHOOK not in told and notify(job, state, outcome):
        told.add(WEBHOOK)
    if MAIL not in told and (job.mail is None or mail_server is None or _mailed(job, outcome, title, mail_server)):
        told.add(MAIL)
    return tuple(sorted(told))


def _mailed(job: Job, outcome: Outcome, title: str, mail_server: str) -> bool:
    subject = f"Subset {'ready' if outcome.problem is None else 'failed'}: {title} / Sous-ensemble : {title}"
    address = f"{job.base}/jobs/{job.id}"
    if outcome.problem is None:
        lines = [
            f"Your subset of {title} has {outcome.rows:,} rows:",
            f"Votre sous-ensemble de {title} compte {outcome.rows} lignes :",
            "",
            f"{address}/results",
            "",
            f"sha256 {outcome.sha256}",
        ]
    else:
        lines = [
            f"Your subset of {title} failed: {outcome.problem}. {outcome.remedy}",
            f"Votre sous-ensemble de {title} a échoué.",
            "",
            address,
        ]
    error = deliver(mail_to(mail_server, job.mail or ""), " ".join(subject.split()), "\n".join(lines))
    if error is not None:
        _log.warning("The mail about job %s was not sent: %s", job.id, error)
    return error is None


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
