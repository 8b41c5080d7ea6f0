"""One walk through a deposit's life with bare requests: what an InvenioRDM answers, status by status and key by key.

The same walk is made at the fake and at a real InvenioRDM (`recorded_walk.json` is what the real one gave), so that
the fake can't drift away from what it stands for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

RECORDED = Path(__file__).with_name("recorded_walk.json")
IDENTIFIER = "urn:d4c:" + "e" * 64
_CLOSED = frozenset({"title", "description", "props", "stats", "ui"})  # vocabularies' words, counts, texts for a page


@dataclass(frozen=True)
class Seen:
    """What a step was answered: its status, and the sorted paths of the keys of its JSON."""

    step: str
    status: int
    keys: tuple[str, ...]


def metadata(**changed: Any) -> dict[str, Any]:
    """Return a whole body for a draft; `changed` fields of its metadata, None to leave one out."""
    fields: dict[str, Any] = {
        "title": "A walk",
        "resource_type": {"id": "dataset"},
        "publication_date": "2026-01-15",
        "creators": [{"person_or_org": {"type": "organizational", "name": "Statistics Canada"}}],
        "publisher": "Data for Canada",
        "description": "<p>One step after another.</p>",
        "rights": [{"id": "cc-by-4.0"}],
        "version": "1.0.0",
        "identifiers": [{"identifier": IDENTIFIER, "scheme": "urn"}],
        **changed,
    }
    return {
        "access": {"record": "public", "files": "public"},
        "files": {"enabled": True},
        "metadata": {name: value for name, value in fields.items() if value is not None},
    }


class Walk:
    """The walk at one server, with the token of a user who owns nothing else under our identifier."""

    def __init__(self, base_url: str, token: str) -> None:
        self._client = httpx.Client(
            base_url=f"{base_url}/api",
            headers={"Authorization": f"Bearer {token}", "Accept": "application/vnd.inveniordm.v1+json"},
            timeout=60.0,
        )
        self.seen: list[Seen] = []

    def step(self, name: str, method: str, path: str, **sent: Any) -> Any:
        answer = self._client.request(method, path, **sent)
        body = answer.json() if answer.content and "json" in answer.headers["Content-Type"] else None
        self.seen.append(Seen(name, answer.status_code, tuple(sorted(set(_paths(body, ""))))))
        return body

    def _content(self, draft: str, name: str, content: bytes) -> Any:
        sent = {"content": content, "headers": {"Content-Type": "application/octet-stream"}}
        return self.step(f"content {name}", "PUT", f"{draft}/files/{name}/content", **sent)

    def take(self) -> list[Seen]:
        """Make the walk."""
        self._refusals()
        record = self._first_version()
        self._second_version(record)
        self._client.close()
        return self.seen

    def _refusals(self) -> None:
        anonymous = {"Authorization": "Bearer not-a-token"}
        self.step("bad token", "POST", "/records", json=metadata(), headers=anonymous)
        self.step("bad token, own records", "GET", "/user/records", headers=anonymous)
        self.step("unknown licence", "POST", "/records", json=metadata(rights=[{"id": "no-such-licence"}]))
        self.step("licence in capitals", "POST", "/records", json=metadata(rights=[{"id": "CC-BY-4.0"}]))
        self.step("no JSON", "POST", "/records", content=b"{", headers={"Content-Type": "application/json"})
        self.step("no such draft", "GET", "/records/999999/draft")
        self.step("no such record", "GET", "/records/999999")
        thrown = self.step("create with a short title", "POST", "/records", json=metadata(title="x"))["id"]
        self.step("import into a first version", "POST", f"/records/{thrown}/draft/actions/files-import")
        self.step("delete a draft", "DELETE", f"/records/{thrown}/draft")
        self.step("delete it again", "DELETE", f"/records/{thrown}/draft")
        self.step("put a deleted draft", "PUT", f"/records/{thrown}/draft", json=metadata())
        self.step("announce in a deleted draft", "POST", f"/records/{thrown}/draft/files", json=[{"key": "a"}])

    def _first_version(self) -> str:
        record = self.step("create", "POST", "/records", json=metadata())["id"]
        draft = f"/records/{record}/draft"
        self.step("read the draft", "GET", draft)
        self.step("no record yet", "GET", f"/records/{record}")
        self.step("no new version of a draft", "POST", f"/records/{record}/versions")
        self.step("put errors", "PUT", draft, json=metadata(title="x", publication_date="yesterday"))
        self.step("put", "PUT", draft, json=metadata())
        self.step("reserve", "POST", f"{draft}/pids/doi")
        self.step("reserve again", "POST", f"{draft}/pids/doi")
        self.step("publish without files", "POST", f"{draft}/actions/publish")
        self.step("no files", "GET", f"{draft}/files")
        self.step("announce", "POST", f"{draft}/files", json=[{"key": "one.txt"}])
        self.step("announce again", "POST", f"{draft}/files", json=[{"key": "one.txt"}])
        self.step("pending file", "GET", f"{draft}/files/one.txt")
        self.step("commit before content", "POST", f"{draft}/files/one.txt/commit")
        self.step("publish with a pending file", "POST", f"{draft}/actions/publish")
        self._content(draft, "one.txt", b"one, twice")
        self._content(draft, "one.txt", b"one")
        self.step("commit", "POST", f"{draft}/files/one.txt/commit")
        self.step("commit again", "POST", f"{draft}/files/one.txt/commit")
        self._content(draft, "one.txt", b"too late")
        self.step("the file is gone", "GET", f"{draft}/files/one.txt")
        self._content(draft, "never-announced", b"x")
        for name in ("one.txt", "two.txt"):
            self.step(f"announce {name}", "POST", f"{draft}/files", json=[{"key": name}])
            self._content(draft, name, b"content of " + name.encode())
            self.step(f"commit {name}", "POST", f"{draft}/files/{name}/commit")
        self.step("announce an empty one", "POST", f"{draft}/files", json=[{"key": "empty"}])
        self._content(draft, "empty", b"")
        self.step("commit an empty one", "POST", f"{draft}/files/empty/commit")
        self.step("delete it", "DELETE", f"{draft}/files/empty")
        self.step("delete what is not there", "DELETE", f"{draft}/files/empty")
        self.step("101 files", "POST", f"{draft}/files", json=[{"key": f"f{n}"} for n in range(101)])
        self.step("list", "GET", f"{draft}/files")
        self.step("publish", "POST", f"{draft}/actions/publish")
        self.step("publish again", "POST", f"{draft}/actions/publish")
        self.step("the draft is gone", "GET", draft)
        self.step("put a published one", "PUT", draft, json=metadata())
        self.step("announce in a published one", "POST", f"{draft}/files", json=[{"key": "late.txt"}])
        self.step("delete from a published one", "DELETE", f"{draft}/files/one.txt")
        self.step("delete the draft of a published one", "DELETE", draft)
        parent = self.step("the record", "GET", f"/records/{record}")["parent"]["id"]
        self.step("by concept id", "GET", f"/records/{parent}")
        return record

    def _second_version(self, before: str) -> None:
        record = self.step("new version", "POST", f"/records/{before}/versions")["id"]
        self.step("new version again", "POST", f"/records/{before}/versions")
        draft = f"/records/{record}/draft"
        self.step("read the new version", "GET", draft)
        self.step("import", "POST", f"{draft}/actions/files-import")
        self.step("import again", "POST", f"{draft}/actions/files-import")
        self.step("delete an imported file", "DELETE", f"{draft}/files/two.txt")
        self.step("put the new version", "PUT", draft, json=metadata(version="1.0.1"))
        self.step("reserve the new version", "POST", f"{draft}/pids/doi")
        self.step("publish the new version", "POST", f"{draft}/actions/publish")
        self.step("the new record", "GET", f"/records/{record}")
        self.step("the old record", "GET", f"/records/{before}")
        self.step("open an edit", "POST", draft)
        self.step("read the edit", "GET", draft)
        self.step("discard the edit", "DELETE", draft)


def recorded() -> list[Seen]:
    """Return the walk as a real InvenioRDM answered it."""
    steps = json.loads(RECORDED.read_text("utf-8"))
    return [Seen(one["step"], one["status"], tuple(one["keys"].split())) for one in steps]


def record(seen: list[Seen]) -> None:
    """Keep a walk at a real InvenioRDM."""
    lines = ",\n".join(json.dumps({**vars(one), "keys": " ".join(one.keys)}) for one in seen)
    RECORDED.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _paths(one, f"{path}[]")
    elif isinstance(value, Mapping):
        for key, child in value.items():
            # Files stand under their names: `*` for each of them.
            below = f"{path}.{'*' if path.endswith('.entries') else key}".lstrip(".")
            yield below
            if key not in _CLOSED or path == "metadata":
                yield from _paths(child, below)
