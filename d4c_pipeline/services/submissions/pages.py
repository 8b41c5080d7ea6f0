"""Renders the pages of submissions and definitions, in both languages: escaped everywhere, without a script, private.

The texts belong to `appraisal.words`, the routes to `protocols.submissions` and `protocols.metadata`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import Response

from d4c_pipeline.appraisal.causes import actor_in, cause_in
from d4c_pipeline.appraisal.words import Language, amount, words

STYLE = "/submissions/style.css"
_HERE = Path(__file__).parent
HEADERS: Mapping[str, str] = {
    # A page holds what a stranger wrote: nothing but our style sheet loads, and nothing runs.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "same-origin",  # a private address leaves with no link
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Vary": "Accept, Accept-Language, Cookie",
}


def language_of(request: Request, default: Language | None = None) -> Language:
    """Return the language of a page: `?lang=`, else `default`, else the first that the browser prefers."""
    asked = request.query_params.get("lang")
    if asked in ("en", "fr"):
        return "fr" if asked == "fr" else "en"
    if default is not None:
        return default
    preferred = request.headers.get("Accept-Language", "")
    return "fr" if preferred.strip().lower().startswith("fr") else "en"


def page(
    template: str,
    language: Language,
    path: str,
    status: HTTPStatus = HTTPStatus.OK,
    *,
    sheet: str = STYLE,
    **facts: Any,
) -> Response:
    """Return the page of a template; `path`: the address of the page, for the link to the other language.

    `sheet`: the address of the style sheet.
    """
    texts = words(language)
    other = "en" if language == "fr" else "fr"
    text = (
        _environment()
        .get_template(template)
        .render(t=texts, lang=language, other=other, path=path, style=sheet, **facts)
    )
    return Response(text, status, dict(HEADERS), "text/html; charset=utf-8")


def style() -> Response:
    """Return the style sheet."""
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(_style(), headers=headers, media_type="text/css; charset=utf-8")


def _cause(cause: str, language: str) -> str:
    return cause_in(language, cause)


def _actor(who: str, language: str) -> str:
    return actor_in(language, who)


@cache
def _style() -> bytes:
    return (_HERE / "style.css").read_bytes()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"amount": amount, "cause": _cause, "actor": _actor}
    return environment
