"""Dagster's parser of definitions, sped up: the same values at the same lines."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dagster_shared import yaml_utils

from d4c_pipeline import defs
from d4c_pipeline.orchestration.build import parsing_by_libyaml

SHIPPED = sorted(path for folder in defs.__path__ for path in Path(folder).rglob("defs.yaml"))


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without libyaml")
def test_definitions_have_equal_values_and_positions_with_libyaml() -> None:
    assert len(SHIPPED) >= 8
    loaders: list[bool] = []
    for path in SHIPPED:
        text = path.read_text("utf-8")
        slow = yaml_utils.parse_yamls_with_source_position(text, path.name)
        with parsing_by_libyaml():
            loaders.append(issubclass(yaml_utils.yaml.SafeLoader, yaml.CSafeLoader))
            quick = yaml_utils.parse_yamls_with_source_position(text, path.name)
        assert [(each.value, repr(each.source_position_tree)) for each in quick] == [
            (each.value, repr(each.source_position_tree)) for each in slow
        ]
    assert all(loaders)
    assert yaml_utils.yaml is yaml


def test_an_error_has_its_line_and_the_parser_is_put_back() -> None:
    with pytest.raises(yaml.MarkedYAMLError) as raised, parsing_by_libyaml():
        yaml_utils.parse_yamls_with_source_position("a: 1\nb: [\n", "defs.yaml")
    mark = raised.value.problem_mark
    assert mark is not None
    assert mark.line == 2
    assert yaml_utils.yaml is yaml
