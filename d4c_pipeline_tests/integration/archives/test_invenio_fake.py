"""The fake is what it stands for: one walk, the same statuses and keys as a real InvenioRDM gave."""

from __future__ import annotations

import pytest

from d4c_pipeline_tests.fakes.invenio import OTHER_TOKEN, FakeInvenio
from d4c_pipeline_tests.fakes.walk import Walk, recorded


def test_the_fake_answers_the_walk_as_it_was_recorded() -> None:
    with FakeInvenio() as fake:
        seen = Walk(fake.url, OTHER_TOKEN).take()

    assert [(one.step, one.status) for one in seen] == [(one.step, one.status) for one in recorded()]
    assert seen == recorded()
    assert len(seen) > 60


@pytest.mark.invenio
def test_a_real_one_answers_the_walk_as_it_was_recorded(invenio_lane: tuple[str, str]) -> None:
    url, token = invenio_lane

    assert Walk(url, token).take() == recorded()
