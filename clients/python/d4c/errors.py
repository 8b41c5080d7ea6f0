"""The errors and the warning of the client: each says what happened and what to do.

Reasons of a single mirror belong to `mirrors`; they reach the caller inside these errors.
"""

from __future__ import annotations

UPDATE = "Install a newer d4c-client; if there is none, tell the publisher"
"""The remedy for what only a later form of the catalogue would explain."""


class D4CError(Exception):
    """A failure with its `cause` and its `remedy`."""

    def __init__(self, cause: str, remedy: str) -> None:
        self.cause, self.remedy = cause.rstrip("."), remedy.rstrip(".")
        super().__init__(f"{self.cause}. {self.remedy}.")


class UnknownNameError(D4CError):
    """No dataset, vintage, version or part of this name is in the catalogue."""


class WithdrawnError(D4CError):
    """The release was withdrawn by its publisher; `reason` is the publisher's."""

    def __init__(self, cause: str, remedy: str, reason: str) -> None:
        self.reason = reason
        super().__init__(cause, remedy)


class IntegrityError(D4CError):
    """Bytes or statements differ from what was published."""


class UnreachableError(D4CError):
    """No mirror delivered what was asked for."""


class FormError(D4CError):
    """A catalogue or a lock file has a form that this client does not know."""


class MissingError(D4CError):
    """The release does not have this: no geometry, no file of changes, no such citation."""


class D4CWarning(UserWarning):
    """The answer is right, and something about it needs attention: a mirror that lies, a test DOI, an old catalogue."""
