"""DataCite's REST API in this process: DOIs in three states, as its documentation describes them, over JSON:API.

Documented and kept here: a draft can be deleted and nothing else can (405); a taken DOI answers 422, a foreign prefix
403, wrong credentials 401; PUT changes the attributes it names; `publish` wants a URL and valid metadata; DOIs are
kept in lower case. Source: https://support.datacite.org/docs/doi-states and the API reference beside it.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from datacite import schema45

ACCOUNT, PASSWORD, PREFIX = "D4C.STORE", "s3cret-of-the-account", "10.5072"
_SCHEMA = set(schema45.validator.schema["properties"]) - {"event", "prefix", "suffix", "container"}


class FakeDataCite:
    """A server at `url`; `dois` is what it keeps. The next `failures` (status codes) are answered instead."""

    def __init__(self) -> None:
        self.dois: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.failures: list[tuple[str, int, bool]] = []
        """(method, status, whether the call is carried out before)."""
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.fake = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> FakeDataCite:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def state_of(self, doi: str) -> str | None:
        found = self.dois.get(doi)
        return found["state"] if found else None

    def change(self, doi: str, attributes: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        entry = self.dois.setdefault(doi, {"doi": doi, "state": "draft", "contentUrl": None})
        wanted = {**entry, **{name: value for name, value in attributes.items() if name not in ("doi", "event")}}
        event = attributes.get("event")
        if event in ("publish", "register"):
            said = {name: value for name, value in wanted.items() if name in _SCHEMA and value is not None}
            wrong = [
                {"source": ".".join(map(str, e.path)), "title": e.message} for e in schema45.validator.iter_errors(said)
            ]
            if not wanted.get("url"):
                wrong.append({"source": "url", "title": "Can't be blank"})
            if wrong:
                return 422, {"errors": wrong}
            wanted["state"] = "findable" if event == "publish" else "registered"
            wanted.setdefault("registered", datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"))
        self.dois[doi] = wanted
        return 200, document(wanted)


def document(entry: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"id": entry["doi"], "type": "dois", "attributes": entry}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def fake(self) -> FakeDataCite:
        return self.server.fake  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the class above names it
        pass

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - the names that the class above looks for

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.fake.lock:
            self.fake.calls.append(f"{self.command} {unquote(self.path)}")
            broken = next((one for one in self.fake.failures if one[0] == self.command), None)
            if broken:
                self.fake.failures.remove(broken)
            if broken and not broken[2]:
                status, answer = broken[1], {"errors": [{"title": "broken"}]}
            else:
                status, answer = self._answer(json.loads(body) if body else {})
                if broken:
                    status, answer = broken[1], {"errors": [{"title": "broken"}]}
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.api+json; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        credential = base64.b64encode(f"{ACCOUNT}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {credential}":
            return 401, {"errors": [{"status": "401", "title": "Bad credentials."}]}
        parts = urlsplit(self.path)
        doi = unquote(parts.path.removeprefix("/dois").removeprefix("/")).lower()
        attributes = body.get("data", {}).get("attributes", {})
        match self.command:
            case "POST":
                name = str(attributes["doi"]).lower()
                if not name.startswith(f"{PREFIX}/"):
                    return 403, {"errors": [{"status": "403", "title": "You are not authorized for this prefix."}]}
                if name in self.fake.dois:
                    return 422, {"errors": [{"source": "doi", "title": "This DOI has already been taken"}]}
                status, answer = self.fake.change(name, attributes)
                return (201 if status == 200 else status), answer
            case "PUT":
                return self.fake.change(doi, attributes)
            case "DELETE":
                if doi not in self.fake.dois:
                    return 404, {
                        "errors": [{"status": "404", "title": "The resource you are looking for doesn't exist."}]
                    }
                if self.fake.dois[doi]["state"] != "draft":
                    return 405, {"errors": [{"status": "405", "title": "Method not allowed"}]}
                del self.fake.dois[doi]
                return 204, None
            case _ if doi:
                found = self.fake.dois.get(doi)
                if found is None:
                    return 404, {
                        "errors": [{"status": "404", "title": "The resource you are looking for doesn't exist."}]
                    }
                return 200, document(found)
            case _:
                return 200, {"data": [document(one)["data"] for one in self._search(parse_qs(parts.query))]}

    def _search(self, asked: dict[str, list[str]]) -> list[dict[str, Any]]:
        query = asked["query"][0]
        identifier = re.fullmatch(r'alternateIdentifiers\.alternateIdentifier:"(.*)"', query)
        if identifier:
            found = [
                one
                for one in self.fake.dois.values()
                if any(i["alternateIdentifier"] == identifier[1] for i in one.get("alternateIdentifiers") or ())
            ]
        else:
            found = [one for one in self.fake.dois.values() if query == f"state:{one['state']}"]
        size, page = int(asked["page[size]"][0]), int(asked["page[number]"][0])
        return found[(page - 1) * size : page * size]
