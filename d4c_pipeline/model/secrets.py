"""Secrets in texts: finding and masking them before a text reaches a person, a record or a log.

Only this module defines the forms of secrets. Reading secrets belongs to `settings` and `stores`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

MASK = "***"

_SCHEME = r"(?P<scheme>[a-z][a-z0-9+.-]*://)"
# A password may contain characters that a URL encodes, such as `/` and `@`, so it ends at the last @ of the word.
# Digits and a slash after the colon are a port; `https://example.org:8080/@user` has no secret.
_USER_INFO = re.compile(
    rf"{_SCHEME}(?:[^/\s@\"<>]+@|(?:[^\s/:@\"<>?#]*:(?![0-9]{{1,5}}(?:[/?#\s]|$))[^\s\"<>]*@))", re.IGNORECASE
)
# Parameters that are secret with any value: Azure (sig), Azure API Management (subscription-key),
# AWS and Google signatures, CloudFront, and the common ones.
_NAMES = (
    r"(?:[a-z0-9]+[_.-]){0,4}?(?:(?:access|refresh|auth|id|api|user|session|sas)?[_-]?token|jwt|"
    r"api[_-]?key|app[_-]?key|auth[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key|account[_-]?key|shared[_-]?key|"
    r"subscription[_-]?key|client[_-]?secret|secret|password|passwd|passphrase|pwd|sig|signature|credentials?|"
    r"sas|hmac|awsaccesskeyid|googleaccessid|x-amz-[a-z-]+|x-goog-(?:signature|credential)|key-pair-id)"
)
_SECRET_PARAMETER = re.compile(rf"(?P<name>(?<![a-z0-9]){_NAMES}(?:=|%3d))(?P<value>[^&\s\"'<>;#]+)", re.IGNORECASE)
# Parameters that are secret if the value looks random: ?key=population is a query, ?key=AIzaSy... a secret.
_MAYBE_PARAMETER = re.compile(
    r"(?P<name>[?&](?:key|code|auth|session|sessionid|sid|hash|policy)=)(?P<value>[^&\s\"'<>;#]{16,})", re.IGNORECASE
)
_JSON_MEMBER = re.compile(rf"(?P<name>[\"']{_NAMES}[\"']\s*:\s*[\"'])(?P<value>[^\"']+)", re.IGNORECASE)
_SCHEMED = re.compile(r"(?P<name>\b(?:bearer|basic|token)\s+)(?P<value>[A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE)
_BEARER = re.compile(r"(?P<name>\bbearer\s+)\S+", re.IGNORECASE)
# The token of an unapproved release (`addresses.hidden_address`): anybody with the address can read the release.
_HIDDEN = re.compile(r"(?P<name>\bhidden/)[0-9a-f]{32}(?![0-9a-f])")
# C0 and C1 controls, lone surrogates, and bidirectional controls, which reverse a line in a terminal or a page.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

_declared: set[str] = set()
_SHORTEST = 6  # characters; masking a shorter value would mask half of every text


# Variables with secret values, such as PGPASSWORD and D4C_ARCHIVE_TOKEN.
_SECRET_VARIABLE = re.compile(
    r"(?:TOKEN|SECRET|PASSW)(?!.*_(?:FILE|PATH|DIR|URL|ENV)$)|(?:^|_)(?:KEY|AUTH|CREDENTIALS?|AUTHORIZATION)$|_PWD$",
    re.IGNORECASE,
)


class Secret(NamedTuple):
    """A secret in a text: its line number, from 1, and its kind, without its value."""

    line: int
    kind: str


# Keys with a form of their own, as their issuers document it.
_KEYS = (
    ("a private key", re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})")),
    ("a GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}")),
    ("a Slack token", re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10,}")),
    ("a Google API key", re.compile(r"\bAIza[0-9A-Za-z_-]{35}")),
    ("a Stripe key", re.compile(r"\b[rs]k_live_[0-9A-Za-z]{16,}")),
    ("a token of a package index", re.compile(r"\b(?:pypi-AgEI[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{36})")),
    ("a Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{30,}")),
    ("a JSON Web Token", re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")),
)
_ASSIGNED = re.compile(rf"(?<![a-z0-9]){_NAMES}[\"']?\s*(?:=|:|=>)\s*[\"']?(?P<value>[^\s\"',;]{{8,}})", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://[^\s\"'<>\\)\]]+", re.IGNORECASE)
_KEY_FILES = re.compile(
    r"(?:^|/)(?:\.env(?:\..+)?|id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|\.pgpass|\.git-credentials|.*\.(?:pem|key|p12|pfx|jks|kdbx|ppk))$",
    re.IGNORECASE,
)


def declare(*values: str | None) -> None:
    """Declare values secret for this process: `sanitise` masks them from now on, plain and percent-encoded."""
    for value in values:
        if value and len(value) >= _SHORTEST:
            _declared.update((value, quote(value, safe=""), quote(value)))


def declare_environment(environment: Mapping[str, str]) -> None:
    """Declare the values of variables with secret names (`D4C_ARCHIVE_TOKEN`, `PGPASSWORD`, `X_KEY`)."""
    declare(*(value for name, value in environment.items() if _SECRET_VARIABLE.search(name)))


def is_secret(name: str, value: str) -> bool:
    """Return whether the variable `name` is secret by its name, or its `value` holds credentials."""
    return _SECRET_VARIABLE.search(name) is not None or mask(value) != value


def holds_declared(text: str) -> bool:
    """Return whether `text` contains a declared secret, plain or percent-encoded."""
    return any(value in text for value in _declared)


def sanitise(text: str) -> str:
    """Return `text` without credentials and control characters.

    It masks declared secrets, user info in addresses, parameters with secret names, and tokens after Bearer. A server's
    response may reach a log or a terminal, so it is sanitised first.
    """
    return _CONTROL.sub(" ", mask(text))


def mask(text: str) -> str:
    """Return `text` without credentials, otherwise unchanged."""
    for value in sorted(_declared, key=len, reverse=True):
        text = text.replace(value, MASK)
    text = _HIDDEN.sub(rf"\g<name>{MASK}", text)
    text = _USER_INFO.sub(r"\g<scheme>", text)
    text = _SECRET_PARAMETER.sub(rf"\g<name>{MASK}", text)
    text = _JSON_MEMBER.sub(rf"\g<name>{MASK}", text)
    for pattern in (_MAYBE_PARAMETER, _SCHEMED):
        text = pattern.sub(lambda found: f"{found['name']}{MASK}" if _is_random(found["value"]) else found[0], text)
    return _BEARER.sub(rf"\g<name>{MASK}", text)


def public_address(url: str) -> str:
    """Return an address as records may name it: without secrets; for a file of this machine, its name alone."""
    if url.lower().startswith("file:"):
        return PurePosixPath(unquote(urlsplit(url).path)).name
    return mask(url)


def secret_in_address(url: str) -> str | None:
    """Return which part of an address is secret (`user info`, `the parameter sig`); None without a secret."""
    if _USER_INFO.search(url):
        return "user info"
    for pattern in (_SECRET_PARAMETER, _MAYBE_PARAMETER):
        for found in pattern.finditer(url):
            if _is_masked(found["value"]) or (pattern is _MAYBE_PARAMETER and not _is_random(found["value"])):
                continue
            return f"the parameter {re.split('=|%3d', found['name'].lstrip('?&'), flags=re.IGNORECASE)[0]}"
    return None


def secrets_in(text: str) -> Iterator[Secret]:
    """Yield the possible secrets in the text of a definition, of SQL or of a notebook."""
    for number, line in enumerate(text.splitlines(), 1):
        for kind, pattern in _KEYS:
            if pattern.search(line):
                yield Secret(number, kind)
        for found in _ADDRESS.finditer(line):
            if (part := secret_in_address(found[0])) is not None:
                yield Secret(number, f"an address with {part}")
        for found in _ASSIGNED.finditer(line):
            if _is_random(found["value"]) and not _is_masked(found["value"]):
                yield Secret(number, "a password, key or token")
        for found in _SCHEMED.finditer(line):
            if _is_random(found["value"]):
                yield Secret(number, "a token")


def is_key_file(name: str) -> bool:
    """Return whether a file with that name contains keys by convention (`.env`, `id_rsa`, `*.pem`)."""
    return _KEY_FILES.search(name) is not None


def _is_masked(value: str) -> bool:
    return set(value) <= {"*", "x", "X", "."} or value.startswith(("{", "$", "<", "%"))


def _is_random(value: str) -> bool:
    """Return whether a text looks random: one word of 12 characters or more with letters and digits mixed."""
    word = unquote(value)
    return (
        len(word) >= 12
        and re.fullmatch(r"[A-Za-z0-9+/=_.~!@#$%^*-]+", word) is not None
        and re.search(r"[0-9]", word) is not None
        and re.search(r"[A-Za-z]", word) is not None
        # Not random: an identifier in one case, the name of a variable, a time.
        and not re.fullmatch(r"[0-9a-z_]*[a-z]_[0-9a-z_]*|[0-9A-Z_]*[A-Z]_[0-9A-Z_]*|[0-9-]+T[0-9:Z-]+", word)
        and "://" not in word
    )
