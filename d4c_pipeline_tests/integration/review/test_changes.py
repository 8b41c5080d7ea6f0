"""What a reviewer sees before an approval: the changes of a planned release, as Markdown and as a private page."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import yaml
from PIL import Image
from typer.testing import CliRunner

from d4c_pipeline.chain.run import Unit, Waiting, run
from d4c_pipeline.commands.main import app
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration.assets import step_presentations
from d4c_pipeline.orchestration.products import of_dataset
from d4c_pipeline.review.changes import as_html, as_markdown, changes_of
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions
from d4c_pipeline_tests.support.samples import DAY, PLACES, PLACES_URL, define, geojson

__all__ = ["chain", "definitions"]  # fixtures, found by their names here

VINTAGE = Vintage.parse("2021")


def test_a_reviewer_sees_what_changes_before_an_approval(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    # One row removed, one added, one value changed, one column added; the next release waits for a review.
    places = [*PLACES[1:], (5, "Halifax | Dartmouth", 439819, -63.575, 44.649)]
    places[1] = (*places[1][:2], 7430, *places[1][3:])
    chain.origin.put(PLACES_URL, geojson(places), DAY + timedelta(days=1))
    define(
        chain.settings.definitions[0],
        sql="SELECT *, 'CA' AS country FROM source",
        publication={"policy": "review", "stage": "beta", "initial_version": "0.1.0"},
    )
    chain.run_up_to("stac_item")
    unit = Unit.of(chain.dataset, VINTAGE)
    waiting = run(chain.opened, unit.partition, "deposit", lambda: unit)
    assert isinstance(waiting, Waiting)

    planned = chain.opened.ledger.releases.planned("places", VINTAGE)
    assert planned is not None
    found = changes_of(chain.opened, chain.dataset, planned)
    tables = {section.title: section.rows for section in found.sections}
    assert [row[:3] for row in tables["Numbers"]][:2] == [("rows", "4", "4"), ("columns", "4", "5")]
    assert tables["Rows and form"] == (("1 row removed, e.g. key 1",), ("1 row added, e.g. key 5",))
    assert tables["Columns"] == (
        ("population", "int32", "int32", "1"),
        ("country", "none", "string", ""),
    )
    assert tables["Examples"] == (
        ("1", "", "removed", ""),
        ("5", "", "", "added"),
        ("3", "population", "7429", "7430"),
    )
    assert {row[1] for row in tables["Checks"]} <= {"pass", "warning"}
    assert found.reasons == ("the dataset's policy is 'review'",)
    before, now = (np.asarray(Image.open(io.BytesIO(picture)).convert("L")) for _, picture in found.maps)
    assert before.shape == now.shape, "one frame for both"
    assert (before != now).any()

    # The page of the run has the same.
    text = as_markdown(found)
    assert waiting.changes == text
    assert "| 3 | population | 7429 | 7430 |" in text
    results = step_presentations(of_dataset(chain.dataset))["deposit"].results(waiting, "")
    shown = [
        str(getattr(result.metadata["changes"], "value", ""))
        for result in results
        if "changes" in (result.metadata or {})
    ]
    assert shown == [text]
    (links,) = [
        [urlsplit(str(getattr(each.metadata[decision], "value", ""))) for decision in ("approve", "reject")]
        for each in results
        if "approve" in (each.metadata or {})
    ]
    assert {link.path for link in links} == {"/locations/__repository__@d4c_pipeline/jobs/review/playground/setup"}
    approve, reject = (yaml.safe_load(parse_qs(link.query)["config"][0])["ops"]["decide"]["config"] for link in links)
    assert approve == {"release": planned.name, "decision": "approve", "reason": ""}
    assert reject["decision"] == "reject"

    page = as_html(found)
    assert "<td>population</td><td>7429</td><td>7430</td>" in page
    assert not re.search(r"(src|href)=(?!\"data:)", page), "the page loads nothing"
    target = tmp_path / "changes.html"
    words = ["review", "changes", planned.name, "--home", str(chain.home), "--defs", str(chain.settings.definitions[0])]
    assert CliRunner().invoke(app, [*words, "--to", str(target)]).exit_code == 0
    assert target.read_text("utf-8") == page
    printed = CliRunner().invoke(app, words).stdout
    assert "population" in printed
    assert "base64" not in printed
