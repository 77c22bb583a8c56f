"""A trace as one self-contained HTML page: the linked view, readable from disk with no network.

The page carries a Content-Security-Policy that lets exactly its own script and style run and
nothing be fetched. The user's text is inside a JSON block, escaped so that no markup can close it,
and the view sets it through textContent only. Knows no streamlit and no notebook.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache

from dcp.resources import asset
from dcp.trace import Trace
from dcp.viewer.payload import WordSpan, payload

__all__ = ["assets", "html"]

_FOLDER = asset("viewer")
_BOOT = """
const view = mount(document.getElementById("view"),
  JSON.parse(document.getElementById("trace").textContent), { title: document.title });
globalThis.dcpView = view;
"""
_PAGE_CSS = """
html { background: #ffffff; } body { margin: 0; padding: 22px clamp(12px, 3vw, 28px) 32px; }
#view { max-width: 1180px; margin: 0 auto; }
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
    script, style = assets()
    script, style = script + _BOOT, style + _PAGE_CSS
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(payload(trace, words), allow_nan=False, ensure_ascii=False)
    data = "".join(_ESCAPES.get(c, c) for c in data)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        "<title>What each layer can still attend to</title>"
        f"<style>{style}</style></head>\n"
        '<body><main id="view"></main>'
        f'<script type="application/json" id="trace">{data}</script>\n'
        f'<script type="module">{script}</script></body></html>\n'
    )


def _hash(source: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode()
