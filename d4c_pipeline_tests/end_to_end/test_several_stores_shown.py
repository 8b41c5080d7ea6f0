"""`d4c settings` and `d4c publish` with a document of stores."""

from __future__ import annotations

import re
from pathlib import Path

from d4c_pipeline_tests.support.commands import D4C
from d4c_pipeline_tests.support.samples import PLACES_URL, Origin, define, geojson


def test_stores_are_shown_and_their_secrets_are_not(d4c: D4C, tmp_path: Path) -> None:
    document = tmp_path / "stores.yaml"
    document.write_text(
        "mirrors: [{name: r2, kind: s3, bucket: open-data, url: 'https://r2.example.ca', access_key_env: R2_KEY,"
        " secret_key_env: R2_SECRET}]\n",
        "utf-8",
    )
    d4c.settings |= {"D4C_STORES": str(document), "R2_KEY": "k3y", "R2_SECRET": "s3cret"}
    d4c.settings |= {"D4C_ARCHIVE_TOKEN": "t0ken", "D4C_LEDGER_URL": f"sqlite:///{tmp_path}/l.sqlite?password=passw0rd"}
    table = d4c("settings").stdout
    assert re.search(r"^D4C_ARCHIVE_TOKEN +\*\*\* ", table, re.MULTILINE)
    assert re.search(r"^D4C_STORES +r2 ", table, re.MULTILINE)
    assert [word for word in ("k3y", "s3cret", "t0ken", "passw0rd") if word in table] == []
    shown = d4c("settings", "--json")
    (mirror,) = shown.json["stores"]["mirrors"]
    assert (mirror["name"], mirror["bucket"], mirror["secret_key_env"]) == ("r2", "open-data", "R2_SECRET")
    assert "s3cret" not in shown.stdout
    assert "k3y" not in shown.stdout

    document.write_text("mirrors: [{name: r2, kind: s3, bucket: open-data, secret_key: s3cret}]\n", "utf-8")
    refused = d4c("settings")
    assert refused.code == 1
    assert "mirrors.0.secret_key: no secret stands here" in " ".join(refused.stderr.split())
    assert "s3cret" not in refused.stderr


def test_the_settings_of_the_seeder_are_shown_as_well(d4c: D4C, tmp_path: Path) -> None:
    d4c.settings |= {"D4C_SEED_LISTEN": "127.0.0.1:7000", "D4C_SEED_UPLOAD_LIMIT": "5MB", "D4C_SEED_BUDGET": "2GB"}
    d4c.settings |= {"D4C_SEED_DATASETS": "stops,places", "D4C_OPERATOR_KEY": str(tmp_path / "key.pem")}
    shown = d4c.ok("settings")["seeding"]
    assert (shown["listen"], shown["upload_limit"], shown["dht"]) == ("127.0.0.1:7000", 5_000_000, True)
    assert shown["fetch"] == {"everything": False, "datasets": ["places", "stops"], "budget": 2_000_000_000}
    assert shown["key_file"] == str(tmp_path / "key.pem")
    (row,) = (line for line in d4c("settings").stdout.splitlines() if line.startswith("D4C_SEED_LISTEN"))
    assert row.split()[:3] == ["D4C_SEED_LISTEN", "127.0.0.1:7000", "0.0.0.0:6881,[::]:6881"]
    assert "D4C_SEED_LISTEN is 'nowhere'" in d4c("settings", env={"D4C_SEED_LISTEN": "nowhere"}).sentence


def test_a_dead_mirror_stops_no_publication(d4c: D4C, origin: Origin, definitions: Path, tmp_path: Path) -> None:
    define(definitions)
    origin.put(PLACES_URL, geojson())
    document = tmp_path / "stores.yaml"
    document.write_text("mirrors: [{name: attic, kind: folder, path: attic, url: 'https://attic.ca'}]\n", "utf-8")
    d4c.settings |= {"D4C_STORES": str(document)}
    done = d4c("publish", "places")
    assert done.code == 0
    shown = " ".join(done.stdout.split())
    assert "Warning: every_store of places/copies: expected every mirror holds the release;" in shown
    assert f"actual attic lacks it: The folder {tmp_path}/attic of" in shown
    told = [line for line in d4c("publish", "places", "--json").json["warnings"] if "every_store" in line]
    assert len(told) == 1, told
    assert told[0].endswith("remedy Mount its disk, or create the folder")
    (tmp_path / "attic").mkdir()
    assert not [line for line in d4c("publish", "places", "--json").json["warnings"] if "every_store" in line]
    assert len(list((tmp_path / "attic" / "releases").rglob("*.parquet"))) == 1
