"""Random bytes and mutated JSON at every endpoint of a real relay: never a 5xx, and its memory stays flat.

``FUZZ_SECONDS`` says for how long (15); ``FUZZ_SEED`` which randomness. The seed is printed with a failure.
"""

import json
import os
import random
from pathlib import Path
from typing import Any

import httpx2
import trio

from support.relay_process import relay_process

SECONDS = float(os.environ.get("FUZZ_SECONDS", "15"))
SEED = int(os.environ.get("FUZZ_SEED", "20261121"))
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    2**63,
    2**64,
    1e308,
    "",
    " ",
    "\0",
    "\ud800",
    "a" * 5_000,
    "tag:",
    "broadcast",
    [],
    {},
    [[]],
    {"": None},
]
NAMES = [
    "from",
    "to",
    "body",
    "id",
    "agentId",
    "readBy",
    "state",
    "meta",
    "tags",
    "replyTo",
    "claimable",
    "key",
    "holder",
]


def rss(pid: int) -> int:
    """Bytes of memory a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def value(rng: random.Random, depth: int = 0) -> Any:
    """Anything JSON can say, the awkward ones first."""
    kind = rng.randrange(10)
    if depth < 4 and kind == 0:
        return {rng.choice(NAMES): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    if depth < 4 and kind == 1:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return rng.choice([rng.choice(ODD), rng.choice(NAMES), rng.randrange(50)])


def body(rng: random.Random, fields: list[str]) -> bytes:
    """A body that nearly fits, does not fit, or is no JSON at all."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    good: dict[str, Any] = {
        "from": "ann",
        "to": "bob",
        "body": "x",
        "id": "ann",
        "agentId": "ann",
        "readBy": "ann",
        "scopes": ["send"],
    }
    document = {name: good.get(name, value(rng)) for name in fields or NAMES}
    for _ in range(rng.randrange(4)):
        document[rng.choice(list(document) or NAMES)] = value(rng)
    text = json.dumps(document).encode()
    if kind == 1:
        cut = rng.randrange(len(text))
        return text[:cut] + rng.randbytes(rng.randrange(3)) + text[cut + rng.randrange(3) :]
    return text


def fields_of(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """The names of the fields a body of this operation has."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return list(document["components"]["schemas"].get(name, {}).get("properties", {}))


def path_of(rng: random.Random, template: str) -> str:
    """A path with ids that exist, do not, or cannot be."""
    parts = template.split("/")
    ids = [
        "1",
        "2",
        "ann",
        "bob",
        "0",
        "-1",
        str(2**63),
        str(2**70),
        "%00",
        "%ff",
        "..%2F",
        "a" * 300,
        "%F0%9F%98%80",
    ]
    return "/".join(rng.choice(ids) if part.startswith("{") else part for part in parts)


async def test_no_request_makes_the_relay_err_or_grow(tmp_path: Path) -> None:
    rng = random.Random(SEED)
    count, worst = 0, 0
    async with relay_process(tmp_path) as (pid, url), httpx2.AsyncClient(base_url=url, timeout=30) as http:
        document = (await http.get("/openapi.json")).json()
        operations = [
            (method.upper(), template, fields_of(document, operation))
            for template, methods in document["paths"].items()
            for method, operation in methods.items()
            if template != "/api/events"  # a stream does not end
        ]
        settled = 0
        deadline = trio.current_time() + SECONDS
        while trio.current_time() < deadline:
            method, template, fields = rng.choice(operations)
            path = path_of(rng, template)
            query = "&".join(
                f"{rng.choice([*NAMES, 'for', 'limit', 'unread', 'sinceId', 'q'])}={rng.choice(['1', 'x', '', 'true', '-1', '%00', '%ff', '1e9'])}"
                for _ in range(rng.randrange(3))
            )
            content = body(rng, fields) if method != "GET" else None
            sent = f"seed {SEED}, request {count}: {method} {path}?{query} {content!r}"
            try:
                response = await http.request(
                    method,
                    f"{path}?{query}" if query else path,
                    content=content,
                    headers={"Content-Type": "application/json"},
                )
            except httpx2.TransportError as error:
                raise AssertionError(sent) from error
            count += 1
            worst = max(worst, response.status_code)
            assert response.status_code < 500, (
                f"seed {SEED}, request {count}: {method} {path}?{query} {content!r}"
            )
            if response.status_code >= 400:
                assert response.headers["content-type"] == "application/problem+json", (method, path)
                assert response.json()["code"]
            if count == 500:
                settled = rss(pid)
        assert (await http.get("/readyz")).status_code == 200
        grown = (rss(pid) - settled) / 2**20 if settled else 0.0
    print(
        f"seed {SEED}: {count} requests, highest status {worst}, grew by {grown:.1f} MiB after the first 500"
    )
    assert grown < 30
