"""Settings: read from an environment, with clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from d4c_pipeline.model.errors import PermanentError
from d4c_pipeline.model.settings import Settings, archive_token, has_archive_token
from d4c_pipeline.model.stores import FolderPlace, Stores


def test_without_variables_everything_lies_in_a_hidden_folder_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert Settings.from_environment({}) == Settings(home=tmp_path / ".d4c")


def test_every_variable(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "D4C_HOME": str(tmp_path / "home"),
            "D4C_DEFS": f"{tmp_path / 'a'}:{tmp_path / 'b'}",
            "D4C_ORIGIN_MAP": "https://a.ca=http://127.0.0.1:8000, https://b.ca/=http://127.0.0.1:8001/",
            "D4C_STORE_URL": "https://data.example.org/",
            "D4C_LEDGER_URL": "postgresql://d4c@db/d4c",
            "D4C_TRACKERS": "udp://one:1/announce, https://two/announce,",
            "D4C_TORRENT_HYBRID": "1",
            "D4C_THREADS": "3",
            "D4C_MEMORY_LIMIT": "4GB",
            "D4C_TEMP": str(tmp_path),
            "D4C_ARCHIVE": "invenio",
            "D4C_ARCHIVE_URL": "https://rdm.example.org/",
            "D4C_ARCHIVE_TEST": "1",
            "D4C_ARCHIVE_COMMUNITY": "canada",
            "D4C_ARCHIVE_ACCOUNT": "ORG.REPO",
            "D4C_ARCHIVE_TOKEN": "s3cret",
            "D4C_DOI_PREFIX": "10.1234",
            "D4C_DOI_RESOLVER": "https://doi.example.org/",
            "D4C_PUBLISHER": "Data for All",
            "D4C_CONTACT": "data@example.org",
            "D4C_CODE_URL": "https://example.org/code",
            "D4C_PAGE_URL": "https://example.org/{dataset}/{vintage}/{version}",
        }
    )

    assert settings == Settings(
        home=tmp_path / "home",
        definitions=(tmp_path / "a", tmp_path / "b"),
        origins={"https://a.ca": "http://127.0.0.1:8000", "https://b.ca": "http://127.0.0.1:8001"},
        store_url="https://data.example.org",
        ledger_url="postgresql://d4c@db/d4c",
        trackers=("udp://one:1/announce", "https://two/announce"),
        hybrid_torrents=True,
        threads=3,
        memory_limit="4GB",
        temp=tmp_path,
        archive="invenio",
        archive_url="https://rdm.example.org",
        archive_test=True,
        archive_community="canada",
        archive_account="ORG.REPO",
        doi_prefix="10.1234",
        doi_resolver="https://doi.example.org",
        publisher="Data for All",
        contact="data@example.org",
        code_url="https://example.org/code",
        page_url="https://example.org/{dataset}/{vintage}/{version}",
    )
    assert "s3cret" not in repr(settings)


def test_the_document_of_stores_says_where_the_primary_is(tmp_path: Path) -> None:
    (tmp_path / "stores.yaml").write_text(
        "primary: {kind: folder, path: disk, url: 'https://d.example.org/'}\n", "utf-8"
    )

    settings = Settings.from_environment({"D4C_HOME": str(tmp_path), "D4C_STORES": str(tmp_path / "stores.yaml")})

    assert settings.store_url == "https://d.example.org"
    assert settings.stores == Stores(
        primary=FolderPlace(kind="folder", path=tmp_path / "disk", url="https://d.example.org")
    )


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("D4C_THREADS", "0", "The number of threads is '0'"),
        ("D4C_THREADS", "two", "The number of threads is 'two'"),
        ("D4C_MEMORY_LIMIT", "4 elephants", "The memory limit is '4 elephants'"),
        ("D4C_TEMP", "/nonexistent/x", "temporary files /nonexistent/x does not exist"),
    ],
)
def test_what_a_build_may_take_is_understood_or_refused(variable: str, text: str, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        Settings.from_environment({variable: text})


def test_the_process_environment_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("D4C_HOME", str(tmp_path / "mine"))

    assert Settings.from_environment().home == tmp_path / "mine"


def test_a_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert Settings.from_environment({"D4C_HOME": "data"}).home == tmp_path / "data"


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_hybrid_torrents_are_off(value: str) -> None:
    assert Settings.from_environment({"D4C_TORRENT_HYBRID": value}).hybrid_torrents is False


@pytest.mark.parametrize("value", ["https://a.ca", "https://a.ca=127.0.0.1:8000", "a.ca=http://127.0.0.1", "=http://x"])
def test_a_wrong_origin_map_is_refused(value: str) -> None:
    with pytest.raises(PermanentError, match=r"D4C_ORIGIN_MAP has .*Write origin=origin pairs"):
        Settings.from_environment({"D4C_ORIGIN_MAP": value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "D4C_ARCHIVE",
            "Zenodo",
            "D4C_ARCHIVE is 'Zenodo'. Write one of local, zenodo, zenodo-sandbox, invenio, datacite.",
        ),
        ("D4C_PAGE_URL", "https://x/{data}", r"D4C_PAGE_URL is 'https://x/\{data\}', no template"),
    ],
)
def test_what_can_not_be_understood_is_refused(name: str, value: str, message: str) -> None:
    with pytest.raises(PermanentError, match=message):
        Settings.from_environment({name: value})


def test_the_archive_s_token_is_read_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from a file\n", "utf-8")

    assert archive_token({"D4C_ARCHIVE_TOKEN": " plain "}) == "plain"
    assert archive_token({"D4C_ARCHIVE_TOKEN_FILE": str(file)}) == "from a file"
    assert has_archive_token({"D4C_ARCHIVE_TOKEN_FILE": str(file)})
    assert not has_archive_token({})
    with pytest.raises(PermanentError, match="requires a token and none is set"):
        archive_token({})
    with pytest.raises(PermanentError, match="can't be read"):
        archive_token({"D4C_ARCHIVE_TOKEN_FILE": str(tmp_path / "none")})


def test_amounts_and_days_of_fixity() -> None:
    def read(**values: str) -> Settings:
        return Settings.from_environment(values)

    assert (read().copies, read().fixity_days, read().fixity_bytes) == (3, 30, None)
    found = read(D4C_COPIES="2", D4C_FIXITY_DAYS="90", D4C_FIXITY_BYTES="1.5GB")
    assert (found.copies, found.fixity_days, found.fixity_bytes) == (2, 90, 1_500_000_000)
    assert read(D4C_FIXITY_BYTES="512 MiB").fixity_bytes == 512 * 1024**2
    assert read(D4C_FIXITY_BYTES="7B").fixity_bytes == 7
    for name, text in (("D4C_FIXITY_BYTES", "a lot"), ("D4C_COPIES", "0"), ("D4C_FIXITY_DAYS", "-1")):
        with pytest.raises(PermanentError, match=f"{name} is '{text}'"):
            read(**{name: text})


@pytest.mark.parametrize("name", ["D4C_STORE_URL", "D4C_ARCHIVE_URL", "D4C_DOI_RESOLVER"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://user:hunter2@data.example.ca", "no user or password"),
        ("https://data.example.ca/d4c?sig=hunter2", "no query"),
        ("https://data.example.ca/d4c?", "no query"),
        ("https://data.example.ca/#top", "fragment"),
        ("https://data.example.ca/my data", "no spaces"),
        ("https://data.example.ca/a\tb", "no spaces"),
        ("data.example.ca", "http"),
        ("s3://open-data/d4c", "http"),
        ("ftp://data.example.ca", "http"),
        ("file:///srv/store", "http"),
        ("https://", "http"),
        ("https://data.example.ca:port", "not an address"),
    ],
)
def test_an_address_that_readers_can_t_use_is_refused_and_not_repeated(name: str, value: str, said: str) -> None:
    with pytest.raises(PermanentError, match=said) as caught:
        Settings.from_environment({name: value})
    assert name in str(caught.value)
    assert "hunter2" not in str(caught.value)
