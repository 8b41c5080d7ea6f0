"""A thousand copies, of which some rot: the audit finds each, what has a good copy is mended, the rest is told."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from d4c_pipeline.model.fixity import CopyState, FixityPolicy
from d4c_pipeline.upkeep.fixity import audit, expected_copies
from d4c_pipeline.upkeep.repair import Outcome, repair
from d4c_pipeline_tests.fakes import rot

SEEDS = range(1)


@pytest.mark.parametrize("seed", SEEDS)
def test_all_rot_is_found_and_all_that_can_be_is_mended(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    with rot.deployment(tmp_path / "home", stores=3) as at:
        assert rot.fill(at, 1000, dice) == 1000
        assert audit(at, FixityPolicy(), full=True).lost == ()
        harmed = rot.rot(at, 0.2, dice)
        found = audit(at, FixityPolicy(), full=True)
        assert {look.copy for look in found.lost} == harmed.copies
        assert (found.unreachable, found.busy, dict(found.refused)) == ((), (), {})
        done = repair(at)
        restored = {one.copy for one in done if one.outcome is Outcome.RESTORED}
        assert restored == harmed.mendable
        assert {one.copy for one in done if one.outcome is Outcome.NO_GOOD_COPY} == {
            copy for copy in harmed.copies - harmed.mendable if copy.kind.is_stored
        }
        wrong = {copy for copy in expected_copies(at) if not rot.is_right(at, copy)}
        assert wrong == harmed.copies - harmed.mendable
        again = audit(at, FixityPolicy(), full=True)
        assert {look.copy for look in again.lost} == wrong
        assert all(look.state is CopyState.MISSING for look in again.lost if look.copy.kind.is_stored)
        said = f"{len(expected_copies(at))} copies, {len(harmed.copies)} harmed, {len(found.lost)} found"
        sys.stdout.write(f"{said}, {len(harmed.mendable)} mendable, {len(restored)} restored\n")
