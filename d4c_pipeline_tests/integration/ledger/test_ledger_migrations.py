"""A ledger of an earlier schema that has rows already: what they become in today's."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, insert, text

from d4c_pipeline.ledger import Ledger, schema
from d4c_pipeline.ledger.events import now
from d4c_pipeline.model.vintage import Vintage

SUMMARY = {
    "rows": 13,
    "columns": [],
    "key": [],
    "crs": "EPSG:4326",
    "bounds": [-141.0, 41.7, -52.6, 83.1],
    "geometry_types": ["Polygon"],
    "report": {},
}


def test_the_one_torrent_of_a_release_becomes_that_of_its_data_artifact(url: str) -> None:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).parent.mkdir()
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(files("d4c_pipeline.ledger") / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            insert(schema.release).values(
                id=7, dataset="provinces", vintage="2021", version="0.1.0", name="p_v0.1.0", state="published",
                key="k", bump=2, reasons=[], summary=SUMMARY, planned_at=now(), published_at=now(),
            )
        )  # fmt: skip
        for name, role in (("p_v0.1.0.parquet", "data"), ("p_v0.1.0.parquet.torrent", "torrent")):
            connection.execute(
                insert(schema.artifact).values(
                    release_id=7, name=name, role=role, size=5, md5="m", sha256="a" * 64, media_type="x/y"
                )
            )
        connection.execute(
            text(
                "INSERT INTO torrent (release_id, info_hash, magnet, piece_size, web_seeds, address) VALUES"
                " (7, 'abc', 'magnet:?x', 16384, '[\"http://a/é\", \"http://b\"]', 'torrents/p_v0.1.0.torrent')"
            )
        )
    engine.dispose()

    ledger = Ledger(url)
    release = ledger.releases.newest_published("provinces", Vintage.parse("2021"))
    assert release is not None
    ((name, torrent),) = ledger.publications.torrents(release).items()
    assert name == "p_v0.1.0.parquet"
    assert (torrent.info_hash, torrent.info_hash_v2, torrent.piece_size) == ("abc", None, 16_384)
    assert (torrent.web_seeds, torrent.address) == (("http://a/é", "http://b"), "torrents/p_v0.1.0.torrent")
    # A release of that time knows nothing of parts: its data is one file, whose sha256 is that of the set.
    assert (release.summary.parts, release.summary.partition) == ((), None)
    assert release.data_sha256 == "a" * 64
    ledger.close()


def test_a_plan_that_is_on_its_way_gets_a_token_of_its_own(url: str) -> None:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        Path(str(engine.url.database)).parent.mkdir()
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(files("d4c_pipeline.ledger") / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0011")
        for number, vintage, state in ((7, "2021", "published"), (8, "2022", "planned"), (9, "2023", "planned")):
            connection.execute(
                insert(schema.release).values(
                    id=number, dataset="provinces", vintage=vintage, version="0.1.0", name=f"p_{vintage}_v0.1.0",
                    state=state, key="k", bump=2, reasons=[], summary=SUMMARY, planned_at=now(),
                )
            )  # fmt: skip
    engine.dispose()

    ledger = Ledger(url)
    published, *planned = ledger.releases.living("provinces")
    assert published.token is None  # its files are public
    assert len({one.token for one in planned}) == 2
    assert [len(bytes.fromhex(str(one.token))) for one in planned] == [16, 16]
    ledger.close()
