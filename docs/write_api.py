"""Writes docs/api.md: every name of ``dcp.__all__`` with its signature and docstring, by griffe2md.

    python -m docs.write_api

Reads the source; imports nothing of ``dcp``. Our docstrings line up names and meanings in columns:
such a block becomes a code block, so that Markdown keeps its lines.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import griffe
import mdformat
from griffe2md import ConfigDict, render_object_docs

__all__ = ["PAGE", "entries", "page"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "api.md"

# Reading order; a name of `dcp.__all__` that is not here is refused.
ORDER = (
    *("record", "Trace", "ALIVE", "list_models", "open_model", "gates_off"),
    *("ModelInfo", "OpenModel", "DcpError", "RequestError", "ModelError", "TraceError"),
    *("DeviceError", "MissingPartError"),
)
_LOOK = ConfigDict(
    docstring_style=None,
    heading_level=2,
    show_root_heading=True,
    show_root_full_path=False,
    show_root_members_full_path=False,
    show_object_full_path=False,
    show_bases=False,
    show_if_no_docstring=False,
    show_signature_annotations=True,
    separate_signature=True,
    signature_crossrefs=False,
    members_order="source",
    group_by_category=False,
    summary=False,
    line_length=88,
)
_HEAD = """# The library

Made by `make api` from the docstrings; do not edit it here. What is not on this page may change
without notice. Dimensions: `T` tokens, `L` layers, `t` a step (the position of a query), `j` the
position of a token. `import dcp` itself loads nothing heavy.
"""


def entries() -> dict[str, griffe.Object]:
    """The public objects by name, in reading order. Raises ValueError where ORDER misses one."""
    package = griffe.load("dcp", search_paths=[ROOT], resolve_aliases=True)
    public = {str(name).strip("'") for name in package.exports or ()} - {"__version__"}
    if public != set(ORDER):
        raise ValueError(f"ORDER and dcp.__all__ differ in {sorted(public ^ set(ORDER))}")
    found = {}
    for name in ORDER:
        member = package[name]
        found[name] = member.final_target if isinstance(member, griffe.Alias) else member
    return found


def page() -> str:
    """The whole page, as docs/api.md should be."""
    parts = [_HEAD, "\n".join(f"- [{name}](#{name.lower()})" for name in ORDER)]
    for found in entries().values():
        for each in (found, *found.members.values()):
            if isinstance(each, griffe.Object) and each.docstring:
                each.docstring.value = _markdown(each.docstring.value)
        parts.append(render_object_docs(found, _LOOK))
    whole = re.sub(r"```python\n(.{89,})\n```", _wrapped, "\n\n".join(parts))
    text: str = mdformat.text(whole, options={"wrap": "keep"})
    # Values too, as `ruff format` wants them of every page.
    return _laid_out(text, "api.md", width=100)


def _wrapped(signature: re.Match[str]) -> str:
    """A long signature laid out by ruff; griffe2md would ask whatever black is installed."""
    done = _laid_out(f"def {signature[1]}: ...", "signature.py", width=88)
    return f"```python\n{done.removeprefix('def ').strip().removesuffix(': ...')}\n```"


def _laid_out(text: str, name: str, width: int) -> str:
    options = ("--isolated", "--line-length", str(width), "--stdin-filename", name)
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", *options, "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def _markdown(docstring: str) -> str:
    """Paragraphs as they are; columns, indented blocks and examples as code blocks."""
    blocks = re.split(r"\n{2,}", docstring.strip())
    return "\n\n".join(_block(block) for block in blocks).replace("<NA>", "`<NA>`")


def _block(block: str) -> str:
    if block.lstrip().startswith(">>>"):
        return f"```pycon\n{block}\n```"
    lines = block.splitlines()
    columns = [bool(re.match(r"\s{2,}\S|\S.*?\S\s{2,}\S", line)) for line in lines]
    if sum(columns) * 2 > len(lines) or (len(lines) > 1 and all(columns[1:])):
        return f"```text\n{block}\n```"
    return block


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}", file=sys.stderr)
