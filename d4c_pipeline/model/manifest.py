"""The manifest of a release, `manifest.json`: its native files, parameters, code, libraries and output files.

The type `Manifest` writes and reads the document; docs/manifest.schema.json is its JSON Schema. The index under
`/processed/`, which has the same file name, belongs to `chain.latest`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from d4c_pipeline.model.addresses import is_file_name
from d4c_pipeline.model.errors import IntegrityError
from d4c_pipeline.model.release import ArtifactRole, DataSummary

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_SHOWN = 200  # characters of a name in a message


def _file_name(name: str) -> str:
    # A manifest may be a stranger's, and its files are fetched under these names: `../x` would leave the folder.
    if not is_file_name(name):
        raise ValueError(f"{name[:_SHOWN]!r} is no file name")
    return name


FileName = Annotated[str, AfterValidator(_file_name)]


class Document(BaseModel):
    """The base of JSON documents that a later version of the code has to read: unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    def to_bytes(self) -> bytes:
        """Return the document as JSON: the same bytes for the same fields. Fields that were not set are left out."""
        fields = self.model_dump(exclude_unset=True)
        return (json.dumps(fields, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


class NativeFacts(Document):
    """A native file: its address without secrets, or its name alone where it came from an operator's own folder."""

    name: FileName
    url: str
    sha256: str
    """Hexadecimal."""
    size: int
    """Bytes."""
    last_modified: str | None


class LicenceTerms(Document):
    """A licence that the definition declares in full."""

    title: str
    url: str


class DerivedFacts(Document):
    """The options of derived files and the programs that made them."""

    parameters: Mapping[str, Mapping[str, Any]] = {}
    """End of a derived file's name -> the options of the dataset."""
    tools: Mapping[str, str] = {}
    """Program -> version."""


class Output(Document):
    """A file of the release; `rows` and `bounds` are left out where they have no meaning."""

    name: FileName
    role: ArtifactRole
    sha256: str
    """Hexadecimal."""
    size: int
    """Bytes."""
    rows: int | None = None
    bounds: tuple[float, float, float, float] | None = None
    """West, south, east, north in degrees (EPSG:4326)."""


class Code(Document):
    """The code that made the release. `commit` is null outside a git checkout, `modified`: the checkout differed."""

    package: str
    version: str
    commit: str | None
    modified: bool


class Provenance(Document):
    """The code, the lock file and the libraries that made a build."""

    code: Code
    lock_sha256: str | None
    """Of `requirements.lock`, hexadecimal."""
    libraries: Mapping[str, str]
    """Library -> version."""


class Manifest(Provenance):
    """The facts that determine the bytes of a release, and its files. Addresses have no secrets, paths do not occur."""

    release: str
    """The name of the release, without the end of a file's name."""
    dataset: str
    vintage: str
    version: str
    license: str | LicenceTerms
    """An SPDX id or the id of a known licence; title and address of any other."""
    definition_sha256: str | None = None
    """Of the parts of the definition that concern data and record, hexadecimal."""
    native_files: tuple[NativeFacts, ...]
    parameters: Mapping[str, Any]
    """The options of the processing."""
    summary: DataSummary
    derived: DerivedFacts = DerivedFacts()
    outputs: tuple[Output, ...]

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Read a manifest of this or an earlier version of the code.

        Raises IntegrityError for anything else, also where the name of a file is a path.
        """
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise IntegrityError(
                f"A manifest cannot be read: {error.error_count()} errors, first {error.errors()[0]['msg']}",
                "Restore manifest.json of the release from another copy",
            ) from error


def schema_of(document: type[Document]) -> str:
    """Return the JSON Schema of a document as the text of its file in docs/."""
    return json.dumps({"$schema": _DRAFT, **document.model_json_schema()}, indent=2, sort_keys=True) + "\n"
