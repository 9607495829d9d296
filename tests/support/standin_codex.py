"""A program in Codex's place that says what the real app-server says on stderr, and nothing else. Starts in 20 ms."""

import sys
from pathlib import Path

#: The port it claims when it is told to choose one.
PORT = 45678

_PROGRAM = f"""#!{sys.executable} -S
import os, sys, time
port = sys.argv[sys.argv.index("--listen") + 1].rpartition(":")[2]
port = {PORT} if port == "0" else port
if os.path.exists("broken"):
    sys.exit("Error: something is wrong")
with open("starts", "a") as starts:
    print(*sys.argv[1:], file=starts)
with open("environment", "w") as environment:
    print(*(f"{{name}}={{value}}" for name, value in os.environ.items()), sep="\\n", file=environment)
sys.stderr.write("codex app-server (WebSockets)\\n  listening on: ws://127.0.0.1:")
sys.stderr.flush()
sys.stderr.write(f"{{port}}\\n  readyz: http://127.0.0.1:{{port}}/readyz\\n")
sys.stderr.flush()
while True:
    time.sleep(1000)
"""


class StandInCodex:
    """The program, in a directory of its own where it also runs. With a file ``broken`` there it does not come up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.program = path / "codex"
        self.program.write_text(_PROGRAM)
        self.program.chmod(0o755)

    @property
    def broken(self) -> Path:
        return self.path / "broken"

    def environment(self) -> dict[str, str]:
        """What it found in its environment the last time it came up."""
        lines = (self.path / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def starts(self) -> list[str]:
        """The arguments of each time it came up."""
        file = self.path / "starts"
        return file.read_text().splitlines() if file.exists() else []
