"""Messages to people by mail, chat or webhook, through Apprise: one address, one message.

Whom to tell what belongs to the callers. An address is secret: no part of it is in an error or in our log.
Forms of addresses: https://appriseit.com/services/
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import quote

from d4c_pipeline.model.secrets import MASK, sanitise


def deliver(place: str, title: str, body: str) -> str | None:
    """Send a message to an address of Apprise; return why it failed, None if it was accepted."""
    import apprise  # noqa: PLC0415 - it takes a second to import, and most calls send nothing

    with _captured_log() as log:
        service = apprise.Apprise.instantiate(place)  # pyright: ignore[reportUnknownMemberType]
        if service is None:
            return "It is no address that Apprise knows"
        if service.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
            return None
    return _without(place, " ".join(log.lines)) or "The service refused it"


def mail_to(server: str, receiver: str) -> str:
    """Return the address of Apprise for one receiver of mail. `receiver`: a validated address, without white space."""
    return f"{server}{'&' if '?' in server else '?'}to={quote(receiver, safe='')}"


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(" ".join(record.getMessage().split()))


@contextmanager
def _captured_log() -> Generator[_Lines]:
    """Collect the warnings of Apprise and keep its log out of ours: it has addresses and messages."""
    logger, lines = logging.getLogger("apprise"), _Lines()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(lines)
    try:
        yield lines
    finally:
        logger.removeHandler(lines)
        logger.propagate = before


def _without(place: str, text: str) -> str:
    """Return a message of Apprise without any part of the address that may be secret."""
    for part in sorted(set(re.split(r"[/@:?&=#]+", place)), key=len, reverse=True):
        if len(part) >= 4:
            text = text.replace(part, MASK)
    return sanitise(text)
