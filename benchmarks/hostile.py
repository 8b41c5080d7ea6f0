"""How many attacks end in a refusal that names them, with nothing read, written or requested that should not be.

Run `.venv/bin/python benchmarks/hostile.py [--quick]`. The attacks are generated: pages in an operator's browser,
secrets in definitions and beside them, redirects inside, SQL that answers otherwise tomorrow, XML with entities, texts
that break feeds, clocks that step back, readers of the file server (`hostile_server.py`), files that end the process
which reads them. Servers are on the loopback. `--quick` tries every third of each kind, of files every 15th. The last
line is one JSON object: attacks tried, attacks survived.
"""

# ruff: noqa: S608 - the SQL is what is attacked with

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

import hostile_server
import httpx
import pyarrow as pa
import yaml
from hostile_server import Attack
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from d4c_pipeline.ledger import Ledger, natives
from d4c_pipeline.model import secrets
from d4c_pipeline.model.errors import D4CError
from d4c_pipeline.model.release import NativeFile
from d4c_pipeline.model.sources import HttpSource
from d4c_pipeline.model.ui_access import UiAccess
from d4c_pipeline.model.vintage import Vintage
from d4c_pipeline.orchestration.ui_guard import Guard
from d4c_pipeline.processing import transform
from d4c_pipeline.readers import markup
from d4c_pipeline.sources.http import HttpFiles
from d4c_pipeline.transport.patience import Patience
from d4c_pipeline.workspace.code_archive import code_archive
from d4c_pipeline.workspace.datasets import COMPONENT_TYPE, load_datasets, read_definitions
from d4c_pipeline_tests import hostile
from d4c_pipeline_tests.support import origin_server as o

MUTATION = "mutation { launchRun { __typename } }"
SECRET = "aB3dE6gH9jK2mN5p"  # noqa: S105 - a made one
V2021 = Vintage.parse("2021")
SHIPPED = "natural_earth_countries"


def refused(attempt: Callable[[], object], *words: str, hidden: str = "") -> str | None:
    """Say what is wrong unless `attempt` ends in an error of ours with one of `words` and without `hidden`."""
    try:
        attempt()
    except D4CError as error:
        said = str(error)
        if hidden and hidden in said:
            return "the refusal repeats the secret"
        return None if not words or any(word in said for word in words) else f"refused for another reason: {said}"
    except Exception as error:  # noqa: BLE001 - told as what it is: a bug
        return f"a bug: {type(error).__name__}: {error}"
    return "it was let through"


def pages() -> Iterator[Attack]:
    """Requests as a hostile page can have a browser send them, and as a client without a sign-in sends them."""
    reached: list[str] = []

    async def answer(request: Request) -> PlainTextResponse:
        reached.append(request.url.path)
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "DELETE"])])

    def attack(access: UiAccess, method: str, path: str, headers: dict[str, str], content: bytes) -> str | None:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(Guard(app, access), client=("127.0.0.1", 5))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3000") as client:
                return await client.request(method, path, headers=headers, content=content)

        reached.clear()
        response = asyncio.run(ask())
        if response.status_code == 403 and not reached:
            return None
        return f"answered {response.status_code}"

    query = httpx.QueryParams({"query": MUTATION})
    foreign = [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8763"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:3000"},
    ]
    kinds = ["application/json", "text/plain", "application/graphql", "application/x-www-form-urlencoded"]
    body = json.dumps({"query": MUTATION}).encode()
    local, nobody = UiAccess(operator="ana"), UiAccess()
    proxied = UiAccess.from_environment({"D4C_UI_USER_HEADER": "X-User", "D4C_UI_PROXIES": "10.0.0.1"})
    for path in ("/graphql", "/graphql/", "/report_asset_materialization/a"):
        for kind, headers in itertools.product(kinds, foreign):
            name = f"POST {path} {kind} {headers}"
            yield name, lambda p=path, h={**headers, "Content-Type": kind}: attack(local, "POST", p, h, body)
        for method, access, more in itertools.product(
            ("POST", "PUT", "DELETE"), (nobody, proxied), ({}, {"X-User": "ana"}, {"X-Forwarded-For": "10.0.0.1"})
        ):
            name = f"{method} {path} without a sign-in {more}"
            yield name, lambda m=method, a=access, p=path, h=more: attack(a, m, p, h, body)
    for document in (MUTATION, f"query {{ a }} {MUTATION.replace('mutation', 'mutation b')}", f"# x\n{MUTATION}"):
        path = f"/graphql?{httpx.QueryParams({'query': document})}"
        for headers in ({}, {"Accept": "text/html"}, *foreign):
            yield f"GET {document!r} {headers}", lambda p=path, h=headers: attack(local, "GET", p, h, b"")
    yield "POST ?query", lambda: attack(nobody, "POST", f"/graphql?{query}", {}, b"")


def secret_addresses(folder: Path) -> Iterator[Attack]:
    """Definitions with a secret in an address: refused, and never repeated."""
    declared = yaml.safe_load((load_datasets([])[SHIPPED].folder or Path()).joinpath("defs.yaml").read_text("utf-8"))

    def attack(url: str) -> str | None:
        place = folder / "definition" / SHIPPED
        place.mkdir(parents=True, exist_ok=True)
        source = {"kind": "http", "urls": [url]}
        document = {"type": COMPONENT_TYPE, "attributes": {**declared["attributes"], "source": source}}
        (place / "defs.yaml").write_text(yaml.safe_dump(document), "utf-8")
        return refused(lambda: list(read_definitions(place / "defs.yaml")), "would be published", hidden=SECRET)

    names = (
        "sig subscription-key Ocp-Apim-Subscription-Key api_key apikey api-key X-API-Key key token access_token "
        "X-Amz-Signature X-Amz-Security-Token X-Goog-Signature Signature client_secret password pwd code auth"
    )
    for name in names.split():
        for url in (f"https://a.ca/x.zip?{name}={SECRET}", f"https://a.ca/x.zip?v=1&{name.upper()}={SECRET}&y=2"):
            yield f"definition {url}", lambda u=url: attack(u)
            yield f"masked {url}", lambda u=url: None if SECRET not in secrets.public_address(u) else "it is shown"
    for info in (f"ana:{SECRET}", SECRET, f"ana:a/{SECRET}@b"):
        yield f"definition {info}@", lambda i=info: attack(f"https://{i}@a.ca/x.zip")
        yield f"masked {info}@", lambda i=info: None if SECRET not in secrets.mask(f"x https://{i}@a.ca/x") else "shown"


def packed_secrets(folder: Path) -> Iterator[Attack]:
    """What lies in a dataset's folder: never packed, or refused with file and line."""
    shipped = load_datasets([])[SHIPPED]
    numbers = itertools.count()

    def packed(extra: dict[str, str], link: bool = False) -> bytes:
        place = folder / f"packed{next(numbers)}"
        place.mkdir()
        for name, text in {"defs.yaml": "x", "transform.sql": "SELECT 1", **extra}.items():
            (place / name).parent.mkdir(exist_ok=True)
            (place / name).write_text(text, "utf-8")
        if link:
            (place / "transform.sql").unlink()
            (place / "transform.sql").symlink_to("/etc/hostname")
        return code_archive(shipped.model_copy(update={"folder": place}))

    for name in ("token.txt", "id_rsa", ".env", "secrets/a.yaml", "defs.yaml.bak", "transform.sql~", "key.pem"):
        yield f"packs {name}", lambda n=name: "it is packed" if SECRET.encode() in packed({n: SECRET}) else None
    keys = [
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
        "AKIA" + "Q7WERTYUIOP12345",
        "ghp_" + "a1B2" * 9,
        f"password = '{SECRET}'",
        f"Authorization: Bearer {SECRET}",
        f"https://ana:{SECRET}@a.ca/x",
        f"D4C_ARCHIVE_TOKEN={SECRET}",
    ]
    for key, name in itertools.product(keys, ("defs.yaml", "transform.sql")):
        text = f"one\n-- {key}\n"
        yield (
            f"{name} with {key[:12]}",
            lambda n=name, t=text: refused(lambda: packed({n: t}), f"{n}:2 holds", hidden=SECRET),
        )
    yield "a link out of the folder", lambda: refused(lambda: packed({}, link=True), "leads out of")


def inner_addresses(folder: Path) -> Iterator[Attack]:
    """Redirects of a publisher to where only this machine or network can go: nothing is said there."""
    hosts = (
        "127.0.0.1 127.1 2130706433 0x7f.1 0177.0.0.1 localhost [::1] [::127.0.0.1] [::ffff:127.0.0.1] "
        "[64:ff9b::7f00:1] [fec0::1] [fe80::1] [fd00::1] [2002:7f00:1::1] 10.0.0.1 192.168.1.1 172.16.0.1 100.64.0.1 "
        "169.254.169.254 192.0.0.192 0.0.0.0 224.0.0.1 168.63.129.16"
    )

    def attack(host: str, number: int) -> str | None:
        with o.serving(o.Origin(o.good)) as inside, o.serving(o.Origin(o.good)) as publisher:
            port = inside.url.rpartition(":")[2]
            publisher.behaviour = lambda handler, _: handler.reply(302, Location=f"http://{host}:{port}/data.zip")
            source = HttpFiles(
                HttpSource(kind="http", urls=("https://data.example.ca/data.zip",)),
                origins={"https://data.example.ca": publisher.url},
                vintages=(V2021,),
                patience=Patience(attempts=1, connect_timeout=2, read_timeout=2),
            )
            wrong = refused(lambda: source.fetch(V2021, folder / f"inner{number}"), "no public address")
            return wrong if not inside.asked else "the inner server was asked"

    for number, host in enumerate(hosts.split()):
        yield f"a redirect to {host}", lambda h=host, n=number: attack(h, n)


def moving_sql(folder: Path) -> Iterator[Attack]:
    """SQL that answers otherwise on another day or machine."""
    numbers = itertools.count()

    def attack(sql: str) -> str | None:
        place = folder / f"sql{next(numbers)}"
        (place / "spill").mkdir(parents=True)
        (place / "transform.sql").write_text(sql, "utf-8")
        rows = pa.table({"d": ["2021-01-01"]})
        run = lambda: transform.stream(  # noqa: E731 - read at once
            place / "transform.sql", rows.to_reader(), variables={}, with_geometry=False, spill=place / "spill"
        ).read_all()
        return refused(run, "whose result changes between runs", "Permission Error")

    expressions = [
        "now()",
        "random()",
        "uuid()",
        "age(d::TIMESTAMP)",
        "ago(INTERVAL 1 DAY)",
        "current_setting('threads')",
    ]
    for one in expressions:
        yield f"SQL {one}", lambda e=one: attack(f"SELECT d, {e} AS x FROM source")
        yield (
            f"SQL in query(): {one}",
            lambda e=one: attack(f"SELECT * FROM source, query('SELECT {e.replace(chr(39), chr(39) * 2)} AS x')"),
        )
    for table in (
        "query_table('source')",
        "duckdb_settings()",
        "information_schema.tables",
        "read_text('/etc/hostname')",
    ):
        yield f"SQL from {table}", lambda t=table: attack(f"SELECT s.* FROM source, {t} s")


def entities(folder: Path) -> Iterator[Attack]:
    """Document types behind whatever may stand before them."""
    numbers = itertools.count()

    def attack(prolog: str, encoding: str) -> str | None:
        path = folder / f"entities{next(numbers)}.gml"
        path.write_text(
            f'{prolog}<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><x>&e;</x><!-- --><?z ?>', encoding
        )
        return refused(lambda: markup.check(path), "document type")

    before = [
        "",
        "<?xml version='1.0'?>",
        "<?a <!-- ?>",
        "<!-- <? -->",
        "<!-- <x> -->",
        "<?a <x> ?>",
        "\n<!-- a --><?b <!-- ?>",
    ]
    for prolog, encoding in itertools.product(before, ("utf-8", "utf-8-sig", "utf-16")):
        yield f"{encoding} {prolog!r}", lambda p=prolog, e=encoding: attack(p, e)


def bad_texts(folder: Path) -> Iterator[Attack]:
    """Titles that break feeds, terminals and pages."""
    file = folder / "texts" / "defs.yaml"
    file.parent.mkdir()

    def attack(title: str) -> str | None:
        file.write_text(f"type: {COMPONENT_TYPE}\nattributes:\n  title: {{en: {json.dumps(title)}}}\n", "utf-8")
        return refused(lambda: list(read_definitions(file)), "a text has", "is not YAML")

    for number in (*range(1, 9), *range(14, 32), 127, 0x9B, 0x202E, 0x2066, 0xD83D, 0xFEFF, 0xFFFF):
        yield f"U+{number:04X}", lambda n=number: attack(f"Parks {chr(n)}x")
    for tag in (
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<iframe src=//evil>",
        "<svg/onload=x>",
        "<!--",
    ):
        yield tag, lambda t=tag: attack(t)


def clocks(folder: Path) -> Iterator[Attack]:
    """A clock that is set back between two deliveries: the newest is what came last."""
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    numbers = itertools.count()

    def attack(back: timedelta) -> str | None:
        with closing(Ledger.in_folder(folder / f"clock{next(numbers)}")) as ledger:
            for sha, moment in (("a", noon), ("b", noon - back)):
                native = NativeFile("x.csv", "https://a.ca/x.csv", sha * 64, 1, None, None, None, f"raw/{sha}")
                with mock.patch.object(natives, "now", return_value=moment):
                    ledger.natives.record("d", V2021, [native], "cc0-1.0")
            (current,) = ledger.natives.current("d", V2021)
            return None if current.sha256[0] == "b" else "the older delivery stands"

    for seconds in (0, 1, 600, 3600, 86_400 * 400):
        yield f"{seconds} s back", lambda s=seconds: attack(timedelta(seconds=s))


def foreign_bytes() -> Iterator[Attack]:
    """Files that unpack, nest, repeat or count without end, each read by a child with limits."""
    with hostile.trying() as attempt:
        for name, each in hostile.attacks().items():
            if each.quick:
                yield name, lambda n=name: attempt(n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="every third attack of each kind, of files every 15th")
    options = parser.parse_args()
    tried: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="d4c-hostile-") as name:
        folder = Path(name)
        kinds = {
            "pages": pages(),
            "secrets in addresses": secret_addresses(folder),
            "secrets beside definitions": packed_secrets(folder),
            "redirects inside": inner_addresses(folder),
            "moving SQL": moving_sql(folder),
            "entities": entities(folder),
            "texts": bad_texts(folder),
            "clocks": clocks(folder),
            "file server": hostile_server.attacks(folder / "server"),
            "foreign bytes": foreign_bytes(),
        }
        for kind, attacks in kinds.items():
            # A file is read by a process of its own, which takes half a second.
            step = (15 if kind == "foreign bytes" else 3) if options.quick else 1
            for title, attack in itertools.islice(attacks, 0, None, step):
                wrong = attack()
                tried[kind] += 1
                survived[kind] += wrong is None
                if wrong is not None:
                    print(f"{kind}: {title}: {wrong}", file=sys.stderr)
            print(f"{kind:<28}{survived[kind]:>5}/{tried[kind]}")
    print(json.dumps({"tried": tried.total(), "survived": survived.total()}))
    sys.exit(survived.total() < tried.total())


if __name__ == "__main__":
    main()
