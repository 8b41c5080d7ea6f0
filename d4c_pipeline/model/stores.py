"""The stores of a deployment, as the document at D4C_STORES declares them: one primary, any number of mirrors.

The document contains no secret: it names an environment variable or a file, and `secret` reads the secret at the point
of use. Opening a store belongs to `workspace.stores`, the operations of stores to the room `stores`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from d4c_pipeline.model import secrets
from d4c_pipeline.model.declared import Declared, WebUrl, full_match
from d4c_pipeline.model.errors import PermanentError

PRIMARY = "primary"
"""The name of the primary store, in the ledger too, unless the document gives it another."""

_SECRETS = ("access_key", "secret_key")
StoreName = Annotated[str, full_match(r"[a-z0-9][a-z0-9-]{0,59}", "a name (small letters, digits and hyphens)")]


def base_url(url: str) -> str:
    """Return `url`, the address in front of other addresses, without slashes at its end.

    Raises ValueError for an address that is not http(s) or has a user, a password, a query or a fragment: it appears in
    public records, and `url/address` must be an address too.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port  # a port that is not a number raises
    except ValueError:
        # Python's words repeat what it took for a port: a password, where its @ is missing or it has a slash.
        raise ValueError("it is not an address: its host or port can't be read") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("write an http(s) address such as https://data.example.org")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError("no spaces stand in an address")
    if "@" in parts.netloc:
        raise ValueError("no user or password stands in an address")
    if "?" in url or "#" in url:
        raise ValueError("no query (?) or fragment (#) stands in a base address")
    return url.rstrip("/")


BaseUrl = Annotated[WebUrl, AfterValidator(base_url)]


def _no_slashes_around(text: str) -> str:
    if any(not part or part.startswith(".") for part in text.split("/")) and text:
        raise ValueError("write it without slashes at its ends and without dots, such as open-data/d4c")
    return text


class _Store(Declared):
    """`name`: the store's name in the ledger and in messages. `url`: the public address in front of each address."""

    name: StoreName = PRIMARY
    url: BaseUrl | None = None


class FolderPlace(_Store):
    """A folder that a server publishes at `url`; `d4c serve` serves a primary without `url`, on loopback.

    `path` is absolute, or relative to the document; `~` is the user's home folder.
    """

    kind: Literal["folder"]
    path: Path


class S3Place(_Store):
    """A bucket at AWS or, with `endpoint`, at another S3 server. Without `prefix`, the complete bucket.

    `addressing`: whether the bucket's name is in the path or in the host name. `access_key_env` and `secret_key_env`
    (variables) or `access_key_file` and `secret_key_file` name the key; without them the key comes from the usual
    places of AWS tools, from `profile` if it is declared.
    """

    kind: Literal["s3"]
    bucket: str = Field(min_length=3, max_length=255)
    prefix: Annotated[str, AfterValidator(_no_slashes_around)] = ""
    endpoint: BaseUrl | None = None
    region: str | None = None
    addressing: Literal["auto", "path", "virtual"] = "auto"
    profile: str | None = None
    access_key_env: str | None = None
    access_key_file: Path | None = None
    secret_key_env: str | None = None
    secret_key_file: Path | None = None

    @model_validator(mode="after")
    def _single_key(self) -> Self:
        given = [self._place(name) is not None for name in _SECRETS]
        if given[0] != given[1]:
            raise ValueError("access_key and secret_key are wanted both, or neither")
        if given[0] and self.profile is not None:
            raise ValueError("write profile, or where access_key and secret_key stand, not both")
        return self

    def _place(self, name: str) -> tuple[str | None, Path | None] | None:
        variable, file = getattr(self, f"{name}_env"), getattr(self, f"{name}_file")
        if variable is not None and file is not None:
            raise ValueError(f"write {name}_env or {name}_file, not both")
        return None if variable is None and file is None else (variable, file)

    def secret(
        self, name: Literal["access_key", "secret_key"], environment: Mapping[str, str] | None = None
    ) -> str | None:
        """Return the key's half `name`, None where the document names no place for it.

        Raises PermanentError when the variable is not set, or the file can't be read or is empty.
        """
        place = self._place(name)
        if place is None:
            return None
        variable, file = place
        if file is None:
            stated, found = (
                f"variable {variable}",
                (os.environ if environment is None else environment).get(str(variable), ""),
            )
        else:
            stated, found = f"file {file}", _content(file, f"{name}_file of store {self.name}")
        if not found.strip():
            raise PermanentError(
                f"Store {self.name} has its {name} in the {stated}, which is empty or not set",
                f"Set it, or correct {name}_{'env' if file is None else 'file'} in the document of stores",
            )
        secrets.declare(found.strip())
        return found.strip()


StorePlace = Annotated[FolderPlace | S3Place, Field(discriminator="kind")]


class Stores(Declared):
    """The document: `primary` (by default the folder `store` of the home), and `mirrors`, each with its own name."""

    primary: StorePlace | None = None
    mirrors: tuple[StorePlace, ...] = ()

    @field_validator("primary", mode="after")
    @classmethod
    def _primary_in_a_bucket_has_an_address(cls, primary: FolderPlace | S3Place | None) -> FolderPlace | S3Place | None:
        if isinstance(primary, S3Place) and primary.url is None:
            raise ValueError("url is missing: the public address that readers find the bucket's prefix at")
        return primary

    @field_validator("mirrors", mode="after")
    @classmethod
    def _mirrors_have_addresses(cls, mirrors: tuple[FolderPlace | S3Place, ...]) -> tuple[FolderPlace | S3Place, ...]:
        for mirror in mirrors:
            if "name" not in mirror.model_fields_set:
                raise ValueError("a mirror has no name, by which the ledger knows it")
            if mirror.url is None:
                raise ValueError(f"the mirror {mirror.name} has no url: the public address that readers find it at")
        return mirrors

    @model_validator(mode="after")
    def _names_and_urls_differ(self) -> Self:
        names = [self.primary.name if self.primary else PRIMARY, *(mirror.name for mirror in self.mirrors)]
        urls = [place.url for place in (self.primary, *self.mirrors) if place is not None and place.url is not None]
        for what, stated in (("name", names), ("url", urls)):
            twice = sorted({value for value in stated if stated.count(value) > 1})
            if twice:
                raise ValueError(f"two stores have the {what} {twice[0]}")
        return self


def read_stores(file: Path) -> Stores:
    """Return the stores that the YAML document `file` declares, with absolute paths.

    Raises PermanentError that names each wrong key; the message omits its value, because it may be a secret.
    """
    import yaml  # noqa: PLC0415 - a conversion reads none, and a cold process should not wait for it

    try:
        document = yaml.safe_load(_content(file, "D4C_STORES"))
    except yaml.YAMLError as error:
        mark: yaml.Mark | None = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise PermanentError(f"{file} is not YAML{where}", "Correct it, see docs/stores.md") from None
    try:
        stores = Stores.model_validate(document if document is not None else {})
    except ValidationError as error:
        raise PermanentError(f"{file}: {'; '.join(_problems(error))}", "Correct it, see docs/stores.md") from None
    primary = stores.primary
    found = {
        "primary": None if primary is None else _absolute(primary, file.parent),
        "mirrors": tuple(_absolute(mirror, file.parent) for mirror in stores.mirrors),
    }
    return stores.model_copy(update=found)


def _absolute(place: FolderPlace | S3Place, folder: Path) -> FolderPlace | S3Place:
    names = [name for name in ("path", "access_key_file", "secret_key_file") if getattr(place, name, None) is not None]
    return place.model_copy(update={name: (folder / getattr(place, name).expanduser()).absolute() for name in names})


def _problems(error: ValidationError) -> list[str]:
    problems: list[str] = []
    for problem in error.errors(include_url=False, include_input=False):
        # pydantic's place includes the tag of the union, which is not in the document.
        keys = [str(part) for part in problem["loc"] if part not in ("folder", "s3")]
        message: str = problem["msg"].removeprefix("Value error, ").rstrip(".")
        if problem["type"].startswith("union_tag"):
            keys, message = [*keys, "kind"], "write folder or s3"
        if problem["type"] == "extra_forbidden" and keys[-1] in _SECRETS:
            message = f"no secret stands here: write {keys[-1]}_env or {keys[-1]}_file, which says where it is found"
        problems.append(f"{'.'.join(keys) or 'the document'}: {message}")
    return problems


def _content(file: Path, stated: str) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason: Any = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise PermanentError(f"The file {file} ({stated}) can't be read: {reason}", "Check path and rights") from error
