"""A backup is taken beside running work, restored into an empty home, compared with what exists, and work goes on."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from d4c_pipeline.chain import portal
from d4c_pipeline.commands.main import app
from d4c_pipeline.ledger import Ledger, lease_keys
from d4c_pipeline.model.errors import D4CError, IntegrityError, NeedsPersonError, PermanentError
from d4c_pipeline.model.settings import Settings
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.torrents.operator_key import make_key
from d4c_pipeline.upkeep import recovery
from d4c_pipeline.upkeep.backup import back_up, read_contents
from d4c_pipeline.upkeep.extra_files import set_aside
from d4c_pipeline.upkeep.reconciliation import Difference, reconcile
from d4c_pipeline.upkeep.restore import restore
from d4c_pipeline.workspace.deployment import Deployment
from d4c_pipeline_tests.integration.chain.conftest import Chain, chain, definitions
from d4c_pipeline_tests.support.ports import free_port
from d4c_pipeline_tests.support.samples import DAY, PLACES_URL, corrected

__all__ = ["chain", "definitions"]  # fixtures, found by their names here

TOKEN = "a-token-of-nobody-1234"


def small(tmp_path: Path) -> Settings:
    """A home with a ledger and without releases."""
    home = tmp_path / "small"
    Ledger.in_folder(home).close()
    return Settings(home=home, port=free_port())


def elsewhere(settings: Settings, home: Path) -> Settings:
    return settings.model_copy(update={"home": home})


def kinds(settings: Settings) -> list[tuple[Difference, str]]:
    with Deployment.open(settings) as opened:
        return [(each.kind, each.command) for each in reconcile(opened)]


def test_a_restored_home_goes_on_with_the_next_release(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    file, home = tmp_path / "backup.tar.gz", tmp_path / "restored"
    # A writer in the middle of a transaction, and a vintage that a process works on.
    with chain.opened.ledger.leases.hold(lease_keys.of_vintage("places", Vintage.parse("2021"))):
        writer = sqlite3.connect(chain.home / "ledger.sqlite", isolation_level=None)
        with closing(writer):
            writer.execute("BEGIN IMMEDIATE")
            contents = back_up(chain.settings, file, {})
            writer.execute("ROLLBACK")
        assert contents.rows["lease"] == 1
    assert (file.stat().st_mode & 0o777, contents.rows["release"]) == (0o600, 1)

    for folder in ("store", "archive"):
        shutil.copytree(chain.home / folder, home / folder)
    settings = elsewhere(chain.settings, home)
    restore(settings, file, {})
    with Deployment.open(settings) as opened:
        assert [each.kind for each in reconcile(opened)] == [Difference.PAGES]
        portal.build(opened, [chain.dataset])
        assert reconcile(opened) == ()
        with opened.working_on(chain.dataset, Vintage.parse("2021")):
            pass  # the lease of the backup's moment does not hold
        there = Chain(settings, chain.origin, opened)
        assert there.run_up_to("checksums").unchanged, "the same files make no release"
        chain.origin.put(PLACES_URL, corrected(), DAY + timedelta(days=1))
        there.run()
        assert str(there.newest().version) == "0.1.1-beta"
        assert reconcile(opened) == ()


def test_what_was_published_after_the_backup_is_found_and_taken_back(chain: Chain, tmp_path: Path) -> None:
    file, home = tmp_path / "backup.tar.gz", tmp_path / "restored"
    back_up(chain.settings, file, {})
    chain.run()
    for folder in ("store", "archive"):
        shutil.copytree(chain.home / folder, home / folder)
    settings = elsewhere(chain.settings, home)
    restore(settings, file, {})
    command = "d4c catalogue rebuild --from-archive"
    expected = [(Difference.RECORD_UNKNOWN, command), (Difference.CATALOGUED_UNKNOWN, command)]
    assert kinds(settings)[:2] == expected
    with Deployment.open(settings) as opened:
        # The files of the release are unknown to this ledger, and nobody may move them away.
        with pytest.raises(PermanentError, match=f"Run '{command}' first"):
            set_aside(opened, opened.primary)
        adopted = recovery.from_archive(opened, {"places": chain.dataset}).adopted
        assert [each.release for each in adopted] == [chain.newest().name]
        portal.build(opened, [chain.dataset])
        there = Chain(settings, chain.origin, opened)
        # Only the native file, and the torrents of a catalogue that the ledger of the backup never made.
        for each in reconcile(opened):
            assert each.kind in (Difference.NATIVE_UNKNOWN, Difference.EXTRA), each
        assert all(path.split("/")[1] in ("snapshots", "torrents") for path in set_aside(opened, opened.primary))
        there.run("raw")
        assert reconcile(opened) == ()


def test_lost_files_records_and_catalogue_are_found(chain: Chain, tmp_path: Path) -> None:
    chain.run()
    file, home = tmp_path / "backup.tar.gz", tmp_path / "restored"
    back_up(chain.settings, file, {})
    settings = elsewhere(chain.settings, home)
    restore(settings, file, {})
    assert kinds(settings) == [
        (Difference.RECORD_MISSING, "d4c archive forget places"),
        (Difference.COPY_MISSING, "d4c repair --refill primary"),
        (Difference.NOT_CATALOGUED, "d4c catalogue rebuild"),
        (Difference.CATALOGUE_FILES, "d4c catalogue rebuild --missing"),
        (Difference.PAGES, "d4c portal build"),
        (Difference.TORRENT, "d4c torrents reissue"),
    ]
    data = next((chain.home / "store" / "releases").rglob("*.parquet"))
    data.chmod(0o644)
    data.write_bytes(data.read_bytes()[:-1])
    assert [kind for kind, _ in kinds(chain.settings)] == [Difference.COPY_MISSING, Difference.PAGES]


def test_settings_keys_and_modes_come_back_and_secrets_only_if_wanted(tmp_path: Path) -> None:
    settings, document = small(tmp_path), tmp_path / "stores.yaml"
    make_key(settings.home / "keys" / "operator.pem")
    (settings.home / "dagster").mkdir()
    (settings.home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    document.write_text("mirrors: []\n")
    environment = {
        "D4C_HOME": str(settings.home),
        "D4C_STORES": str(document),
        "D4C_PUBLISHER": "It's us",
        "D4C_ARCHIVE_TOKEN": TOKEN,
        "D4C_LEDGER_URL": "",
        "PGPASSWORD": "another-secret-99",
        "OTHER": "x",
    }
    file = tmp_path / "backup.tar.gz"
    contents = back_up(settings, file, environment)
    assert contents.omitted == ("D4C_ARCHIVE_TOKEN", "PGPASSWORD")
    plain = gzip.decompress(file.read_bytes())
    assert TOKEN.encode() not in plain
    assert b"another-secret-99" not in plain
    restored = elsewhere(settings, tmp_path / "restored")
    assert restore(restored, file, {}).unset == {"D4C_PUBLISHER": "It's us"}
    assert restore(elsewhere(settings, tmp_path / "again"), file, environment).unset == {}
    key = restored.home / "keys" / "operator.pem"
    assert key.read_bytes() == (settings.home / "keys" / "operator.pem").read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    assert (restored.home / "settings.env").read_text() == "D4C_PUBLISHER='It'\"'\"'s us'\n"
    assert (restored.home / "dagster" / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"
    assert (restored.home / "stores.yaml").read_text() == "mirrors: []\n"
    assert not (restored.home / "secrets.env").exists()

    complete = tmp_path / "complete.tar.gz"
    assert back_up(settings, complete, environment, with_secrets=True).omitted == ()
    restore(elsewhere(settings, tmp_path / "complete"), complete, {})
    secrets = tmp_path / "complete" / "secrets.env"
    assert (secrets.read_text(), secrets.stat().st_mode & 0o777) == (
        f"D4C_ARCHIVE_TOKEN={TOKEN}\nPGPASSWORD=another-secret-99\n",
        0o600,
    )


def test_a_home_with_anything_of_its_own_is_refused_and_a_killed_restore_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, file = small(tmp_path), tmp_path / "backup.tar.gz"
    make_key(settings.home / "keys" / "operator.pem")
    back_up(settings, file, {})
    with pytest.raises(NeedsPersonError, match=r"is not empty: it has ledger\.sqlite"):
        restore(settings, file, {})
    home = tmp_path / "restored"
    (home / "keys").mkdir(parents=True)
    (home / "keys" / "operator.pem").write_text("another key")
    target = elsewhere(settings, home)
    with pytest.raises(NeedsPersonError, match=r"it has keys/operator\.pem"):
        restore(target, file, {})
    (home / "keys" / "operator.pem").unlink()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("d4c_pipeline.upkeep.restore.copy_in", die)
        with pytest.raises(KeyboardInterrupt):
            restore(target, file, {})
    assert (home / "keys" / "operator.pem").exists()
    assert not (home / "ledger.sqlite").exists()
    restore(target, file, {})
    assert sorted(path.name for path in home.iterdir()) == ["keys", "ledger.sqlite", "settings.env"]


def packed(change: Callable[[dict[str, Any]], None]) -> Callable[[bytes], bytes]:
    """Return a function that changes the contents that a backup states."""

    def changed(content: bytes) -> bytes:
        out = io.BytesIO()
        with (
            tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as source,
            tarfile.open(fileobj=out, mode="w:gz") as target,
        ):
            for member in source:
                stream = source.extractfile(member)
                assert stream is not None
                found = stream.read()
                if member.name == "backup.json":
                    stated = json.loads(found)
                    change(stated)
                    found = json.dumps(stated).encode()
                    member.size = len(found)
                target.addfile(member, io.BytesIO(found))
        return out.getvalue()

    return changed


def flipped(content: bytes) -> bytes:
    plain = bytearray(gzip.decompress(content))
    place = plain.index(b"SQLite format 3") + 5000
    plain[place] ^= 1
    return gzip.compress(bytes(plain))


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (lambda content: content[: len(content) // 2], IntegrityError, "is damaged"),
        (flipped, IntegrityError, "is damaged"),
        (lambda _: b"", IntegrityError, "is damaged"),
        (lambda _: b"no backup", IntegrityError, "is damaged"),
        (packed(lambda found: found.update(format=2)), PermanentError, "has the format 2, this version reads 1"),
        (packed(lambda found: found["files"][0].update(name="../x")), IntegrityError, "is damaged"),
        (packed(lambda found: found["rows"].update(event=7)), IntegrityError, "other rows than it states"),
    ],
    ids=["cut", "flipped", "empty", "text", "newer", "climbing", "rows"],
)
def test_a_damaged_backup_is_refused_and_leaves_no_ledger(
    tmp_path: Path, change: Callable[[bytes], bytes], kind: type[D4CError], said: str
) -> None:
    settings, file = small(tmp_path), tmp_path / "backup.tar.gz"
    back_up(settings, file, {})
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(kind, match=said):
        restore(elsewhere(settings, tmp_path / "restored"), file, {})
    assert not list((tmp_path / "restored").rglob("ledger.sqlite")) if (tmp_path / "restored").exists() else True


def test_a_backup_replaces_no_file_and_a_failed_one_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, file = small(tmp_path), tmp_path / "backup.tar.gz"
    with pytest.raises(PermanentError, match="No ledger is at"):
        back_up(elsewhere(settings, tmp_path / "nothing"), file, {})
    with monkeypatch.context() as patched:
        patched.setattr(
            "d4c_pipeline.upkeep.backup.read_contents", lambda _: (_ for _ in ()).throw(OSError(28, "full"))
        )
        with pytest.raises(D4CError):
            back_up(settings, file, {})
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    back_up(settings, file, {})
    with pytest.raises(PermanentError, match="exists"):
        back_up(settings, file, {})
    assert read_contents(file).files[0].name == "ledger.sqlite"


def test_the_commands_print_what_they_did(tmp_path: Path) -> None:
    settings, file, home = small(tmp_path), tmp_path / "backup.tar.gz", tmp_path / "restored"

    def call(*arguments: str) -> Any:
        done = CliRunner().invoke(app, [*arguments, "--json"])
        assert done.exit_code == 0, (done.output, done.exception)
        return json.loads(done.stdout)

    assert call("backup", str(file), "--home", str(settings.home))["size"] == file.stat().st_size
    answer = call("restore", str(file), "--home", str(home))
    assert (answer["releases"], answer["differences"]) == (0, [])
    assert call("reconcile", "--home", str(home)) == []


def test_an_address_with_a_password_in_any_form_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "backup.tar.gz"
    hidden = {"D4C_ALERTS": "slack://T1/B2/hush-1", "D4C_SUBMISSIONS_MAIL": "mailtos://?from=a@b.ca&pass=hush-2"}
    contents = back_up(small(tmp_path), file, {**hidden, "D4C_SUBMISSIONS": "1"})
    assert contents.omitted == ("D4C_ALERTS", "D4C_SUBMISSIONS_MAIL")
    with tarfile.open(file) as archive:
        settings = archive.extractfile("settings.env")
        assert settings is not None
        assert settings.read() == b"D4C_SUBMISSIONS=1\n"
