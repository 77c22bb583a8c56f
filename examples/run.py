"""Runs a notebook's cells in order and writes what they show into it: no kernel, no server.

python -m examples.run examples/generate.ipynb
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

__all__ = ["run", "show"]


def run(notebook: dict[str, Any]) -> dict[str, Any]:
    """Fill the outputs of ``notebook`` in place; returns the names that its cells made."""
    names: dict[str, Any] = {}
    count = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        count += 1
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        shown, said = None, io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(tree, cell["id"], "exec"), names)
            if isinstance(last, ast.Expr):
                shown = eval(compile(ast.Expression(last.value), cell["id"], "eval"), names)
        cell["execution_count"], cell["outputs"] = count, []
        if said.getvalue():
            lines = said.getvalue().splitlines(True)
            cell["outputs"].append({"output_type": "stream", "name": "stdout", "text": lines})
        if shown is not None:
            data = {"output_type": "execute_result", "execution_count": count, "metadata": {}}
            cell["outputs"].append(data | {"data": show(shown)})
    return names


def show(value: Any) -> dict[str, str]:
    """``value`` as a notebook keeps it: a matplotlib figure as PNG, all else as its repr."""
    found = {"text/plain": repr(value)}
    if hasattr(value, "savefig"):
        picture = io.BytesIO()
        value.savefig(picture, format="png", dpi=110)
        found["image/png"] = base64.b64encode(picture.getvalue()).decode()
    return found


def main(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    run(notebook)
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
