"""The bill of materials of the lock: CycloneDX 1.6 as JSON, the same bytes for the same lock.

Run `make sbom [ARGS='--output FILE']`. Every pin is a component with its package URL, the hashes of the files that may
be installed, its marker and its scope: `required` is what every installation has, `optional` what only an extra brings,
`excluded` what only development uses. It holds no time and no random number. Debian's packages and the base images of
the containers are not in it: only an image that was built can tell those (docs/supply-chain.md).
"""

# pyright: reportCallIssue=false, reportAttributeAccessIssue=false
# The library's classes are made by a decorator that hides their fields from a type checker.

from __future__ import annotations

import argparse
import hashlib
import sys
import tomllib
import uuid
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from d4c_pipeline.model.errors import D4CError, PermanentError
from supply_chain import lock_file
from supply_chain.lock_file import LOCK, REPOSITORY, Locked

OUTPUT = "sbom.cdx.json"
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "pkg:pypi/d4c-pipeline")


def bill(lock: Path = LOCK, project: Path = REPOSITORY / "pyproject.toml") -> str:
    """Return the bill of materials of `lock` as JSON that is valid against CycloneDX's strict schema.

    Raises:
        PermanentError: the lock cannot be read, a package is not reached from pyproject.toml, or the schema refuses.
    """
    packages = lock_file.read(lock)
    declared = tomllib.loads(project.read_text("utf-8"))
    scopes = _scopes(packages, declared)
    product = declared["project"]
    root = Component(
        type=ComponentType.APPLICATION,
        name=product["name"],
        version=product["version"],
        bom_ref=product["name"],
        description=product["description"],
        purl=PackageURL("pypi", name=product["name"], version=product["version"]),
    )
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    metadata = BomMetaData(component=root, properties=[Property(name="d4c:lock:sha256", value=digest)])
    metadata.timestamp = None  # optional in the schema, and another one each time
    serial = uuid.uuid5(_NAMESPACE, digest + product["version"])
    bom = Bom(
        components=[_component(package, scopes[package.name]) for package in packages],
        metadata=metadata,
        serial_number=serial,
        dependencies=_dependencies(packages, product["name"]),
    )
    text = JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise PermanentError(f"The bill of materials is no valid CycloneDX 1.6: {str(problem.data)[:300]}")
    return text


def _reference(package: Locked) -> str:
    return f"{package.name}=={package.version}"


def _component(package: Locked, scope: ComponentScope) -> Component:
    purl = PackageURL("pypi", name=package.name, version=str(package.version))
    # The hashes are those of several files of one version, so they belong to its distribution, not to the component.
    hashes = [HashType(alg=HashAlgorithm.SHA_256, content=one.removeprefix("sha256:")) for one in package.hashes]
    distribution = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION, url=XsUri(purl.to_string()), hashes=hashes
    )
    return Component(
        type=ComponentType.LIBRARY,
        name=package.name,
        version=str(package.version),
        bom_ref=_reference(package),
        purl=purl,
        scope=scope,
        external_references=[distribution],
        properties=[Property(name="d4c:lock:marker", value=package.marker)] if package.marker else [],
    )


def _scopes(packages: Sequence[Locked], declared: dict[str, Any]) -> dict[NormalizedName, ComponentScope]:
    def names(requirements: list[str]) -> list[NormalizedName]:
        return [canonicalize_name(Requirement(text).name) for text in requirements]

    project = declared["project"]
    extras = [text for extra in project.get("optional-dependencies", {}).values() for text in extra]
    groups = [text for group in declared.get("dependency-groups", {}).values() for text in group]
    scopes: dict[NormalizedName, ComponentScope] = {}
    for scope, requirements in (
        (ComponentScope.REQUIRED, project["dependencies"]),
        (ComponentScope.OPTIONAL, extras),
        (ComponentScope.EXCLUDED, groups),
    ):
        for name in lock_file.reached(packages, names(requirements)):
            scopes.setdefault(name, scope)
    lost = sorted({package.name for package in packages} - set(scopes))
    if lost:
        raise PermanentError(f"Nothing in pyproject.toml leads to {', '.join(lost)}", "Write the lock again: make lock")
    return scopes


def _dependencies(packages: Sequence[Locked], root: str) -> list[Dependency]:
    references: dict[str, list[str]] = defaultdict(list)
    for package in packages:
        references[package.name].append(_reference(package))
    required: dict[str, set[str]] = {root: set()} | {_reference(package): set() for package in packages}
    for package in packages:
        if package.declared_by:
            required[root].add(_reference(package))
        for requirer in package.required_by:
            for reference in references[requirer]:
                required[reference].add(_reference(package))
    component = {name: Component(name=name, bom_ref=name).bom_ref for name in required}
    return [
        Dependency(component[name], [Dependency(component[one]) for one in sorted(needs)])
        for name, needs in required.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make sbom", description="Write the bill of materials of requirements.lock.")
    parser.add_argument("--output", type=Path, default=REPOSITORY / OUTPUT, help=f"where to (default: {OUTPUT})")
    options = parser.parse_args(arguments)
    try:
        options.output.write_text(bill(), "utf-8", newline="\n")
    except D4CError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"{options.output} holds {len(lock_file.read())} pins of requirements.lock.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
