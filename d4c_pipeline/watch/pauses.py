"""Pausing a source: sensors report nothing of it, and no step fetches from it, until a person resumes it.

Retained files can still be processed again. The ledger keeps the pause (`ledger.pauses`).
"""

from __future__ import annotations

from d4c_pipeline.model.errors import NeedsPersonError, PermanentError
from d4c_pipeline.workspace.deployment import Deployment


class PausedError(NeedsPersonError):
    """A step would request something from a paused source."""


def pause(deployment: Deployment, subject: str, *, who: str, reason: str) -> None:
    """Pause the source of a dataset or family. Raises PermanentError without a person or a reason."""
    if not who.strip() or not reason.strip():
        raise PermanentError("A pause needs a person and a reason", "State the reason with --reason")
    deployment.ledger.pauses.pause(subject, who=who, reason=reason.strip())


def resume(deployment: Deployment, subject: str, *, who: str) -> bool:
    """End the pause of a source; return whether it was paused."""
    return deployment.ledger.pauses.resume(subject, who=who)


def refuse_paused(deployment: Deployment, subject: str) -> None:
    """Raise PausedError when the source of a dataset or family is paused."""
    paused = deployment.ledger.pauses.of(subject)
    if paused is not None:
        raise PausedError(str(paused), f"End the pause with 'd4c resume {subject}'")
