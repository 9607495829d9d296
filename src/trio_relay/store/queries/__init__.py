"""The named SQL statements, loaded once: ``queries.get_agent(connection, id=…)``.

The kind of a statement is the mark behind its name: ``^`` one row or None, ``!`` the number of rows changed, ``<!``
the id of the inserted row, none: all rows.
"""

from pathlib import Path
from typing import Any

import aiosql

queries: Any = aiosql.from_path(Path(__file__).parent, "sqlite3", kwargs_only=True)
