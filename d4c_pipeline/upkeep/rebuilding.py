"""Rebuilds a published release from its record alone, and compares the sha256 of its files with the record.

The record is a folder with the files of a release: a download from the archive or a store, or the folder there. The
build runs in a temporary home. Finding a record by DOI or name belongs to `fetched_records`, building to
`chain.processed`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from d4c_pipeline.archives.retrieval import download
from d4c_pipeline.chain.processed import build_into
from d4c_pipeline.files.disk import storage_errors
from d4c_pipeline.files.hashing import sha256_of
from d4c_pipeline.files.unpack import unpack
from d4c_pipeline.model.addresses import raw_address, release_address
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import D4CError, IntegrityError, PermanentError, SourceError, UnknownNameError
from d4c_pipeline.model.manifest import Manifest, NativeFacts, Output
from d4c_pipeline.model.parts import MANIFEST_NAME, PROFILE_NAME, file_name
from d4c_pipeline.model.release import CHECKSUMS_NAME, DERIVED_ROLES, ITEM_NAME, ArtifactRole, NativeFile
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.version import Version
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.processing.derived.derive import tools
from d4c_pipeline.sources.open import open_source
from d4c_pipeline.sources.port import Arrived
from d4c_pipeline.stores.port import Store, public_url
from d4c_pipeline.workspace.code_archive import CODE_NAME, definition_folder
from d4c_pipeline.workspace.code_version import DATA_ROOMS
from d4c_pipeline.workspace.datasets import read_definitions
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline.workspace.provenance import package_folder, provenance
from d4c_pipeline.workspace.staging import fetched

_DECIDING = (ArtifactRole.DATA, ArtifactRole.PROFILE)
_STORE_LEVELS = 4  # releases/<dataset>/<vintage>/<version>


@dataclass(frozen=True)
class Compared:
    """A file of the release. `recorded` and `rebuilt`: sha256 (hex); `rebuilt` is None if the build lacks the file.

    `decides`: whether the result depends on it: the data and the profile. `copy`: `equal`, `damaged` or `missing`, the
    file in the folder of the record.
    """

    name: str
    decides: bool
    recorded: str
    rebuilt: str | None
    copy: str

    @property
    def is_equal(self) -> bool:
        """Whether the rebuilt file has the recorded bytes."""
        return self.recorded == self.rebuilt


@dataclass(frozen=True)
class Rebuilt:
    """The result of a rebuild. `natives`: origin of each native file. `reasons`: differences of code and libraries.

    `uncompared`: name of a file of the release -> why a rebuild from the record alone can't make it.
    """

    release: str
    files: tuple[Compared, ...]
    natives: Mapping[str, str]
    reasons: tuple[str, ...]
    uncompared: Mapping[str, str]

    @property
    def is_equal(self) -> bool:
        """Whether every data file and the profile are equal, and no copy in the record's folder is damaged.

        Derived files have the same bytes only with the same tools, so a difference of theirs alone decides nothing.
        """
        return all((file.is_equal or not file.decides) and file.copy != "damaged" for file in self.files)


def rebuild(record: Path, settings: Settings, natives: Path | None = None, *, stores: Sequence[Store] = ()) -> Rebuilt:
    """Rebuild the release whose files are in the folder `record`, and compare it.

    `settings`: limits and origins only. `natives`: a folder with the native files. A native file is taken from the
    first place that has it: `natives`, the store that contains `record`, the record itself, `stores`, the source, the
    public stores that the item names. Raises UnknownNameError when the folder is no record, IntegrityError for a record
    that contradicts its checksums, SourceError when a native file is gone or changed, PermanentError for a release
    built from other releases, and what the build raises.
    """
    for name in (MANIFEST_NAME, CODE_NAME, CHECKSUMS_NAME):
        if not (record / name).is_file():
            raise UnknownNameError(f"{record} has no {name}", "Name a folder with all files of one release")
    _check(record)
    manifest = Manifest.from_bytes((record / MANIFEST_NAME).read_bytes())
    vintage = Vintage.parse(manifest.vintage)
    with TemporaryDirectory(prefix="d4c-rebuild-") as name:
        folder = Path(name)
        unpack(record / CODE_NAME, folder / "code")
        dataset = _dataset(folder / "code", manifest)
        places = _Places(record, manifest, dataset, vintage, settings, natives, stores, folder / "native")
        found = {fact.name: places.find(fact) for fact in manifest.native_files}
        limits = {"threads": settings.threads, "memory_limit": settings.memory_limit, "temp": settings.temp}
        home = Settings.from_environment({"D4C_HOME": str(folder / "home")}).model_copy(update=limits)
        (folder / "build").mkdir()
        with Deployment.open(home, archive=False) as deployment:
            staged = build_into(
                deployment, dataset, vintage, folder / "build", [(native, path) for native, path, _ in found.values()]
            )
        made = {file_name(manifest.release, file.part): file.sha256 for file in staged.data}
        made |= {f"{manifest.release}{file.suffix}": file.sha256 for file in staged.derived}
        made[PROFILE_NAME] = staged.profile_sha256
    files = tuple(
        Compared(each.name, each.role in _DECIDING, each.sha256, made.get(each.name), _copy(record / each.name, each))
        for each in manifest.outputs
        if each.role in _DECIDING or each.role in DERIVED_ROLES
    )
    compared = {file.name for file in files}
    uncompared = {
        each.name: "it compares this release with the one before, which is not in the record"
        if each.role is ArtifactRole.CHANGES
        else "a rebuild does not make it"
        for each in manifest.outputs
        if each.name not in compared
    }
    reasons = () if all(file.is_equal for file in files) else tuple(_reasons(manifest))
    origins = {name: origin for name, (_, _, origin) in found.items()}
    return Rebuilt(manifest.release, files, origins, reasons, uncompared)


def other_code(code: Path) -> tuple[str, ...]:
    """Return the files of the rooms that decide the data that differ between `code` (unpacked) and this package."""
    packages = (code / "d4c_pipeline", package_folder())
    ours, theirs = (
        {
            str(path.relative_to(package)): hashlib.sha256(path.read_bytes()).hexdigest()
            for room in DATA_ROOMS
            for path in (package / room).rglob("*.py")
        }
        for package in packages
    )
    return tuple(sorted({name for name, _ in ours.items() ^ theirs.items()}))


def _check(record: Path) -> None:
    """Raise IntegrityError if the manifest or the code contradicts the checksums of the record."""
    lines = (record / CHECKSUMS_NAME).read_text("utf-8").splitlines()
    stated = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines if line.strip())}
    for name in (MANIFEST_NAME, CODE_NAME):
        if stated.get(name) != sha256_of(record / name):
            raise IntegrityError(
                f"{record / name} is not the file that {CHECKSUMS_NAME} states", "Take another copy of the record"
            )


def _dataset(code: Path, manifest: Manifest) -> Dataset:
    differing = other_code(code)
    if differing:
        made = manifest.code
        raise PermanentError(
            f"{manifest.release} was made by other code than this: {len(differing)} files that decide the data differ, "
            f"such as {differing[0]}",
            f"Rebuild it with {made.package} {made.version}{f', commit {made.commit}' if made.commit else ''}; its "
            f"code and requirements.lock are in {CODE_NAME}",
        )
    file = definition_folder(code, manifest.dataset) / "defs.yaml"
    declared = [each for each in read_definitions(file) if each.id == manifest.dataset] if file.is_file() else []
    if not declared:
        raise UnknownNameError(
            f"{CODE_NAME} of {manifest.release} does not declare {manifest.dataset}",
            "Members of families and releases without a definition can't be rebuilt from their record",
        )
    if declared[0].processing.inputs:
        raise PermanentError(
            f"{manifest.release} is built from releases of {', '.join(sorted(declared[0].processing.inputs.values()))}",
            "Rebuild those; a release with inputs can't be rebuilt from its record alone",
        )
    return declared[0].model_copy(update={"folder": file.parent})


class _Places:
    """The places that may have the native files of a release, in the order in which they are tried."""

    def __init__(
        self,
        record: Path,
        manifest: Manifest,
        dataset: Dataset,
        vintage: Vintage,
        settings: Settings,
        natives: Path | None,
        stores: Sequence[Store],
        into: Path,
    ) -> None:
        self._record, self._manifest, self._dataset, self._vintage = record, manifest, dataset, vintage
        self._settings, self._natives, self._stores, self._into = settings, natives, stores, into
        self._fetched: dict[str, Path] | None = None
        self._unserved = "the source does not serve it"

    def find(self, fact: NativeFacts) -> tuple[NativeFile, Path, str]:
        """Return a native file, a local file with its recorded sha256, and its origin.

        Raises SourceError that names what each place has instead.
        """
        address = raw_address(self._dataset.id, self._vintage, fact.sha256, fact.name)
        missed: list[str] = []
        for origin, path in self._copies(fact, address, missed):
            if sha256_of(path) == fact.sha256:
                return _native(fact, address), path, origin
            missed.append(f"{origin} {'serves other bytes now' if origin == fact.url else 'has other bytes'}")
        raise SourceError(
            f"The native file {fact.name} (sha256 {fact.sha256}) can't be had: {'; '.join(missed)}",
            "Name a folder that has it with --natives, such as the store's folder of raw files",
        )

    def _copies(self, fact: NativeFacts, address: str, missed: list[str]) -> Iterator[tuple[str, Path]]:
        """Yield the origin and a local copy of a native file at each place; note in `missed` why one has none."""
        levels = self._record.absolute().parents
        folders = [self._natives / fact.name] if self._natives else []
        if len(levels) >= _STORE_LEVELS:
            folders.append(levels[_STORE_LEVELS - 1] / address)
        for path in (*folders, self._record / fact.name):
            if path.is_file():
                yield str(path), path
        for store in self._stores:
            try:
                if fetched(store, address, fact.size, fact.sha256, self._into / "retained" / fact.name):
                    yield f"{store.name}: {address}", self._into / "retained" / fact.name
            except D4CError as error:
                missed.append(f"{store.name}: {error.cause}")
        if (path := self._of_source().get(fact.name)) is not None:
            yield fact.url, path
        else:
            missed.append(f"{fact.url}: {self._unserved}")
        for base in self._public_stores():
            target = self._into / "public" / fact.name
            try:
                if download(public_url(base, address), target) is not None:
                    yield public_url(base, address), target
            except D4CError as error:
                missed.append(f"{base}: {error.cause}")

    def _of_source(self) -> Mapping[str, Path]:
        if self._fetched is None:
            self._fetched = {}
            target = self._into / "source"
            try:
                with storage_errors(f"write {target}"):
                    target.mkdir(parents=True)
                arrived = open_source(self._dataset, self._settings.origins).fetch(self._vintage, target)
                self._fetched = {each.name: each.path for each in arrived if isinstance(each, Arrived)}
            except D4CError as error:
                self._unserved = error.cause
        return self._fetched

    def _public_stores(self) -> tuple[str, ...]:
        """Return the addresses of the stores from which the item of the record serves the release."""
        path, manifest = self._record / ITEM_NAME, self._manifest
        if not path.is_file():
            return ()
        end = release_address(manifest.dataset, self._vintage, Version.read(manifest.version), "")
        # The item is JSON of any form here: an address is what ends in the folder of the release.
        found = re.findall(rf'"(https?://[^"\s]+?)/{re.escape(end)}[^"/]+"', path.read_text("utf-8", "replace"))
        return tuple(dict.fromkeys(found))


def _native(fact: NativeFacts, address: str) -> NativeFile:
    return NativeFile(fact.name, fact.url, fact.sha256, fact.size, None, fact.last_modified, None, address)


def _copy(path: Path, output: Output) -> str:
    if not path.is_file():
        return "missing"
    return "equal" if sha256_of(path) == output.sha256 else "damaged"


def _reasons(manifest: Manifest) -> Iterator[str]:
    """Yield the differences of the environment that may be the cause."""
    here = provenance()
    for name, recorded in sorted(manifest.libraries.items()):
        if here.libraries.get(name) != recorded:
            yield f"{name} {recorded} made the release, {here.libraries.get(name, 'none')} the rebuild"
    for name, recorded in sorted(manifest.derived.tools.items()):
        if tools().get(name) != recorded:
            yield f"{name} {recorded} made derived files of the release, {tools().get(name, 'none')} the rebuild's"
    if here.lock_sha256 != manifest.lock_sha256:
        yield "requirements.lock differs"
    if here.code != manifest.code:
        yield f"commit {manifest.code.commit} made the release, {here.code.commit} the rebuild"
