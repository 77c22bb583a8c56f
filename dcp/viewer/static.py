"""A trace as one self-contained HTML page: the linked view, readable from disk with no network.

`html` is the whole view. `embed` is one picture for a frame in a blog post or a project's page: the
running text over the heatmap, whose film begins when the reader scrolls to it.

The page carries a Content-Security-Policy that lets exactly its own script and style run and
nothing be fetched. The user's text is inside a JSON block, escaped so that no markup can close it,
and the view sets it through textContent only. Knows no streamlit and no notebook.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from dcp.errors import RequestError
from dcp.resources import asset
from dcp.trace import Trace
from dcp.viewer.payload import WordSpan, payload

__all__ = ["EMBED_BYTES", "assets", "embed", "embed_height", "html"]

EMBED_BYTES = 300_000
"""The largest page that `embed` makes (bytes): a post may show several."""

_FOLDER = asset("viewer")
# In braces: the bundle before it has names of its own.
_BOOT = """
{
  const data = JSON.parse(document.getElementById("trace").textContent);
  globalThis.dcpView = mount(document.getElementById("view"), data, { title: document.title });
}
"""
_PAGE_CSS = """
html { background: #ffffff; } body { margin: 0; padding: 22px clamp(12px, 3vw, 28px) 32px; }
#view { max-width: 1180px; margin: 0 auto; }
@media (prefers-color-scheme: dark) { html { background: #12161c; color-scheme: dark; } }
"""
# The arrays pack to about half, and a page in a page has to be light.
_EMBED_BOOT = """
{
  const raw = atob(document.getElementById("trace").textContent),
    packed = new Blob([Uint8Array.from(raw, (c) => c.charCodeAt(0))]),
    data = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).json(),
    view = mount(document.getElementById("view"), data, { embed: true });
  view.box.toggleAttribute("data-embed", true);
  const seen = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    seen.disconnect();
    if (!view.still.matches) view.play();
  }, { threshold: 0.4 });
  seen.observe(view.box);
  globalThis.dcpView = view;
}
"""
_EMBED_CSS = """
html { background: #ffffff; } body { margin: 0; padding: 10px 12px 6px; }
@media (prefers-color-scheme: dark) { html { background: #12161c; color-scheme: dark; } }
"""
# Characters that could end the script block, or break older parsers.
_ESCAPES = {c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@cache
def assets() -> tuple[str, str]:
    """The viewer's script and its style sheet, as ``make web`` bundles them."""
    script, style = ((_FOLDER / f"viewer.{kind}").read_text("utf-8") for kind in ("js", "css"))
    return script, style


def html(trace: Trace, words: Sequence[WordSpan] = ()) -> str:
    """One HTML document showing ``trace``; ``words`` add parts of speech and whole-word strikes."""
    data = _json(payload(trace, words))
    data = "".join(_ESCAPES.get(c, c) for c in data)
    return _document(
        _BOOT, _PAGE_CSS, f'<script type="application/json" id="trace">{data}</script>'
    )


def embed(trace: Trace, words: Sequence[WordSpan] = ()) -> str:
    """One HTML document for a frame of `embed_height` pixels: the text, the heatmap, their film.

    Raises RequestError where it would have over `EMBED_BYTES`.
    """
    packed = gzip.compress(_json(payload(trace, words)).encode(), 9, mtime=0)
    data = base64.b64encode(packed).decode()
    block = f'<script type="application/octet-stream" id="trace">{data}</script>'
    page = _document(_EMBED_BOOT, _EMBED_CSS, block)
    if (size := len(page.encode())) > EMBED_BYTES:
        raise RequestError(
            f"the page would have {size:,} bytes, a page to embed may have {EMBED_BYTES:,}: record "
            f"a shorter run than {trace.tokens:,} tokens, or make the whole view of this one",
            remedy="embed",
        )
    return page


def embed_height(layers: int) -> int:
    """Height of the frame (CSS pixels) that shows `embed` without a scrollbar, text of five lines.

    Rows as `web/viewer/rows.js` lays them; wide frames need a little less.
    """
    size = 22 if layers <= 12 else 18 if layers <= 16 else 9 if layers <= 32 else 6
    return 360 + size * layers + (40 if layers > 16 else 0)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _document(boot: str, css: str, data: str) -> str:
    """A page of the viewer, its own style and start, and a data block that is safe in HTML."""
    script, style = assets()
    script, style = script + boot, style + css
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        "<title>What each layer can still attend to</title>"
        f"<style>{style}</style></head>\n"
        f'<body><main id="view"></main>{data}\n'
        f'<script type="module">{script}</script></body></html>\n'
    )


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode()
