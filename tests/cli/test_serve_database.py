"""Which database ``trio-relay serve`` takes, and what it says where it cannot."""

import signal
from pathlib import Path

import httpx2
import pytest

from support.commands import call, clean_environment, serving_relay
from support.postgres import private_server

SECRET = "hunter2"
AWAY = f"postgresql://relay:{SECRET}@127.0.0.1:9/room"


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "said"),
    [
        (("--db", "a.db", "--database", AWAY), {}, 2, "two databases"),
        ((), {"DATABASE_URL": f"mysql://relay:{SECRET}@db/room"}, 2, "expected postgresql://USER"),
        (("--database", f"/var/{SECRET}"), {}, 2, "expected postgresql://USER"),
        (("--database", AWAY), {}, 1, "postgresql://relay@127.0.0.1:9/room cannot be used"),
        (
            (),
            {"DATABASE_URL": AWAY, "DB_PATH": "a.db"},
            1,
            "postgresql://relay@127.0.0.1:9/room cannot be used",
        ),
        (("--database", f"postgresql://relay:{SECRET}@127.0.0.1:port/room"), {}, 1, "cannot be understood"),
    ],
)
def test_what_cannot_be_opened_is_said_without_the_password(
    arguments: tuple[str, ...], environment: dict[str, str], code: int, said: str
) -> None:
    result = call("serve", "--port", "0", *arguments, env=environment)
    assert (result.exit_code, said in result.stderr) == (code, True), result.stderr
    assert SECRET not in result.output
    assert "Traceback" not in result.output


def test_a_file_that_is_named_wins_over_the_environment(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, DATABASE_URL=AWAY)
    with serving_relay("--db", str(tmp_path / "room.db"), env=environment, cwd=tmp_path) as relay:
        assert str(tmp_path / "room.db") in relay.greeting
        with httpx2.Client(base_url=relay.url, trust_env=False, timeout=60) as http:
            assert http.get("/api/stats").json()["store"] == "sqlite"


def test_a_node_says_who_it_is_and_stops_at_a_signal_also_without_its_database(tmp_path: Path) -> None:
    with private_server() as server, server.database() as url:
        secret = url.replace("postgres@", f"postgres:{SECRET}@")
        environment = clean_environment(tmp_path)
        with serving_relay("--database", secret, env=environment, cwd=tmp_path) as relay:
            with httpx2.Client(base_url=relay.url, trust_env=False, timeout=60) as http:
                stats, ready = http.get("/api/stats").json(), http.get("/readyz").json()
            assert stats["store"] == ready["store"] == "postgresql"
            assert stats["node"] == ready["node"]
            assert url in relay.greeting
            server.stop()
            relay.process.send_signal(signal.SIGTERM)
            assert relay.process.wait(timeout=60) == 0
        log = (tmp_path / "serve.log").read_text()
        assert f"node={stats['node']}" in log
        assert "Traceback" not in log
        assert SECRET not in log + relay.greeting
        server.start()
