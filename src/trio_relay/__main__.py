"""``python -m trio_relay`` is ``trio-relay``."""

from trio_relay.cli.main import main

if __name__ == "__main__":
    main(prog_name="trio-relay")
