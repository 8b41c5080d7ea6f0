"""What a fake InvenioRDM remembers and what it answers, request by request, free of sockets.

Its behaviours are those of a recorded walk through InvenioRDM 14 (see `walk.py`), the odd ones included: 200 with
errors, a commit before the content that answers 500, bytes for a committed file that delete it.
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import unquote

from d4c_pipeline_tests.fakes import invenio_vocabularies as vocabularies

_PREFIX = "10.5072/zenodo."
_LICENCES = {"cc-by-4.0", "cc0-1.0", "cc-by-sa-4.0", "mit", "ogl-canada-2.0", "odbl-1.0"}
_VOCABULARIES = {
    "resource_type": {"dataset", "software", "image", "publication", "other"},
    "languages": {"eng", "fra", "deu", "spa"},
}
_SCHEMES = {"doi", "url", "urn", "ark", "handle"}
_FIELDS = frozenset(
    [
        "resource_type",
        "title",
        "additional_titles",
        "description",
        "additional_descriptions",
        "creators",
        "contributors",
        "publisher",
        "publication_date",
        "version",
        "rights",
        "subjects",
        "languages",
        "identifiers",
        "related_identifiers",
        "dates",
        "funding",
        "sizes",
        "formats",
        "locations",
        "references",
        "copyright",
    ]
)
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?(/\d{4}(-\d{2}(-\d{2})?)?)?")
_BOTH_LINKS = [
    "self",
    "self_html",
    "preview_html",
    "reserve_doi",
    "self_iiif_manifest",
    "self_iiif_sequence",
    "files",
    "media_files",
    "archive",
    "archive_media",
    "versions",
    "access_links",
    "access_grants",
    "access_users",
    "access_groups",
    "access_request",
    "access",
    "communities",
    "communities-suggestions",
    "quota_increase",
    "requests",
]


@dataclass(frozen=True)
class Reply:
    """An answer: JSON in `body`, or `content` of a file with its md5."""

    status: int
    body: Any = None
    location: str | None = None


@dataclass(frozen=True)
class Blob:
    """Bytes that arrived: where they are kept (None: nowhere, only measured), how many, their md5."""

    path: str | None
    size: int
    md5: str


@dataclass(frozen=True)
class File:
    key: str
    blob: Blob | None = None
    committed: bool = False
    file_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass
class Record:
    id: str
    parent: str
    owner: str
    index: int
    metadata: dict[str, Any]
    doi: str | None = None
    published: bool = False
    editing: bool = False
    withdrawn: bool = False
    """Taken down by the archive's managers."""
    revision: int = 4
    files: dict[str, File] = field(default_factory=dict)
    indexed_at: float = 0.0
    quota: int = 0
    """Bytes: that of the archive when the draft was opened; raising the archive's later changes nothing for it."""
    born: str = field(default_factory=lambda: datetime.now(UTC).isoformat())


class Refused(Exception):  # noqa: N818
    def __init__(self, status: int, message: str, errors: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.reply = Reply(
            status, {"status": status, "message": message, **({"errors": errors} if errors is not None else {})}
        )


class State:
    """Records, drafts and files of all users. Every request is one step under one lock."""

    def __init__(self, *, search_lag: float = 0.0, quota: int = 64 * 10**6, max_files: int = 100) -> None:
        self.lock = threading.RLock()
        self.records: dict[str, Record] = {}
        self.numbers = 0
        self.communities = {"data-for-canada"}
        self.submitted: set[tuple[str, str]] = set()
        self.search_lag, self.quota, self.max_files = search_lag, quota, max_files
        self.unreadable_when_pending = False
        self.corrupting = 0
        """How many of the next contents lose their last byte on the way into the storage."""

    def __deepcopy__(self, memo: dict[int, Any]) -> State:
        twin = State(search_lag=self.search_lag, quota=self.quota, max_files=self.max_files)
        twin.records = {
            key: replace(one, metadata=dict(one.metadata), files=dict(one.files)) for key, one in self.records.items()
        }
        twin.communities, twin.submitted = set(self.communities), set(self.submitted)
        twin.numbers, twin.unreadable_when_pending = self.numbers, self.unreadable_when_pending
        return twin

    # What tests look at

    def published(self) -> list[Record]:
        return [record for record in self.records.values() if record.published]

    def drafts(self) -> list[Record]:
        return [record for record in self.records.values() if not record.published]

    # Requests

    def answer(
        self, method: str, path: str, query: dict[str, str], user: str | None, json: Any, blob: Blob | None, base: str
    ) -> Reply:
        """Answer a request to `/api<path>`; `json` is its JSON body (or an exception when it was none)."""
        with self.lock:
            for verb, pattern, handler in self._routes():
                found = re.fullmatch(pattern, path)
                if found and verb == method:
                    try:
                        return handler(base, user, query, json, blob, *map(unquote, found.groups()))
                    except Refused as refused:
                        return refused.reply
            return Reply(404, {"status": 404, "message": "The requested URL was not found on the server."})

    def _routes(self) -> Iterator[tuple[str, str, Callable[..., Reply]]]:
        record, draft = r"/records/([^/]+)", r"/records/([^/]+)/draft"
        yield "GET", "/user/records", self._own
        yield "GET", "/funders/([^/]+)", self._funder
        yield "GET", "/records", self._public
        yield "POST", "/records", self._create
        yield "GET", record, self._read
        yield "POST", f"{record}/versions", self._new_version
        yield "POST", f"{record}/communities", self._submit
        yield "GET", draft, self._read_draft
        yield "PUT", draft, self._put
        yield "POST", draft, self._edit
        yield "DELETE", draft, self._delete
        yield "POST", f"{draft}/pids/doi", self._reserve
        yield "GET", f"{draft}/files", self._list
        yield "POST", f"{draft}/files", self._announce
        yield "GET", f"{draft}/files/([^/]+)", self._file
        yield "DELETE", f"{draft}/files/([^/]+)", self._delete_file
        yield "PUT", f"{draft}/files/([^/]+)/content", self._content
        yield "POST", f"{draft}/files/([^/]+)/commit", self._commit
        yield "POST", f"{draft}/actions/files-import", self._import
        yield "POST", f"{draft}/actions/publish", self._publish

    def _own(self, base: str, user: str | None, query: dict[str, str], *_: Any) -> Reply:
        if user is None:
            raise Refused(403, "Permission denied.")
        return self._hits(base, query, lambda record: record.owner == user)

    def _public(self, base: str, _user: str | None, query: dict[str, str], *_: Any) -> Reply:
        return self._hits(base, query, lambda record: record.published)

    def _hits(self, base: str, query: dict[str, str], may: Callable[[Record], bool]) -> Reply:
        words = query.get("q", "")
        found = [
            record
            for record in self.records.values()
            if may(record) and record.indexed_at <= time.monotonic() and _matches(record, words)
        ]
        page, size = int(query.get("page", 1)), int(query.get("size", 25))
        hits = [self._shown(record, base) for record in found[(page - 1) * size : page * size]]
        links = {"self": f"{base}/api/records"}
        body = {"hits": {"hits": hits, "total": len(found)}, "aggregations": {}, "sortBy": "newest", "links": links}
        return Reply(200, body)

    def _funder(self, _base: str, _user: Any, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        if key != vocabularies.FUNDER:
            raise Refused(404, "The persistent identifier does not exist.")
        return Reply(200, {"id": key, "name": "Natural Sciences and Engineering Research Council"})

    def _create(self, base: str, user: str | None, _query: Any, json: Any, *_: Any) -> Reply:
        if user is None:
            raise Refused(403, "Permission denied.")
        kept, errors = _taken(_object(json))
        parent = self._number()
        record = Record(self._number(), parent, user, 1, kept, quota=self.quota)
        self.records[record.id] = record
        self._index(record)
        return Reply(201, self._shown(record, base, errors=errors))

    def _read(self, base: str, _user: Any, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        record = self.records.get(key)
        if record is None:
            newest = [one for one in self.published() if one.parent == key]
            if newest:
                return Reply(302, None, location=f"/api/records/{max(newest, key=lambda one: one.index).id}")
            raise Refused(404, "The persistent identifier does not exist.")
        if not record.published:
            raise Refused(404, "The persistent identifier is not registered.")
        if record.withdrawn:
            raise Refused(410, "Record deleted")
        return Reply(200, self._shown(record, base, with_file_links=True))

    def _new_version(self, base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        before = self.records.get(key)
        if before is None or not before.published:
            raise Refused(404, f"The persistent identifier {'is not registered' if before else 'does not exist'}.")
        if before.owner != user:
            raise Refused(403, "Permission denied.")
        for record in self.drafts():
            if record.parent == before.parent:
                return Reply(201, self._shown(record, base, expanded=False))
        newest = max((one for one in self.published() if one.parent == before.parent), key=lambda one: one.index)
        kept = {key: value for key, value in newest.metadata.items() if key != "version"}
        kept["publication_date"] = date.today().isoformat()  # noqa: DTZ011
        record = Record(self._number(), before.parent, user, newest.index + 1, kept, quota=self.quota)
        self.records[record.id] = record
        self._index(record)
        return Reply(201, self._shown(record, base))

    def _submit(self, _base: str, user: str | None, _query: Any, json: Any, _blob: Any, key: str) -> Reply:
        record = self.records.get(key)
        if record is None or record.owner != user:
            raise Refused(403, "Permission denied.")
        processed: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for name in (one["id"] for one in json["communities"]):
            if name not in self.communities:
                errors.append({"community_id": name, "message": "Community not found."})
            elif (key, name) in self.submitted:
                text = "There is already an open inclusion request for this community."
                errors.append({"community_id": name, "message": text})
            else:
                self.submitted.add((key, name))
                processed.append({"community_id": name, "request": {"id": f"{key}-{name}", "is_open": True}})
        named = {"processed": processed, "errors": errors}
        return Reply(200 if processed else 400, {name: value for name, value in named.items() if value})

    def _read_draft(self, base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        record = self._draft(key, user, gone="The persistent identifier does not exist.")
        if self.unreadable_when_pending and any(not file.committed for file in record.files.values()):
            raise Refused(500, "The server encountered an internal error and was unable to complete your request.")
        return Reply(200, self._shown(record, base, as_draft=True))

    def _put(self, base: str, user: str | None, _query: Any, json: Any, _blob: Any, key: str) -> Reply:
        record = self._draft(key, user)
        record.metadata, errors = _taken(_object(json))
        if not record.files:
            errors = [*errors, _error("files.enabled", "Missing uploaded files.")]
        record.revision += 2
        self._index(record)
        return Reply(200, self._shown(record, base, as_draft=True, errors=errors))

    def _edit(self, base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        record = self.records.get(key)
        if record is None or not record.published:
            raise Refused(404, "Not found.")
        if record.owner != user:
            raise Refused(403, "Permission denied.")
        record.editing = True
        return Reply(201, self._shown(record, base, as_draft=True))

    def _delete(self, _base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        record = self._draft(key, user, gone="The persistent identifier does not exist.")
        if record.published:
            record.editing = False
        else:
            del self.records[key]
        return Reply(204)

    def _reserve(self, base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        record = self._draft(key, user)
        if record.doi is not None:
            raise _invalid("pids.doi", "A PID already exists for type doi")
        record.doi = f"{_PREFIX}{record.id}"
        return Reply(201, self._shown(record, base))

    def _list(self, base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        return Reply(200, self._listed(self._draft(key, user), base))

    def _announce(self, base: str, user: str | None, _query: Any, json: Any, _blob: Any, key: str) -> Reply:
        record = self._draft(key, user)
        names = [entry["key"] for entry in json]
        if len(record.files) + len(names) > self.max_files:
            raise Refused(400, "Uploading selected files will result in exceeding the max amount per record.")
        for name in names:
            if name in record.files:
                raise Refused(400, f"File with key {name} already exists.")
        record.files.update({name: File(name) for name in names})
        return Reply(201, self._listed(record, base))

    def _file(self, base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str, name: str) -> Reply:
        record = self._draft(key, user)
        return Reply(200, _entry(record, self._file_of(record, name), base))

    def _delete_file(self, _b: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str, n: str) -> Reply:
        record = self._draft(key, user)
        self._file_of(record, n)
        del record.files[n]
        return Reply(204)

    def _content(self, base: str, user: str | None, _q: Any, _json: Any, blob: Blob | None, key: str, n: str) -> Reply:
        record = self._draft(key, user)
        file = self._file_of(record, n)
        assert blob is not None
        if file.committed:
            del record.files[n]
            return Reply(200, {**_entry(record, file, base), "errors": "File upload transfer failed."})
        others = sum(one.blob.size for one in record.files.values() if one.blob is not None and one.key != n)
        if others + blob.size > record.quota:
            raise Refused(400, "Bucket quota exceeded.")
        if self.corrupting:
            self.corrupting -= 1
            blob = replace(blob, md5="0" * 32, size=blob.size - 1)
        record.files[n] = replace(file, blob=blob)
        return Reply(200, _entry(record, replace(file, blob=None), base))

    def _commit(self, base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str, name: str) -> Reply:
        record = self._draft(key, user)
        file = self._file_of(record, name)
        if file.blob is None:
            raise Refused(500, "The server encountered an internal error and was unable to complete your request.")
        if not file.blob.size:
            raise Refused(400, "Empty files are not accepted.")
        record.files[name] = replace(file, committed=True)
        return Reply(200, _entry(record, record.files[name], base))

    def _import(self, base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        record = self._draft(key, user)
        before = [one for one in self.published() if one.parent == record.parent]
        if not before:
            raise Refused(404, "Not found.")
        if record.files:
            raise _invalid("files.enabled", "Please remove all files first.")
        record.files = dict(max(before, key=lambda one: one.index).files)
        return Reply(201, self._listed(record, base))

    def _publish(self, base: str, user: str | None, _query: Any, _json: Any, _blob: Any, key: str) -> Reply:
        record = self._draft(key, user)
        missing = [
            name for name in ("resource_type", "creators", "publication_date", "title") if name not in record.metadata
        ]
        if missing:
            errors = [_error(f"metadata.{name}", "Missing data for required field.") for name in missing]
            raise Refused(400, "A validation error occurred.", errors)
        if not record.files:
            text = "Missing uploaded files. To disable files for this record please mark it as metadata-only."
            raise _invalid("files.enabled", text)
        if any(not file.committed for file in record.files.values()):
            raise _invalid("files", "One or more files have not completed their transfer, please wait.")
        record.doi = record.doi or f"{_PREFIX}{record.id}"
        if not record.published:
            record.born = datetime.now(UTC).isoformat()  # of the record; its draft was born earlier
        record.published, record.editing = True, False
        self._index(record)
        return Reply(202, self._shown(record, base))

    # What they share

    def _number(self) -> str:
        self.numbers += 1
        return str(self.numbers)

    def _index(self, record: Record) -> None:
        record.indexed_at = time.monotonic() + self.search_lag

    def _draft(self, key: str, user: str | None, gone: str | None = None) -> Record:
        record = self.records.get(key)
        if record is None:
            raise Refused(404, "The persistent identifier does not exist.")
        if record.owner != user:
            raise Refused(403, "Permission denied.")
        if record.published and not record.editing:
            raise Refused(404, gone or "Not found.")
        return record

    def _file_of(self, record: Record, name: str) -> File:
        if name not in record.files:
            raise Refused(404, f"Record '{record.id}' has no file '{name}'.")
        return record.files[name]

    def _listed(self, record: Record, base: str) -> dict[str, Any]:
        files = f"{base}/api/records/{record.id}/draft/files"
        return {
            "enabled": True,
            "links": {"self": files, "archive": f"{files}-archive"},
            "entries": [_entry(record, file, base) for file in record.files.values()],
            "default_preview": None,
            "order": [],
        }

    def _shown(
        self,
        record: Record,
        base: str,
        *,
        as_draft: bool = False,
        expanded: bool = True,
        with_file_links: bool = False,
        errors: list[dict[str, Any]] | None = None,
    ) -> dict[str, Any]:
        published = record.published and not as_draft
        versions = [one for one in self.published() if one.parent == record.parent]
        newest = max((one.index for one in versions), default=0)
        files = {
            name: _summary(record, file, base, links=with_file_links)
            for name, file in record.files.items()
            if file.committed and file.blob is not None
        }
        settings = dict.fromkeys(("allow_user_requests", "allow_guest_requests"), False)
        body = {
            "id": record.id,
            "created": record.born,
            "updated": record.born,
            "links": _links(record, base, published=published, later=bool(versions)),
            "revision_id": record.revision,
            "parent": {
                "id": record.parent,
                "access": {
                    "grants": [],
                    "owned_by": {"user": record.owner},
                    "links": [],
                    "settings": {**settings, "accept_conditions_text": None, "secret_link_expiration": 0},
                },
                "communities": {},
                "pids": {"doi": _pid(f"{_PREFIX}{record.parent}")} if versions else {},
            },
            "versions": {
                "is_latest": record.published and record.index == newest,
                "is_latest_draft": all(
                    record.index >= one.index for one in self.records.values() if one.parent == record.parent
                ),
                "index": record.index,
            },
            "is_published": record.published,
            "is_draft": not published,
            "pids": _pids(record),
            "metadata": _expanded(record.metadata) if expanded else dict(record.metadata),
            "custom_fields": {},
            "access": {
                "record": "public",
                "files": "public",
                "embargo": {"active": False, "reason": None},
                "status": "open",
            },
            "files": _counted(files),
            "media_files": {**_counted({}), "enabled": False},
            "ui": {},
        }
        if published:
            body |= {"status": "published", "deletion_status": {"is_deleted": False, "status": "P"}, "stats": {}}
        else:
            body |= {"status": "draft" if record.index == 1 else "new_version_draft", "expires_at": record.born}
        return body | ({"errors": errors} if errors else {})


def _counted(files: dict[str, Any]) -> dict[str, Any]:
    total = sum(file["size"] for file in files.values())
    return {"enabled": True, "order": [], "count": len(files), "total_bytes": total, "entries": files}


def _summary(record: Record, file: File, base: str, *, links: bool) -> dict[str, Any]:
    entry = _entry(record, file, base)
    kept = {name: entry[name] for name in ("checksum", "size", "mimetype", "storage_class", "key", "access")}
    own = f"{base}/api/records/{record.id}/files/{file.key}"
    shown = {**kept, "id": file.file_id, "ext": file.key.rpartition(".")[2], "metadata": {}}
    return shown | ({"links": {"self": own, "content": f"{own}/content"}} if links else {})


def _entry(record: Record, file: File, base: str) -> dict[str, Any]:
    own = f"{base}/api/records/{record.id}/draft/files/{file.key}"
    entry: dict[str, Any] = {
        "created": record.born,
        "updated": record.born,
        "metadata": None,
        "access": {"hidden": False},
        "links": {"self": own, "content": f"{own}/content", "commit": f"{own}/commit"},
        "key": file.key,
        "transfer": {"type": "L"},
        "status": "completed" if file.committed else "pending",
    }
    if file.committed and file.blob is not None:
        entry |= {
            "mimetype": "application/octet-stream",
            "version_id": file.file_id,
            "file_id": file.file_id,
            "bucket_id": record.id,
            "checksum": f"md5:{file.blob.md5}",
            "size": file.blob.size,
            "storage_class": "L",
        }
    return entry


def _links(record: Record, base: str, *, published: bool, later: bool) -> dict[str, str]:
    names = list(_BOTH_LINKS)
    if record.published:
        names += ["file_modification", "request_deletion"]
    if record.doi is not None:
        names += ["doi", "self_doi"]
    if later or record.published:
        names += ["parent_doi", "parent_doi_html"]
    if published:
        names += ["draft", "latest", "latest_html", "parent", "parent_html", "self_doi_html"]
    else:
        names += ["publish", "record", "record_html", "review"]
    return {name: f"{base}/api/records/{record.id}#{name}" for name in names}


def _pid(doi: str) -> dict[str, str]:
    return {"identifier": doi, "provider": "datacite", "client": "datacite"}


def _pids(record: Record) -> dict[str, Any]:
    pids: dict[str, Any] = {} if record.doi is None else {"doi": _pid(record.doi)}
    if record.published:
        pids["oai"] = {"identifier": f"oai:fake:{record.id}", "provider": "oai"}
    return pids


def _matches(record: Record, words: str) -> bool:
    found = re.fullmatch(r'([\w.]+):"?([^"]*)"?', words)
    if not words:
        return True
    if not found:
        return False
    if found[1] == "is_published":
        return str(record.published).lower() == found[2]
    if found[1] == "metadata.identifiers.identifier":
        return any(one["identifier"] == found[2] for one in record.metadata.get("identifiers", []))
    return False


def _expanded(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata with the vocabularies' own words beside the ids, as most answers have them."""
    shown = dict(metadata)
    if "resource_type" in shown:
        shown["resource_type"] = {**shown["resource_type"], "title": {"en": "Dataset"}}
    if "rights" in shown:
        words = {"title": {"en": ""}, "description": {"en": ""}, "icon": "", "props": {}}
        shown["rights"] = [words | one if "id" in one else one for one in shown["rights"]]
    return shown


def _object(json: Any) -> dict[str, Any]:
    if not isinstance(json, dict):
        raise Refused(400, "Unable to decode JSON data in request body.")
    return json.get("metadata", {})


def _taken(sent: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the metadata that are kept and the errors about the others. Unknown ids are a hard refusal."""
    asked = [("rights", one["id"], _LICENCES) for one in sent.get("rights", []) if "id" in one]
    asked += [("languages", one["id"], _VOCABULARIES["languages"]) for one in sent.get("languages", [])]
    if "resource_type" in sent:
        asked.append(("resource_type", sent["resource_type"]["id"], _VOCABULARIES["resource_type"]))
    asked += [("role", one["role"]["id"], vocabularies.ROLES) for one in sent.get("contributors", [])]
    asked += [
        ("relation", one["relation_type"]["id"], vocabularies.RELATIONS) for one in sent.get("related_identifiers", [])
    ]
    asked += [("type", one["type"]["id"], vocabularies.DESCRIPTIONS) for one in sent.get("additional_descriptions", [])]
    asked += [
        ("funder", one["funder"]["id"], {vocabularies.FUNDER})
        for one in sent.get("funding", [])
        if "id" in one["funder"]
    ]
    for _, identifier, known in asked:
        if identifier not in known:
            raise Refused(400, f"Invalid value {identifier}.")
    kept = {name: value for name, value in sent.items() if value not in (None, [], "")}
    errors: list[dict[str, Any]] = []
    if "title" in kept and len(kept["title"]) < 3:
        errors.append(_error("metadata.title", "Shorter than minimum length 3."))
        del kept["title"]
    if "publication_date" in kept and not _DATE.fullmatch(kept["publication_date"]):
        errors.append(_error("metadata.publication_date", "Please provide a valid date or interval."))
        del kept["publication_date"]
    for name in sorted(set(kept) - _FIELDS):
        errors.append(_error(f"metadata.{name}", "Unknown field."))
        del kept[name]
    for number, one in enumerate(kept.get("rights", [])):
        if len(one.get("title", {})) > 1:
            errors.append(_error(f"metadata.rights.{number}.title", "Only one value is accepted."))
    for number, one in enumerate(kept.get("related_identifiers", [])):
        if one["scheme"] not in _SCHEMES or (one["scheme"] == "url" and not one["identifier"].startswith("http")):
            place = f"metadata.related_identifiers.{number}.identifier"
            errors.append(_error(place, f"Invalid {one['scheme']} identifier."))
    for number, one in enumerate(kept.get("funding", [])):
        award = one.get("award")
        if award is not None and not (award.get("number") or award.get("title")):
            text = "An existing id or either number or title must be present."
            errors.append(_error(f"metadata.funding.{number}.award", text))
    if "publisher" not in kept:
        errors.append(_error("metadata.publisher", "Missing publisher field required for DOI registration."))
    return kept, errors


def _error(field_name: str, message: str) -> dict[str, Any]:
    return {"field": field_name, "messages": [message]}


def _invalid(field_name: str, message: str) -> Refused:
    return Refused(400, "A validation error occurred.", [_error(field_name, message)])
