"""What README.md and `examples/` show runs as it stands, with the bundled model and no network."""

from __future__ import annotations

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
    said, run = capsys.readouterr().out, names["run"]
    assert isinstance(run, Trace)
    assert run.text.startswith("The museum opened in 1901.")
    assert run.sparsity_at_end() > 0.3
    assert f"{run.sparsity_at_end():.0%}" in said
    assert Path("run.safetensors").is_file()
    # As our engine would have it, in the dtype that transformers chose.
    model = open_model("dcp-mini", run.meta.dtype)
    asked = Engine(model.loaded, "cpu").run(
        [run.token_ids[: run.prompt_tokens].tolist()],
        new_tokens=40,
        sampling=Sampling(temperature=0),
        gate_shift=run.meta.gate_shift,
    )
    for _ in asked:
        pass
    assert (asked.lives(0)[0][:, : len(run.token_ids)] == run.death).all()


def test_the_notebook_runs(capsys: pytest.CaptureFixture[str]) -> None:
    notebook = json.loads((ROOT / "examples" / "generate.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"cell {cell['id']}", "exec"), names)
            # What is shown was printed by these lines.
            said = capsys.readouterr().out
            shown = [x["text"] for x in cell["outputs"] if x["output_type"] == "stream"]
            assert bool(said) == bool(shown), cell["id"]
    assert isinstance(names["run"], Trace)
    assert "dcp" not in names["model"].config._attn_implementation


def test_a_stranger_with_a_model_of_another_kind() -> None:
    """No gates, no calibration: any policy, and one line where gates are asked for."""
    folder = dcp.list_models()[0].path
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer("Snow fell for three days, and on the fourth", return_tensors="pt")
    with dcp.hf.pruned(model, policy="sink", budget=8):
        model.generate(**inputs, max_new_tokens=20, do_sample=False)
        run = dcp.hf.trace(model, tokenizer)
    alive = (run.death > run.n_queries).sum(axis=1)
    assert (alive == 8).all()
    assert run.meta.policy == "sink"
