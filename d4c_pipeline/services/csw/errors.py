"""The exceptions of OWS that a request can cause: CSW has its own reports, not problem documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from d4c_pipeline.services.problems import ProblemError

_STATUSES = {
    "OperationNotSupported": HTTPStatus.NOT_IMPLEMENTED,
    "OptionNotSupported": HTTPStatus.NOT_IMPLEMENTED,
    "NotFound": HTTPStatus.NOT_FOUND,
}


class CswError(Exception):
    """A refused request: the OWS `code`, the `locator` (the parameter that is wrong), and what to change."""

    def __init__(self, code: str, locator: str, message: str) -> None:
        super().__init__(code, locator, message)
        self.code, self.locator, self.message = code, locator, message

    @property
    def status(self) -> HTTPStatus:
        """The HTTP status in CSW 3.0; CSW 2.0.2 reports every exception with 200."""
        return _STATUSES.get(self.code, HTTPStatus.BAD_REQUEST)


def invalid(locator: str, message: str) -> CswError:
    """Return the exception of a wrong value."""
    return CswError("InvalidParameterValue", locator, message)


@contextmanager
def reported(locator: str) -> Iterator[None]:
    """Turn the problem of a filter into an exception of OWS."""
    try:
        yield
    except ProblemError as problem:
        raise invalid(locator, f"{problem.detail}. {problem.remedy}") from problem
