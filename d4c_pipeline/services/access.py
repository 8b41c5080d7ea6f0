"""Who asks: the address and the user of a request, and the roles that something costly can be limited to."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request


@dataclass(frozen=True)
class Visitor:
    """The sender of a request. `user` is None for anonymous requests."""

    address: str
    user: str | None = None
    is_manager: bool = False

    @classmethod
    def of(cls, request: Request) -> Visitor:
        """Return the sender of a request."""
        return cls(request.client.host if request.client else "")

    @property
    def name(self) -> str:
        """The name that quotas count by: the user, else the address."""
        return f"user {self.user}" if self.user is not None else f"address {self.address}"

    def require(self, what: str) -> None:
        """Raise ProblemError unless the sender may have `what`."""
