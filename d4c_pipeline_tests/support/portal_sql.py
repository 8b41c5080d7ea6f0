"""Generated SQL over a published table in the browser's worker, compared with the answers of DuckDB."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

QUERIES = 220
_ANSWER = """async ([address, url, size, kinds, queries, prune]) => {
  const worker = new Worker(address, { type: 'module' })
  const answers = []
  for (const query of queries) {
    answers.push(await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => (data.rows || data.error !== undefined) && resolve(data)
      worker.onerror = reject
      worker.postMessage({ url, size, query, kinds, prune })
    }))
  }
  worker.terminate()
  return answers
}"""


def conditions(rng: random.Random) -> Iterator[str]:
    low, high = sorted(rng.sample(range(5_000), 2))
    yield f"id BETWEEN {low} AND {high}"
    yield f"id {rng.choice(['<', '<=', '>', '>=', '=', '<>'])} {rng.randrange(5_000)}"
    yield f"{rng.randrange(5_000)} {rng.choice(['<', '>='])} id"
    yield f"value {rng.choice(['<', '>', '='])} {rng.randrange(101)}"
    yield f"kind {rng.choice(['=', '<>', '<'])} '{rng.choice('abcd')}'"
    yield f"kind IN ('{rng.choice('abc')}', 'z')"
    yield f"kind LIKE '{rng.choice(['a%', '%', '_', 'b'])}'"
    yield f"value IS {rng.choice(['', 'NOT '])}NULL"
    yield f"ratio > {rng.random() * 700:.3f}"
    yield f"id IN ({', '.join(str(rng.randrange(6_000)) for _ in range(3))})"


def where(rng: random.Random) -> str:
    chosen = rng.sample(list(conditions(rng)), rng.randint(0, 3))
    if not chosen:
        return ""
    text = chosen[0]
    for more in chosen[1:]:
        text = f"({text}) {rng.choice(['AND', 'OR'])} {more}"
    return f" WHERE {text}"


def queries(count: int) -> Iterator[str]:
    """Queries with a total order, so that an answer is a list; nulls come last where a key can be null."""
    rng = random.Random(20261201)
    for _ in range(count):
        match rng.randrange(5):
            case 0:
                limit = f" LIMIT {rng.randint(1, 60)}" + (f" OFFSET {rng.randrange(100)}" if rng.random() < 0.5 else "")
                yield f"SELECT id, kind, value FROM data{where(rng)} ORDER BY id {rng.choice(['', 'DESC'])}{limit}"
            case 1:
                facts = (
                    "count(*) AS n, count(value) AS known, sum(value) AS total, min(ratio) AS least, max(id) AS most"
                )
                having = f" HAVING count(*) > {rng.randrange(500)}" if rng.random() < 0.5 else ""
                yield f"SELECT kind, {facts} FROM data{where(rng)} GROUP BY kind{having} ORDER BY kind"
            case 2:
                yield f"SELECT count(*) AS n, avg(value) AS mean, count(DISTINCT kind) AS kinds FROM data{where(rng)}"
            case 3:
                limit = f" LIMIT {rng.randint(1, 30)}"
                yield f"SELECT DISTINCT kind, value FROM data{where(rng)} ORDER BY kind, value NULLS LAST{limit}"
            case _:
                case = "CASE WHEN value > 50 THEN 'high' WHEN value IS NULL THEN 'none' ELSE 'low' END AS level"
                yield f"SELECT {case}, count(*) AS n FROM data{where(rng)} GROUP BY level ORDER BY n DESC, level"


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, float) and ours is not None:
        return math.isclose(float(ours), theirs, rel_tol=1e-9)
    return ours == theirs


def differences(page: Any, script: dict[str, Any], path: Path, asked: list[str], *, prune: bool) -> list[str]:
    """The queries that the worker answers otherwise than DuckDB, with both answers.

    `script`: what the scripts of the release's page are given; `path`: the published file.
    """
    (file,) = script["files"]
    kinds = {column["name"]: column["kind"] for column in script["columns"] if column["kind"]}
    assert kinds == {"id": "number", "kind": "string", "value": "number", "ratio": "number"}
    answers = page.evaluate(_ANSWER, [script["sqlWorker"], file["url"], file["size"], kinds, asked, prune])
    connection = duckdb.connect()
    connection.execute(f"CREATE VIEW data AS SELECT * FROM '{path}'")
    wrong: list[str] = []
    for query, answer in zip(asked, answers, strict=True):
        theirs = connection.execute(query).fetchall()
        ours = answer.get("rows")
        if ours is None or len(ours) != len(theirs):
            wrong.append(f"{query}: {answer.get('error') or len(ours or ())}, DuckDB {len(theirs)} rows")
            continue
        for mine, other in zip(ours, theirs, strict=True):
            expected = [float(value) if hasattr(value, "as_tuple") else value for value in other]
            if not all(map(same, mine, expected)):
                wrong.append(f"{query}: {mine}, DuckDB {expected}")
                break
    return wrong
