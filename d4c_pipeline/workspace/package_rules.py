"""Reads the rules of packages, and finds what a dataset lacks of those of its package.

The rules themselves belong to `model.package_rules`, vocabularies to the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from d4c_pipeline.ledger import Ledger
from d4c_pipeline.model.completeness import completeness_of
from d4c_pipeline.model.dataset import Dataset
from d4c_pipeline.model.errors import DefinitionError
from d4c_pipeline.model.gaps import Gap
from d4c_pipeline.model.package_rules import PackageName, PackageRule

FILE = "packages.yaml"
_RULES: TypeAdapter[dict[str, PackageRule]] = TypeAdapter(dict[PackageName, PackageRule])


def load_package_rules(folders: Sequence[Path]) -> dict[str, PackageRule]:
    """Return the rules by package out of `packages.yaml` of each folder that has one.

    Raises DefinitionError for a file that is not such YAML, and for a package with rules in two folders.
    """
    found: dict[str, PackageRule] = {}
    for file in (folder / FILE for folder in folders if (folder / FILE).is_file()):
        try:
            rules = _RULES.validate_python(yaml.safe_load(file.read_text("utf-8")) or {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise DefinitionError(f"{file} can't be read: {' '.join(str(error).split())}", "Correct it") from error
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}"
                for each in error.errors(include_url=False)
            )
            raise DefinitionError(f"{file}: {wrong}", "Correct the rules of the package") from error
        if twice := found.keys() & rules.keys():
            raise DefinitionError(
                f"{file}: {', '.join(sorted(twice))} has rules in another folder", "Remove one of them"
            )
        found |= rules
    return found


def unmet(dataset: Dataset, rules: Mapping[str, PackageRule], ledger: Ledger) -> tuple[Gap, ...]:
    """Return what a dataset lacks of the rules of its package, each with the sentence that fills it."""
    rule = rules.get(dataset.name.package)
    if rule is None:
        return ()
    missing = {wanted.field: wanted.sentence for wanted in completeness_of(dataset).missing}
    gaps = [Gap(field, missing[field]) for field in rule.fields if field in missing]
    words = {word.casefold() for word in (*dataset.keywords.en, *dataset.keywords.fr)}
    for vocabulary, least in rule.keywords.items():
        if vocabulary not in ledger.vocabularies.names():
            gaps.append(Gap("keywords", f"Import the vocabulary {vocabulary}: 'd4c vocabulary import FILE'"))
        elif (there := ledger.vocabularies.count_terms(vocabulary, words)) < least:
            more = f"{least - there} more" if there else f"{least}"
            sentence = f"Add {more} of the terms of {vocabulary}: 'd4c vocabulary search {vocabulary} WORD' finds them"
            gaps.append(Gap("keywords", sentence))
    return tuple(gaps)


def refuse_unmet(dataset: Dataset, folders: Sequence[Path], ledger: Ledger) -> None:
    """Raise DefinitionError, with the sentences, for a dataset that lacks something of the rules of its package."""
    if gaps := unmet(dataset, load_package_rules(folders), ledger):
        raise DefinitionError(
            f"{dataset.id} lacks what {dataset.name.package} requires: {', '.join(gap.field for gap in gaps)}",
            "; ".join(f"{gap.field}: {gap.sentence}" for gap in gaps),
        )
