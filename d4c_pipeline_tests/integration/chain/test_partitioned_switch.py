"""What `/processed/` serves of data in parts and of derived files, also when the switch is killed at any moment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from d4c_pipeline_tests.integration.chain.conftest import Chain
from d4c_pipeline_tests.support.commands import D4C, Zygote
from d4c_pipeline_tests.support.inspection import ask_ledger, drafts, records, sha256, states, tree
from d4c_pipeline_tests.support.samples import define
from d4c_pipeline_tests.support.strides import stride

STEM = "ca_example_2021A000011124_d4c-datapkg-foundation_places_2021"
BY_ID = {"partition": {"by": "id", "over": 0}, "thumbnail": True}
BY_NAME = {"partition": {"by": "name", "over": 0}, "desktop": ["flatgeobuf"]}
WHOLE: dict[str, Any] = {"csv": True}
SERVED = {
    "by id": {
        *(f"{STEM}/id-{number}.parquet" for number in (1, 2, 3, 4)),
        f"{STEM}/manifest.json",
        f"{STEM}_thumbnail.png",
    },
    "by name": {
        *(f"{STEM}/name-{name}.parquet" for name in ("quebec", "trois-rivieres", "iqaluit", "vancouver")),
        f"{STEM}/manifest.json",
        f"{STEM}.fgb",
    },
    "whole": {f"{STEM}.parquet", f"{STEM}.csv.gz"},
}
OUTPUTS = {"by id": BY_ID, "by name": BY_NAME, "whole": WHOLE}


def publish(chain: Chain, outputs: str, last: str = "latest") -> None:
    """Run the chain up to `last` with what the dataset asks for now."""
    define(chain.settings.definitions[0], outputs=OUTPUTS[outputs])
    chain.run_up_to(last)


def check(home: Path, outputs: str, version: str) -> None:
    """Just the files of the release `version` are served, each its very bytes, and the ledger says so."""
    processed, released = home / "store" / "processed", home / "store" / "releases" / "places" / "2021" / f"v{version}"
    served = tree(processed)
    assert served.keys() == SERVED[outputs]
    for name, digest in served.items():
        if not name.endswith("manifest.json"):
            suffix = name.removeprefix(STEM).replace("/", "_")
            assert digest == sha256(released / f"{STEM}_v{version}{suffix}")
    assert dict(ask_ledger(home, "SELECT address, sha256 FROM latest")) == {
        f"processed/{name}": digest for name, digest in served.items()
    }
    if outputs != "whole":
        assert read_index(home) == f"{STEM}_v{version}"
    assert not list(processed.rglob(".*"))


def read_index(home: Path) -> str | None:
    """The release that a reader finds who begins at the index; what it names is there and is what it says."""
    index = home / "store" / "processed" / STEM / "manifest.json"
    if not index.is_file():
        return None
    said = json.loads(index.read_text("utf-8"))
    for part in said["parts"]:
        file = home / "store" / urlsplit(part["url"]).path.lstrip("/")
        assert f"/v{said['version']}/" in part["url"]
        assert (file.stat().st_size, sha256(file)) == (part["size"], part["sha256"])
        assert part["file"] == f"{part['part']}.parquet"
    assert sum(part["rows"] for part in said["parts"]) == said["rows"] == 4
    return said["release"]


def test_every_way_of_cutting_follows_every_other_as_a_patch(chain: Chain) -> None:
    for number, outputs in enumerate(["by id", "by name", "whole", "by id"]):
        publish(chain, outputs)
        check(chain.home, outputs, f"0.1.{number}-beta")
        # Once more changes nothing and tells nobody of a switch.
        assert not chain.run("latest").changed
    assert [event.kind for event in chain.opened.ledger.events.of("places")].count("latest switched") == 4
    # Never backwards: an older release that is asked about again leaves the newest standing.
    assert chain.results["latest"].address == f"processed/{STEM}/manifest.json"
    reasons = chain.newest().change.reasons
    assert reasons[0] == "the data is cut by id, 4 files"


def test_a_lost_and_a_damaged_part_are_put_back(chain: Chain) -> None:
    publish(chain, "by id")
    processed = chain.home / "store" / "processed"
    (processed / STEM / "id-2.parquet").unlink()
    (processed / STEM / "id-3.parquet").write_bytes(b"PAR1")
    (processed / STEM / "manifest.json").unlink()
    (processed / f"{STEM}_thumbnail.png").write_bytes(b"")
    assert chain.run("latest").changed
    check(chain.home, "by id", "0.1.0-beta")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("before", "after"), [("by id", "by name"), ("by id", "whole"), ("whole", "by id")])
def test_a_switch_killed_anywhere_ends_right(zygote: Zygote, chain: Chain, before: str, after: str) -> None:
    publish(chain, before)
    publish(chain, after, "deposit")
    chain.opened.ledger.close()
    whole = chain.home.with_name("whole")
    shutil.copytree(chain.home, whole)
    code, acts = switch(zygote, chain, whole, "none")
    assert code == 0, acts
    check(whole, after, "0.1.1-beta")
    assert int(acts) > 12
    for fatal in range(0, int(acts), stride(5)):
        home = chain.home.with_name(f"killed{fatal}")
        shutil.copytree(chain.home, home)
        assert switch(zygote, chain, home, str(fatal)) == (-9, ""), fatal
        # Who begins at the index has one release or the other in the meantime, never some of both.
        assert read_index(home) in (None, f"{STEM}_v0.1.0-beta", f"{STEM}_v0.1.1-beta")
        code, said = switch(zygote, chain, home, "none")
        assert code == 0, (fatal, said)
        check(home, after, "0.1.1-beta")
        shutil.rmtree(home)


@pytest.mark.timeout(600)
def test_what_a_killed_switch_left_goes_when_the_next_release_has_it_no_more(zygote: Zygote, chain: Chain) -> None:
    publish(chain, "whole")
    publish(chain, "by id", "deposit")
    chain.opened.ledger.close()
    homes: dict[int, Path] = {}
    for fatal in range(0, 30, stride(8)):
        homes[fatal] = chain.home.with_name(f"killed{fatal}")
        shutil.copytree(chain.home, homes[fatal])
        code, _ = switch(zygote, chain, homes[fatal], str(fatal))
        if code == 0:
            break
    assert len(homes) > 2
    # Another release is published without the parts before anybody came back to the switch.
    define(chain.settings.definitions[0], outputs=WHOLE)
    for home in homes.values():
        d4c = command(zygote, chain, home)
        done = d4c.start("none", function="d4c_pipeline_tests.support.steps:run_all").wait()
        assert done.code == 0, done.stderr
        check(home, "whole", "0.1.2-beta")


def command(zygote: Zygote, chain: Chain, home: Path) -> D4C:
    return D4C(zygote, home, chain.settings.port, chain.origin, {"D4C_DEFS": str(chain.settings.definitions[0])})


def switch(zygote: Zygote, chain: Chain, home: Path, fatal: str) -> tuple[int, str]:
    """Run the switch in a process of its own; returns its code and what it said."""
    function = "d4c_pipeline_tests.support.steps:run_latest"
    done = command(zygote, chain, home).start(fatal, function=function).wait()
    return done.code, done.stdout if done.code in (0, -9) else done.stderr


@pytest.mark.timeout(600)
def test_a_release_in_parts_killed_on_its_way_is_one_release(zygote: Zygote, chain: Chain) -> None:
    publish(chain, "whole")
    chain.opened.ledger.close()
    define(chain.settings.definitions[0], outputs=BY_ID)
    function = "d4c_pipeline_tests.support.steps:run_all"
    for fatal in range(5, 200, stride(61)):
        home = chain.home.with_name(f"killed{fatal}")
        shutil.copytree(chain.home, home)
        d4c = command(zygote, chain, home)
        killed = d4c.start(str(fatal), function=function).wait()
        assert killed.code == -9, fatal
        done = d4c.start("none", function=function).wait()
        assert done.code == 0, (fatal, done.stderr)
        assert states(home) == [("2021", "0.1.0-beta", "published"), ("2021", "0.1.1-beta", "published")]
        assert (len(records(home)), drafts(home)) == (2, [])
        check(home, "by id", "0.1.1-beta")
        assert len(ask_ledger(home, "SELECT artifact FROM torrent")) == 5
        assert len(list((home / "store" / "torrents").glob("ca_*.torrent"))) == 5
        assert [str(path) for path in home.rglob(".*") if path.name != ".lock"] == []
        shutil.rmtree(home)
