"""One run reads the same everywhere: a quantity has one name and one number on pages and in the
terminal (`dcp.trace.amounts` says which)."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dcp.cli.summary import show
from dcp.figures.paper.catalogue import draw
from dcp.figures.paper.presets import PLAIN
from dcp.figures.screen.cost import memory_chart
from dcp.stats.cost import computed
from dcp.trace import Trace
from dcp.trace.amounts import percent, size
from tests.stats.test_cost import measured

ROOT = Path(__file__).resolve().parents[2]
Open = Callable[..., AppTest]

# Of what people read: names that once stood for something that has another name now.
OTHER_NAMES = re.compile(
    r"in reach"  # held
    # live, or allocated
    r"|(KiB|MiB|MB|bytes)( are)? (held|kept)|held[^.;]{0,12}(KiB|MiB|MB|bytes)"
    r"|[Hh]eld[^.;]{0,12}(measured|grey)"
    r"|cache:? .*\bMB\b"
)


def said(page: AppTest) -> Iterator[str]:
    """All that a page says as text."""
    for part in (page.main, page.sidebar):
        for kind in ("markdown", "caption", "title", "header", "text", "code"):
            yield from (str(element.value) for element in part.get(kind))
    for metric in page.metric:
        yield f"{metric.label}: {metric.value} ({metric.delta})"


def shares(text: str) -> list[str]:
    """The shares that ``text`` says were dropped by the end of the run."""
    flat = " ".join(text.split())
    found = re.findall(r"([\d.]+ %)(?: of the earlier tokens)? dropped(?: at the end)?\b", flat)
    found += re.findall(r"dropped\W{0,4}([\d.]+ %) at the end", flat)
    found += re.findall(r"Dropped at step \d+: ([\d.]+ %)", flat)
    return [share.replace("\xa0", " ") for share in found]


def test_a_run_has_one_share_and_one_size_on_every_page(
    open_page: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    page = open_page()
    trace: Trace = page.session_state["session"].shown.trace
    dropped, memory = percent(trace.sparsity_at_end()), trace.meta.memory
    where = {}
    for name in ("explore", "cost", "compare", "figures", "put_back", "speech"):
        # The first page as it was opened: after a switch this harness shows no sidebar.
        if name != "explore":
            page.switch_page(f"pages/{name}.py").run()
        texts = list(said(page))
        where[name] = [share for text in texts for share in shares(text)]
        assert not [text for text in texts if OTHER_NAMES.search(text)], name
        if name == "cost":
            tiles = {metric.label: metric for metric in page.metric}
            live = tiles["Live at the end · computed"]
            assert live.value == size(memory.live)
            assert live.delta.endswith(f"of {size(memory.dense)} dense")
            assert tiles["Allocated at the end · measured"].value == size(memory.held)
    show(trace, None)
    told = capsys.readouterr().err
    where["terminal"] = shares(told)
    assert f"{size(memory.live)} live, {size(memory.held)} allocated" in told
    assert f"{size(memory.dense)} dense" in told
    caption = draw("sparsity", [(trace, ())], PLAIN).caption
    where["figure"] = re.findall(r"the mean is ([\d.]+%)", caption)
    where["figure"] = [share.replace("%", " %") for share in where["figure"]]
    for name in ("explore", "compare", "figures", "figure", "terminal"):
        assert where[name], f"{name} does not say the share: {where}"
    assert {share for found in where.values() for share in found} == {dropped}, where


def strings(file: Path) -> Iterator[str]:
    """The string literals of a module, docstrings left out; for scripts, all between quotes."""
    source = file.read_text("utf-8")
    if file.suffix == ".js":
        yield from (m[0] for m in re.finditer(r'"[^"\n]*"|`[^`]*`', source))
        return
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            body[0].value = ast.Constant(0)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (
                p.value if isinstance(p, ast.Constant) else ast.unparse(p) for p in node.values
            )
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_quantity_has_a_second_name() -> None:
    rooms = [ROOT / "dcp" / room for room in ("ui", "figures", "viewer", "method.py", "cli")]
    files = [f for room in rooms for f in ([room] if room.is_file() else room.rglob("*.py"))]
    scripts = [*(ROOT / "web").rglob("*.js"), *(ROOT / "assets" / "space").glob("*.js")]
    files += [f for f in scripts if "node_modules" not in f.parts]
    found = {
        f"{file.relative_to(ROOT)}: {text[:80]}"
        for file in files
        for text in strings(file)
        if OTHER_NAMES.search(text)
    }
    assert found == set()
    assert OTHER_NAMES.search("share still in reach")
    assert OTHER_NAMES.search("held, pruned (measured)")
    assert OTHER_NAMES.search("0.90 MB held")


def test_curves_are_named_as_the_tiles_are() -> None:
    import numpy as np

    from tests.helpers.traces import random_trace

    trace = random_trace(1, layers=2, prompt_tokens=9)
    timed = measured(np.ones((1, 60)), np.ones((1, 60)))
    chart = memory_chart(computed(trace), prompt=9, planned=63, step=3, measured=timed)
    names = {line["name"].split(" (")[0].split(",")[0] for line in chart["data"]}
    assert names == {"live", "dense", "allocated"}
