"""Pictures of every view of the dashboard, wide and narrow, dark and light: ``python -m support.screenshots DIRECTORY``.

They are looked at by people; `KEPT` go to ``docs/images``. Their colours are reduced to a palette in the browser, which makes
them a third of their size.
"""

import base64
import struct
import sys
import tempfile
import zlib
from pathlib import Path

from playwright.sync_api import Browser, Page

from support.browser import ROOT, open_browser, visitor
from support.commands import clean_environment, serving_relay
from support.showroom import API, ENVIRONMENT, furnish

VIEWS = {
    "login": "/login",
    "overview": "/",
    "agents": "/agents",
    "agent": f"/agents/{API}",
    "messages": "/messages",
    "search": "/messages?q=migration",
    "thread": "/threads/{thread}",
    "recipients": "/messages/{broadcast}/recipients",
    "compose": "/compose",
    "inbox": "/inbox",
    "approvals": "/approvals",
    "parked": "/parked",
    "dead": "/dead",
    "tasks": "/tasks",
    "task": "/tasks/1",
    "pairs": "/pairs",
    "leases": "/leases",
    "explain": "/messages/{thread}/explain",
    "map": "/map",
    "plots": "/plots",
    "tokens": "/tokens",
}
SIZES = {1440: 900, 390: 844}
#: What the documentation shows: view, width, colours.
KEPT = (
    ("overview", 1440, "light"),
    ("thread", 1440, "dark"),
    ("messages", 1440, "light"),
    ("approvals", 1440, "light"),
    ("map", 1440, "dark"),
    ("plots", 1440, "light"),
    ("overview", 390, "dark"),
    ("thread", 390, "light"),
    ("compose", 390, "light"),
)
_REDUCE = """
async source => {
  const image = await createImageBitmap(await (await fetch(source)).blob());
  const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
  canvas.drawImage(image, 0, 0);
  const pixels = new Uint32Array(canvas.getImageData(0, 0, image.width, image.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) || 0) + 1);
  const parts = color => [color & 255, color >> 8 & 255, color >> 16 & 255];
  const palette = [];
  for (const [color] of [...counts].sort((a, b) => b[1] - a[1])) {
    if (palette.length === 256) break;
    // A colour nearly the same as one there is adds nothing.
    const [r, g, b] = parts(color);
    const near = ([x, y, z]) => Math.abs(r - x) + Math.abs(g - y) + Math.abs(b - z) < 10;
    if (palette.length < 24 || !palette.some(near)) palette.push(parts(color));
  }
  const nearest = new Map();
  const place = color => {
    if (!nearest.has(color)) {
      const [r, g, b] = parts(color);
      let best = 0, least = Infinity;
      palette.forEach(([x, y, z], index) => {
        const distance = (r - x) ** 2 + (g - y) ** 2 + (b - z) ** 2;
        if (distance < least) [best, least] = [index, distance];
      });
      nearest.set(color, best);
    }
    return nearest.get(color);
  };
  const indices = Uint8Array.from(pixels, place);
  let text = '';
  for (let at = 0; at < indices.length; at += 32768) text += String.fromCharCode(...indices.subarray(at, at + 32768));
  return {width: image.width, height: image.height, palette: palette.flat(), indices: btoa(text)};
}
"""


def reduced(page: Page, png: bytes) -> bytes:
    """A picture with a palette of 256 colours; `page` is a page without a Content-Security-Policy."""
    found = page.evaluate(_REDUCE, f"data:image/png;base64,{base64.b64encode(png).decode()}")
    width, height, indices = found["width"], found["height"], base64.b64decode(found["indices"])
    rows = b"".join(b"\0" + indices[at : at + width] for at in range(0, width * height, width))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"PLTE", bytes(found["palette"]))
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


def take(browser: Browser, url: str, ids: dict[str, int], directory: Path) -> None:
    """Take every picture."""
    bench = browser.new_page()
    for width, height in SIZES.items():
        for scheme in ("light", "dark"):
            options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
            with visitor(browser, url, **options, reduced_motion="reduce") as person:
                for name, path in VIEWS.items():
                    person.go(path.format(**ids))
                    if name == "login":
                        shot = person.page.screenshot()
                        person.come_in("anna")
                        person.wait_until_live()
                    else:
                        person.wait_until_live()
                        person.page.wait_for_load_state("load")
                        shot = person.page.screenshot()
                    file = directory / f"{name}-{width}-{scheme}.png"
                    file.write_bytes(reduced(bench, shot))
    bench.close()


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / ".tools/screenshots"
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        env = clean_environment(home, **ENVIRONMENT)
        with (
            serving_relay("--db", str(home / "relay.db"), env=env, cwd=home) as relay,
            open_browser() as browser,
        ):
            take(browser, relay.url, furnish(relay.url), directory)
    for name, width, scheme in KEPT:
        picture = directory / f"{name}-{width}-{scheme}.png"
        (ROOT / "docs/images" / f"dashboard-{picture.name}").write_bytes(picture.read_bytes())
    print(f"{len(list(directory.glob('*.png')))} pictures in {directory}, {len(KEPT)} of them in docs/images")


if __name__ == "__main__":
    main()
