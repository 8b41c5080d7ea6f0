"""The Content Security Policy of the portal: nothing inline, no other origin than the portal's and the stores'."""

from __future__ import annotations

from collections.abc import Iterable

PAGE_CACHE = "no-cache"
"""A page may be cached, and is revalidated by its ETag each time."""


def policy(stores: Iterable[str]) -> str:
    """Return the policy of the `meta` element of each page; `stores`: origins of the stores that pages read."""
    places = " ".join(["'self'", *sorted(set(stores))])
    return "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            f"img-src {places} data: blob:",
            "font-src 'self'",
            f"connect-src {places}",
            "worker-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
        ]
    )


HEADER = f"{policy(['http:', 'https:'])}; frame-ancestors 'none'"
"""The policy as a header, the same for all deployments. Browsers enforce it together with that of the page, which names
the stores; `frame-ancestors` works as a header only."""
