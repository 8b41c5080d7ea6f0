"""Calls on DOIs in a DataCite account: search, read, create, change, delete. Each call is safe to repeat.

Drafts, records and files belong to `client.py`, parsing responses to `answers.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any
from urllib.parse import quote

from d4c_pipeline.archives.datacite.answers import Doi, concept_of, doi_body, doi_of, hits_of
from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.transport.rest import RestClient

_PAGE = 100


class Dois:
    """The DOIs under `prefix` of `account`. Thread-safe."""

    def __init__(self, api: RestClient, account: str, prefix: str) -> None:
        self._api, self._account, self._prefix = api, account, prefix

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def search(self, query: str) -> Iterator[Doi]:
        """Return our own DOIs in the account that match a query, page by page."""
        for page in count(1):
            answer = self._api.request(
                "GET",
                "/dois",
                params={
                    "client-id": self._account.lower(),
                    "prefix": self._prefix,
                    "query": query,
                    "page[number]": page,
                    "page[size]": _PAGE,
                },
            )
            hits = hits_of(answer.body)
            yield from (doi for doi in hits if doi.name.startswith(f"{self._prefix}/d4c."))
            if len(hits) < _PAGE:
                return

    def get(self, name: str) -> Doi | None:
        """Return the DOI `name`, None if DataCite does not have it."""
        answer = self._api.request("GET", _path(name), passing=(404,))
        return None if answer.status == 404 else doi_of(answer.body)

    def open(self, name: str, attributes: Mapping[str, Any]) -> Doi:
        """Return the DOI `name`; create it as a draft if it does not exist. Safe to repeat."""
        doi = self.get(name)
        if doi is not None:
            return doi
        # 422: the DOI exists by now, perhaps from an earlier request with a lost response.
        self._api.request("POST", "/dois", body=doi_body({**attributes, "doi": name}), passing=(422,))
        doi = self.get(name)
        if doi is None:
            raise PermanentError(
                f"DataCite did not create the DOI {name}",
                f"Check that {self._account} may use the prefix {self._prefix}",
            )
        return doi

    def put(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Change the named attributes of a DOI; the others stay."""
        self._api.request("PUT", _path(name), body=doi_body({**attributes, "doi": name}))

    def delete(self, name: str) -> None:
        """Delete a draft DOI; a missing or published DOI stays as it is."""
        self._api.request("DELETE", _path(name), passing=(404, 405))

    def is_complete(self, doi: Doi) -> bool:
        """Return whether a DOI is registered and its concept lists it."""
        if doi.state == "draft":
            return False
        concept = self.get(concept_of(doi.name))
        return concept is not None and concept.state != "draft" and doi.name in concept.versions


def _path(name: str) -> str:
    return f"/dois/{quote(name, safe='')}"
