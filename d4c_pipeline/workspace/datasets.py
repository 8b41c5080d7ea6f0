"""Reads the folders of definitions: each `defs.yaml` of ours becomes a `Dataset`, a `Family` or a precise error.

Dagster loads the same files through the component; code without Dagster reads them here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import ValidationError

from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DefinitionError, UnknownNameError
from d4c_pipeline.model.family import Family
from d4c_pipeline.model.licences import DeclaredLicence
from d4c_pipeline.model.texts import unfit

if TYPE_CHECKING:
    from yaml import SafeLoader
else:
    try:
        from yaml import CSafeLoader as SafeLoader  # 20 times as fast, where PyYAML has libyaml
    except ImportError:
        from yaml import SafeLoader


class WrongFieldsError(DefinitionError):
    """Fields of a definition are wrong. `fields`: the path of each (`title.fr`, empty for the whole) and its cause."""

    def __init__(self, cause: str, remedy: str, fields: Sequence[tuple[str, str]]) -> None:
        super().__init__(cause, remedy)
        self.fields = tuple(fields)


COMPONENT_TYPE = "d4c_pipeline.PublishedDataset"
FAMILY_TYPE = "d4c_pipeline.PublishedFamily"
SHIPPED = Path(__file__).parent.parent / "defs"
_Model = TypeVar("_Model", Dataset, Family)
_UNIONS = ("source", "processing", "license")
_OUR_TYPES = COMPONENT_TYPE.rpartition(".")[0]


class _Loader(SafeLoader):
    """YAML as Dagster reads it: an unquoted date stays text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in SafeLoader.yaml_implicit_resolvers.items()
    }


def load_datasets(folders: Sequence[Path]) -> dict[str, Dataset]:
    """Return all datasets of the shipped definitions and of `folders`, by id, without members of families.

    Raises DefinitionError that lists every wrong field of a file, or when two files declare the same id.
    """
    return {name: each for name, each in _load(folders).items() if isinstance(each, Dataset)}


def load_families(folders: Sequence[Path]) -> dict[str, Family]:
    """Return all families of the shipped definitions and of `folders`, by id. Errors as of `load_datasets`."""
    return {name: each for name, each in _load(folders).items() if isinstance(each, Family)}


def load_definitions(folders: Sequence[Path], only: Collection[str] | None = None) -> dict[str, Dataset | Family]:
    """Return all datasets and families of the shipped definitions and of `folders`, by id. Errors as above.

    `only` reads the files of these ids and no others: an id is the name of its folder.
    """
    return _load(folders, only)


def _load(folders: Sequence[Path], only: Collection[str] | None = None) -> dict[str, Dataset | Family]:
    found: dict[str, Dataset | Family] = {}
    for folder in (SHIPPED, *folders):
        if not folder.is_dir():
            raise DefinitionError(f"The definitions folder {folder} does not exist", "Correct D4C_DEFS or --defs")
        for file in sorted(folder.rglob("defs.yaml")):
            if only is not None and file.parent.name not in only:
                continue
            for each in _read(file):
                if each.id in found:
                    raise DefinitionError(
                        f"{file}: the id {each.id} is declared in {found[each.id].folder} as well",
                        "Change the id of one of them",
                    )
                found[each.id] = each
    return dict(sorted(found.items()))


def pick(datasets: dict[str, Dataset], identifier: str) -> Dataset:
    """Return the dataset of that id. Raises UnknownNameError with the closest ids."""
    if identifier in datasets:
        return datasets[identifier]
    raise unknown_id(datasets, identifier)


def unknown_id(known: Collection[str], identifier: str) -> UnknownNameError:
    """Return the error for an unknown id, with the closest known ids."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for the message

    close = get_close_matches(identifier, known, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    return UnknownNameError(f"There is no dataset '{identifier}'", f"{hint}List them with 'd4c datasets'")


def read_definitions(file: Path) -> Iterator[Dataset]:
    """Yield the datasets that a `defs.yaml` declares; documents of other components are skipped.

    Raises DefinitionError with file, line and field of every error.
    """
    return (each for each in _read(file) if isinstance(each, Dataset))


def read_definition_text(text: str, file: Path) -> Dataset | Family:
    """Return the one dataset or family that the text of `file` declares; nothing is read from the file.

    Raises WrongFieldsError for wrong fields, DefinitionError for a text that is no such YAML.
    """
    found = list(_read_text(text, file))
    if len(found) != 1:
        raise DefinitionError(f"{file} declares {len(found)} datasets", "Write a dataset into a file of its own")
    return found[0]


def definition_file(folders: Sequence[Path], identifier: str) -> Path:
    """Return the file `defs.yaml` of a dataset or family by its id, also one that is wrong. Raises UnknownNameError."""
    files = definition_files(folders)
    if identifier not in files:
        raise unknown_id(files, identifier)
    return files[identifier]


def definition_files(folders: Sequence[Path]) -> dict[str, Path]:
    """Return every `defs.yaml` of the shipped definitions and of `folders`, by the name of its folder."""
    found = (file for folder in (SHIPPED, *folders) for file in folder.rglob("defs.yaml"))
    return {file.parent.name: file for file in sorted(found, key=lambda file: file.parent.name)}


def definition_nodes(text: str) -> tuple[yaml.MappingNode, dict[str, Any]]:
    """Return the first mapping of a YAML text as nodes, which have places in the text, and as values.

    Raises DefinitionError for a text that is no YAML or has no mapping.
    """
    try:
        documents = _documents(text)
    except yaml.YAMLError as error:
        raise DefinitionError(f"It is not YAML: {' '.join(str(error).split())}", "Correct the line it names") from error
    if not documents or not isinstance(documents[0][0], yaml.MappingNode):
        raise DefinitionError("The text declares nothing", f"Write 'type: {COMPONENT_TYPE}' and its attributes")
    return documents[0][0], documents[0][1]


def _read(file: Path) -> Iterator[Dataset | Family]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{file} can't be read: {error}", "Save it as UTF-8 text") from error
    yield from _read_text(text, file)


def _read_text(text: str, file: Path) -> Iterator[Dataset | Family]:
    try:
        documents = _documents(text)
    except yaml.YAMLError as error:
        raise DefinitionError(
            f"{file} is not YAML: {' '.join(str(error).split())}", "Correct the line it names"
        ) from error
    for node, document in documents:
        kind = document.get("type") if isinstance(document, dict) else None
        if kind == COMPONENT_TYPE:
            yield _declared(file, node, document, Dataset)
        elif kind == FAMILY_TYPE:
            yield _declared(file, node, document, Family)
        elif not isinstance(kind, str) or kind.startswith(_OUR_TYPES):
            # Dagster loads other components; a misspelled type must not hide a dataset.
            wrong = f"'{kind}' is not a component of d4c_pipeline" if kind else "is missing"
            raise DefinitionError(f"{file}:{_line(node, ('type',))}: type: {wrong}", f"Write 'type: {COMPONENT_TYPE}'")


def _documents(text: str) -> list[tuple[yaml.Node, Any]]:
    """Return the documents of a YAML text, each with its nodes, which have line numbers."""
    loader = _Loader(text)
    documents: list[tuple[yaml.Node, Any]] = []
    while loader.check_node():
        node = loader.get_node()
        if node is not None and (document := loader.construct_document(node)) is not None:
            documents.append((node, document))
    return documents


def _refuse_unfit(file: Path, node: yaml.Node) -> None:
    """Raise DefinitionError, with lines, for texts that must not reach a record or a feed."""
    wrong = [(place, scalar, what) for place, scalar in _scalars(node, ()) if (what := unfit(scalar.value)) is not None]
    if wrong:
        raise WrongFieldsError(
            "; ".join(f"{file}:{scalar.start_mark.line + 1}: a text has {what}" for _, scalar, what in wrong),
            "Write it as plain text; 'd4c datasets' checks it again",
            [(".".join(place).removeprefix("attributes."), f"the text has {what}") for place, _, what in wrong],
        )


def _scalars(node: yaml.Node, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], yaml.ScalarNode]]:
    """Yield every scalar, keys too, with the path of its value."""
    if isinstance(node, yaml.ScalarNode):
        yield place, node
    elif isinstance(node, yaml.SequenceNode):
        yield from chain.from_iterable(_scalars(each, (*place, str(at))) for at, each in enumerate(node.value))
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield from _scalars(key, inner)
            yield from _scalars(value, inner)


def _declared(file: Path, node: yaml.Node, document: dict[str, Any], model: type[_Model]) -> _Model:
    _refuse_unfit(file, node)
    try:
        declared = model.model_validate(document.get("attributes") or {})
    except ValidationError as error:
        problems = _problems(error)
        wrong = [
            f"{file}:{_line(node, ('attributes', *place))}: {'.'.join(map(str, place)) or 'attributes'}: {message}"
            for place, message in problems
        ]
        raise WrongFieldsError(
            "; ".join(wrong),
            "Correct the definition; 'd4c datasets' checks it again",
            [(".".join(map(str, place)), message) for place, message in problems],
        ) from error
    if declared.id != file.parent.name:
        raise DefinitionError(
            f"{file}:{_line(node, ('attributes', 'id'))}: id: '{declared.id}' is not the folder's name",
            f"Name both the same, '{declared.id}' or '{file.parent.name}'",
        )
    sample = declared.sample if isinstance(declared, Family) else declared
    if isinstance(sample, Dataset) and isinstance(sample.license, DeclaredLicence):
        sample.license.content(file.parent)  # reported at loading, not when a release is planned
    return declared.model_copy(update={"folder": file.parent})


def _problems(error: ValidationError) -> list[tuple[tuple[str | int, ...], str]]:
    """Return place and message of each error in terms of the YAML, without type names and follow-up errors."""
    problems: dict[tuple[str | int, ...], str] = {}
    for problem in error.errors(include_url=False):
        # A part with a bracket names a branch of a union, which does not exist in the YAML.
        location = tuple(part for part in problem["loc"] if not (isinstance(part, str) and "[" in part))
        if location[:1] and location[0] in _UNIONS:  # the next part is the kind by which pydantic chose the branch
            location = (location[0], *location[2:])
        inside = [known for known in problems if known[: len(location)] == location]
        if inside and problem["type"] in ("too_short", "literal_error"):
            continue  # a follow-up error of the same item
        problems.setdefault(location, problem["msg"].removeprefix("Value error, ").rstrip("."))
    return list(problems.items())


def _line(node: yaml.Node, location: tuple[str | int, ...]) -> int:
    """Return the line (from 1) of the deepest node on the path to `location`; for a missing field, of its parent."""
    for part in location:
        following: yaml.Node | None = None
        if isinstance(node, yaml.MappingNode):
            following = next((value for key, value in node.value if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            following = node.value[part]
        if following is None:
            continue  # a part that pydantic adds (the tag of a union), or the field that is missing
        node = following
    return node.start_mark.line + 1
