"""The files beside the pages, under a path that names their content: a browser keeps them for ever.

``/assets/<digest of all>/app.css``. Modules import each other relatively, so one digest serves all of them; a page made by
another version asks under another path and is answered with what there is now, not to be kept.
"""

import hashlib
from pathlib import Path

from quart import Blueprint, Response, request

from trio_relay.relay.web.problems import problem

_HERE = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FILES = {path.name: path.read_bytes() for path in sorted(_HERE.iterdir()) if path.suffix in _TYPES}
DIGEST = hashlib.sha256(
    b"\0".join(name.encode() + b"\0" + data for name, data in _FILES.items())
).hexdigest()[:16]


def asset(name: str) -> str:
    """The path of a file, for a page to name."""
    if name not in _FILES:
        raise KeyError(name)
    return f"/assets/{DIGEST}/{name}"


def assets_blueprint() -> Blueprint:
    """The route of the files."""
    routes = Blueprint("assets", __name__, url_prefix="/assets")

    @routes.get("/<digest>/<name>")
    async def read(digest: str, name: str) -> Response:
        """Serve one file."""
        if name not in _FILES:
            return problem(404, "nothing is served at this path", "no_such_route")
        kept = "public, max-age=31536000, immutable" if digest == DIGEST else "no-cache"
        headers = {
            "Content-Type": _TYPES[Path(name).suffix],
            "Cache-Control": kept,
            "ETag": f'"{DIGEST}"',
            "X-Content-Type-Options": "nosniff",
        }
        if f'"{DIGEST}"' in request.headers.get("If-None-Match", ""):
            return Response(b"", status=304, headers=headers)
        return Response(_FILES[name], headers=headers)

    return routes
