"""What README.md and `examples/` show runs as it stands, with the bundled model and no network."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

import dcp.hf
from dcp.engine.engine import Engine
from dcp.model.config import Sampling
from dcp.model.registry import open_model
from dcp.trace import Trace
from examples.run import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_lines_of_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Inside transformers")[2]
    (lines,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.S)
    names: dict[str, Any] = {}
    exec(compile(lines, "README.md", "exec"), names)
    said, found = capsys.readouterr().out, names["run"]
    assert isinstance(found, Trace)
    assert found.text.startswith("The museum opened in 1901.")
    assert found.sparsity_at_end() > 0.3
    assert f"{found.sparsity_at_end():.0%}" in said
    assert Path("run.safetensors").is_file()
    # As our engine would have it.
    model = open_model("dcp-mini")
    asked = Engine(model.loaded, "cpu").run(
        [found.token_ids[: found.prompt_tokens].tolist()],
        new_tokens=40,
        sampling=Sampling(temperature=0),
        gate_shift=found.meta.gate_shift,
    )
    for _ in asked:
        pass
    assert (asked.lives(0)[0][:, : len(found.token_ids)] == found.death).all()


def test_the_notebook_runs() -> None:
    kept = json.loads((ROOT / "examples" / "generate.ipynb").read_text(encoding="utf-8"))
    fresh = copy.deepcopy(kept)
    names = run(fresh)
    assert isinstance(names["run"], Trace)
    assert names["model"].config._attn_implementation != "dcp"
    said = ""
    # What it shows was shown by these lines: the same kinds of output, cell by cell.
    for old, new in zip(kept["cells"], fresh["cells"], strict=True):
        if old["cell_type"] == "code":
            assert kinds(old) == kinds(new), old["id"]
            said += "".join(t for x in new["outputs"] for t in x.get("text", ()))
    assert "same bits" in said


def kinds(cell: dict[str, Any]) -> list[list[str]]:
    """What a cell shows: a stream, or the formats of a value."""
    return [sorted(shown.get("data", [shown["output_type"]])) for shown in cell["outputs"]]


def test_a_stranger_with_a_model_of_another_kind() -> None:
    """No gates, no calibration: any policy, and one line where gates are asked for."""
    folder = dcp.list_models()[0].path
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("Snow fell for three days, and on the fourth", return_tensors="pt")
    with dcp.hf.pruned(model, policy="sink", budget=8):
        model.generate(**inputs, max_new_tokens=20, do_sample=False)
        found = dcp.hf.trace(model, tokenizer)
    alive = (found.death > found.n_queries).sum(axis=1)
    # Eight are held after each step; the last query saw them and its own entry.
    assert (alive == 9).all()
    assert found.meta.policy == "sink"
