"""The README's tour, command by command, as a newcomer types it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from support.commands import clean_environment, serving_relay

README = Path(__file__).parents[2] / "README.md"


def test_the_tour_works_as_written(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh tour\n(.*?)```", README.read_text(), re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]
    assert commands[0] == "trio-relay demo"
    env = clean_environment(tmp_path)
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    outputs = []
    with serving_relay(env=env, cwd=tmp_path) as relay:
        here = env | {"AGENT_RELAY_URL": relay.url}
        for command in commands:
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                env=here,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, ""), command
            outputs.append(done.stdout)
    said = dict(zip(commands, outputs, strict=False))
    assert "it waits for the first who does" in said[commands[1]]
    assert "I can, after lunch." in said["trio-relay inbox --agent ben"]
    first, again = outputs[-2:]
    assert first == again
