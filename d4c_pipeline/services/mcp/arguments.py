"""What each tool takes: the JSON schema that a client reads, and the check of what it sends.

The docstring of each is the description that a client reads: what a call returns, and which tool to call before.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from d4c_pipeline.services.mcp.checked_sql import VIEW
from d4c_pipeline.services.mcp.confined import LONGEST, MOST_ROWS
from d4c_pipeline.services.problems import ProblemError

_Language = Annotated[
    Literal["en", "fr"], Field(description="The language of titles, descriptions and citations: en or fr.")
]
_Text = Annotated[str, Field(max_length=500)]
MOST_SAMPLED = 50


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Search(_Arguments):
    """Find datasets by words (English or French), place, time and facets; returns the newest release of each, ranked.

    Start here: the results have the names that the other tools take as dataset, vintage and version.
    """

    query: Annotated[_Text, Field(description="Words; leave it out to list everything, newest first.")] = ""
    language: _Language = "en"
    bbox: Annotated[
        list[float] | None,
        Field(min_length=4, max_length=4, description="West, south, east, north in degrees."),
    ] = None
    datetime: Annotated[
        _Text | None, Field(description="A date or an interval of the data, such as 2020-01-01/2021-12-31.")
    ] = None
    provider: Annotated[_Text | None, Field(description="The exact name of a provider, as facets list it.")] = None
    facets: Annotated[bool, Field(description="Whether to count values of provider, subject, region and others.")] = (
        False
    )
    limit: Annotated[int, Field(ge=1, le=50, description="Results of a page.")] = 10
    offset: Annotated[int, Field(ge=0, le=10_000, description="Results to skip.")] = 0


class _OfRelease(_Arguments):
    dataset: Annotated[_Text, Field(description="The name of a dataset, as search returns it.")]
    vintage: Annotated[_Text | None, Field(description="The date of the data; by default the newest.")] = None
    version: Annotated[_Text, Field(description="latest, 1.*, or an exact version.")] = "latest"
    language: _Language = "en"


class Describe(_OfRelease):
    """Return all facts of a release: texts, licence, citation, DOI, extent, versions, files with sha256, addresses."""


class Schema(_OfRelease):
    """Return the columns of a release with types and descriptions, its geometry and CRS. Call it before query."""


class Sample(_OfRelease):
    """Return the first rows of a release; geometry as WKT, long values cut."""

    rows: Annotated[int, Field(ge=1, le=MOST_SAMPLED, description="How many rows.")] = 5
    columns: Annotated[
        list[_Text] | None, Field(min_length=1, max_length=200, description="Some columns; by default all.")
    ] = None


class Query(_OfRelease):
    """Run one read-only SELECT over a release and return its rows, at most 500, within ten seconds.

    Filter and aggregate in SQL. Cite the release that the answer names.
    """

    sql: Annotated[
        str,
        Field(
            min_length=1,
            max_length=LONGEST,
            description=f"One SELECT of DuckDB's SQL over {VIEW}, the rows of the release. Quote names of columns that "
            'are not plain words ("name"). Geometry is of type GEOMETRY, with functions ST_...',
        ),
    ]
    limit: Annotated[int, Field(ge=1, le=MOST_ROWS, description="The most rows that are returned.")] = 100


_Given = TypeVar("_Given", bound=_Arguments)


def read(kind: type[_Given], given: dict[str, Any]) -> _Given:
    """Return the arguments of a tool. Raises ProblemError with a sentence for each argument that is wrong."""
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        causes = [
            f"{'.'.join(map(str, each['loc']))[:60] or 'the arguments'}: {each['msg'][:1].lower()}{each['msg'][1:]}"
            for each in error.errors(include_url=False, include_input=False)[:5]
        ]
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"The arguments are wrong ({'; '.join(causes)})",
            f"Send some of {', '.join(kind.model_fields)}",
        ) from error
