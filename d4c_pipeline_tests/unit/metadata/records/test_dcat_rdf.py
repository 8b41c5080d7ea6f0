"""DCAT as RDF/XML says what DCAT as JSON-LD says."""

from __future__ import annotations

import pytest
from rdflib import Graph
from rdflib.compare import graph_diff, to_isomorphic

from d4c_pipeline.metadata.published import PublishedMetadata
from d4c_pipeline.metadata.records.registry import record_format
from d4c_pipeline.model.declared import Bilingual
from d4c_pipeline_tests.support.published import HOSTILE_TEXT, a_published
from d4c_pipeline_tests.support.releases import RATES


@pytest.mark.parametrize(
    "published",
    [
        a_published(previous="0.9.0", superseded_by="1.1.0", newest="2.0.0"),
        a_published(RATES, "2024-06"),
        a_published(bounds=(170.0, -50.0, -170.0, -40.0), parts=2),
        a_published(title=Bilingual(en=HOSTILE_TEXT, fr=HOSTILE_TEXT)),
    ],
    ids=["versions", "table", "parts", "hostile"],
)
def test_both_forms_have_the_same_statements(published: PublishedMetadata) -> None:
    graphs = [
        Graph().parse(record_format(name).render(published), format=kind, publicID="https://data.example.ca/")
        for name, kind in (("dcat", "json-ld"), ("dcat_rdf", "xml"))
    ]
    json_ld, xml = map(to_isomorphic, graphs)
    _, missing, added = graph_diff(json_ld, xml)
    assert (len(json_ld) > 50, list(missing), list(added)) == (True, [], [])
