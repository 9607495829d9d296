"""What does the hardened server cost, beside stock hypercorn with the same app? Processor time per request.

Both servers run at once as processes of their own; the load goes to one after the other, round by round, over a few
kept-alive connections. Figures are ratios of one run, for reading in ``docs/performance.md``; nothing is asserted.

Run: ``python benchmarks/serving_cpu.py`` (about half a minute).
"""

import argparse
import json
import platform
import socket
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.raw_http import request
from support.serving import ServerProcess, server_process

REQUEST = request("GET", "/")


def read_answer(connection: socket.socket) -> None:
    """Read one response with a Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        received = connection.recv(65_536)
        assert received, "the server ended the connection"
        data += received
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    _, _, length = head.lower().partition(b"content-length: ")
    missing = int(length.split(b"\r\n")[0]) - len(body)
    while missing > 0:
        missing -= len(connection.recv(missing))


def cpu_per_request(server: ServerProcess, connections: int, requests: int) -> float:
    """Microseconds of the server's processor time for one request, over `requests` of them."""
    parts = urlsplit(server.url)
    rounds = requests // connections
    with ExitStack() as stack:
        opened = [
            stack.enter_context(socket.create_connection((parts.hostname, parts.port)))
            for _ in range(connections)
        ]
        before = server.cpu_seconds
        for _ in range(rounds):
            for connection in opened:
                connection.sendall(REQUEST)
            for connection in opened:
                read_answer(connection)
        return (server.cpu_seconds - before) / (rounds * connections) * 1e6


def compare(suffix: str, rounds: int, connections: int, requests: int) -> dict[str, object]:
    """Ratio ours ÷ stock, median and range over `rounds`; the first round only warms up."""
    ratios: list[float] = []
    ours_us: list[float] = []
    with server_process(f"ours{suffix}") as ours, server_process(f"stock{suffix}") as stock:
        for number in range(rounds + 1):
            figures = [cpu_per_request(server, connections, requests) for server in (ours, stock)]
            if number > 0:
                ours_us.append(figures[0])
                ratios.append(figures[0] / figures[1])
    return {
        "ratio": round(statistics.median(ratios), 2),
        "range": [round(min(ratios), 2), round(max(ratios), 2)],
        "ours_us_per_request": round(statistics.median(ours_us)),
    }


def main() -> None:
    """Measure an ASGI app without a framework and a Quart app."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--requests", type=int, default=4000, help="per server and round")
    options = parser.parse_args()
    figures = {
        name: compare(suffix, options.rounds, options.connections, options.requests)
        for name, suffix in (("asgi", "-raw"), ("quart", ""))
    }
    print(json.dumps({"python": platform.python_version(), "ours_over_stock": figures}, indent=2))


if __name__ == "__main__":
    main()
