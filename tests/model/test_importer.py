"""A checkpoint of the paper's public code, made here, computes the same before and after import."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dcp.cli.main import main
from dcp.errors import ModelError, RequestError
from dcp.model.importer import import_checkpoint
from dcp.model.masked import MaskedAttend
from dcp.model.weights import load
from tests.helpers import checkpoints

LAYERS, WIDTH, HEADS, R, VOCAB, BLOCK = 2, 24, 3, 5, 257, 33
State = dict[str, Tensor]


def state_dict(seed: int = 0) -> State:
    """Random weights under the names and in the layouts of the public code."""
    generator = torch.Generator().manual_seed(seed)

    def make(*shape: int, centre: float = 0.0) -> Tensor:
        return centre + 0.2 * torch.randn(*shape, generator=generator)

    state = {
        "transformer.wte.weight": make(VOCAB, WIDTH),
        "transformer.wpe.weight": make(BLOCK, WIDTH),
    }
    for layer in range(LAYERS):
        h = f"transformer.h.{layer}"
        for norm in ("ln_1", "ln_2"):
            state |= {f"{h}.{norm}.weight": make(WIDTH, centre=1), f"{h}.{norm}.bias": make(WIDTH)}
        for name, out, inner in (
            ("attn.c_attn", 3 * WIDTH, WIDTH),
            ("attn.c_proj", WIDTH, WIDTH),
            ("mlp.c_fc", 4 * WIDTH, WIDTH),
            ("mlp.c_proj", WIDTH, 4 * WIDTH),
        ):
            state |= {f"{h}.{name}.weight": make(out, inner), f"{h}.{name}.bias": make(out)}
        state |= {f"{h}.attn.{g}.weight": 2 * make(R, WIDTH) for g in ("q_int", "k_int")}
        state[f"{h}.attn.int_bias"] = torch.tensor([1.5 + layer])
        mask = torch.ones(1, 1, BLOCK, BLOCK)
        state |= {f"{h}.attn.bias": mask.tril(), f"{h}.attn.bias_int": mask.tril(-1)}
    state |= {
        "transformer.ln_f.weight": make(WIDTH, centre=1),
        "transformer.ln_f.bias": make(WIDTH),
    }
    return state | {"lm_head.weight": state["transformer.wte.weight"]}


def forward(state: State, ids: Tensor) -> tuple[Tensor, float]:
    """Logits [T, V] and the share of pairs dropped, by the equations, hard gates, one sequence."""
    length = len(ids)
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    x = state["transformer.wte.weight"][ids] + state["transformer.wpe.weight"][:length]
    dropped = 0.0
    for layer in range(LAYERS):

        def get(name: str, h: str = f"transformer.h.{layer}") -> Tensor:
            return state[f"{h}.{name}"]

        def linear(name: str, x: Tensor, get: Any = get) -> Tensor:
            return x @ get(f"{name}.weight").T + get(f"{name}.bias")

        n = F.layer_norm(x, (WIDTH,), get("ln_1.weight"), get("ln_1.bias"), 1e-5)
        q_int, k_int = n @ get("attn.q_int.weight").T, n @ get("attn.k_int.weight").T
        gate = (q_int @ k_int.T / math.sqrt(R) + get("attn.int_bias") > 0).float()
        seen = gate.masked_fill(get("attn.bias_int")[0, 0, :length, :length] == 0, 1).cumprod(0)
        visible = causal & (seen > 0)
        dropped += 1 - float(visible.sum() - length) / (length * (length - 1) / 2)
        q, k, v = (
            part.view(length, HEADS, -1).transpose(0, 1)
            for part in linear("attn.c_attn", n).split(WIDTH, dim=1)
        )
        scores = (q @ k.transpose(1, 2) / math.sqrt(WIDTH // HEADS)).masked_fill(
            ~visible, -math.inf
        )
        mixed = (scores.softmax(-1) @ v).transpose(0, 1).reshape(length, WIDTH)
        x = x + linear("attn.c_proj", mixed)
        n = F.layer_norm(x, (WIDTH,), get("ln_2.weight"), get("ln_2.bias"), 1e-5)
        x = x + linear("mlp.c_proj", F.gelu(linear("mlp.c_fc", n), approximate="tanh"))
    norm = state["transformer.ln_f.weight"], state["transformer.ln_f.bias"]
    return F.layer_norm(x, (WIDTH,), *norm, 1e-5) @ state["lm_head.weight"].T, dropped / LAYERS


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run of the public code: its config.json and model.pt."""
    torch.save(state_dict(), tmp_path / "model.pt")
    settings = {"propagate_in_depth": False, "pretrained": None, "sparse_attention": True}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "tokenizer").mkdir()
    checkpoints.write_tokenizer(tmp_path / "tokenizer")
    return tmp_path


def taken(run: Path, **options: Any) -> Path:
    return import_checkpoint(
        run / "model.pt", run / "tokenizer", run / "out", **{"heads": HEADS} | options
    )


def rewrite(run: Path, **changes: Any) -> None:
    """Save the checkpoint again, ``transformer.h.1.attn.<name>`` changed; None leaves it out."""
    state = state_dict()
    for name, value in changes.items():
        key = f"transformer.h.1.attn.{name.replace('__', '.')}"
        state |= {key: value}
    torch.save({k: v for k, v in state.items() if v is not None}, run / "model.pt")


def test_a_masked_forward_gives_the_same_logits_before_and_after(run: Path) -> None:
    model = load(taken(run))
    ids = torch.randint(VOCAB, (BLOCK,), generator=torch.Generator().manual_seed(3))
    expected, dropped = forward(state_dict(), ids)
    assert 0.1 < dropped < 0.9
    found = model.transformer(ids[None], torch.arange(BLOCK)[None], MaskedAttend())[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert model.gates is not None
    assert model.gates.interaction == R


def test_transformers_loads_it_as_the_base_model(run: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = taken(run)
    ids = torch.arange(BLOCK)[None]
    open_gates = {
        k: torch.tensor([1e9]) if k.endswith("int_bias") else v for k, v in state_dict().items()
    }
    expected, dropped = forward(open_gates, ids[0])
    assert dropped == 0
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(out)(ids).logits[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert AutoTokenizer.from_pretrained(out)("ab").input_ids == [64, 65]


def test_the_command_line_imports_and_says_where(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("train", "import", "--checkpoint", run / "model.pt", "--tokenizer", run / "tokenizer")
    assert main([*map(str, words), "--out", str(run / "out"), "--heads", str(HEADS)]) == 0
    assert capsys.readouterr().out == f"{run / 'out'}\n"
    assert load(run / "out").config.heads == HEADS
    assert main([*map(str, words), "--out", str(run / "out")]) == 2
    assert "already there" in capsys.readouterr().err


def test_propagation_in_depth_is_refused_by_name(run: Path) -> None:
    (run / "config.json").write_text('{"propagate_in_depth": true}')
    with pytest.raises(ModelError, match="propagate_in_depth=True"):
        taken(run)
    (run / "config.json").write_text('{"propagate_in_depth": "yes"}')
    with pytest.raises(ModelError, match="propagate_in_depth=True"):
        taken(run)


def test_heads_come_from_the_runs_settings_or_the_caller(run: Path) -> None:
    (run / "config.json").write_text('{"pretrained": "gpt2-medium"}')
    with pytest.raises(ModelError, match="24 does not divide into 16 heads"):
        taken(run, heads=None)
    (run / "config.json").write_text("{}")
    assert load(taken(run, heads=None)).config.heads == 12
    (run / "config.json").unlink()
    with pytest.raises(ModelError, match=r"config\.json is missing"):
        import_checkpoint(run / "model.pt", run / "tokenizer", run / "other")
    (run / "config.json").write_text('{"sparse_attention": false}')
    with pytest.raises(ModelError, match="no gates"):
        import_checkpoint(run / "model.pt", run / "tokenizer", run / "other")
    (run / "config.json").write_text("[")
    with pytest.raises(ModelError, match="cannot be read"):
        import_checkpoint(run / "model.pt", run / "tokenizer", run / "other")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"q_int__weight": None}, "lacks tensor 'transformer.h.1.attn.q_int.weight'"),
        ({"int_bias": torch.zeros(2)}, r"int_bias' has shape \[2\], not \[1\]"),
        ({"k_int__weight": torch.zeros(R + 1, WIDTH)}, r"k_int.weight' has shape \[6, 24\]"),
        ({"c_attn__weight": torch.zeros(WIDTH, 3 * WIDTH)}, "c_attn.weight' has shape"),
        ({"c_proj__bias": None}, "lacks tensor 'transformer.h.1.attn.c_proj.bias'"),
        ({"c_proj__bias": torch.full((WIDTH,), math.nan)}, "NaN or infinity"),
        ({"c_proj__bias": torch.zeros(WIDTH, dtype=torch.int64)}, "not a plain float"),
        ({"c_proj__bias": torch.zeros(1).expand(WIDTH)}, "larger than what the file holds"),
        ({"c_proj__bias": torch.zeros(WIDTH).to_sparse()}, "not a plain float"),
        ({"extra": torch.zeros(3)}, "has tensor 'transformer.h.1.attn.extra'"),
        ({"c_proj__bias": "text"}, "is no tensor"),
    ],
)
def test_a_misshapen_state_dict_is_named_in_one_line(
    run: Path, changes: dict[str, Any], complaint: str
) -> None:
    rewrite(run, **changes)
    with pytest.raises(ModelError, match=complaint) as caught:
        taken(run)
    assert "\n" not in str(caught.value)
    assert not (run / "out").exists()
    assert not (run / "out.new").exists()


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_hostile_file_runs_nothing(run: Path) -> None:
    torch.save({"a": Bomb(run / "was-run")}, run / "model.pt")
    with pytest.raises(ModelError, match="more than tensors"):
        taken(run)
    assert not (run / "was-run").exists()
    torch.load(run / "model.pt", weights_only=False)
    assert (run / "was-run").exists()


def test_a_damaged_or_absent_file_is_one_line(run: Path) -> None:
    whole = (run / "model.pt").read_bytes()
    for cut in (0, 1, 63, 1000, len(whole) - 63):
        (run / "model.pt").write_bytes(whole[:cut])
        with pytest.raises(ModelError) as caught:
            taken(run)
        assert "\n" not in str(caught.value)
    (run / "model.pt").unlink()
    with pytest.raises(ModelError, match="is not there"):
        taken(run)
    torch.save([1, 2], run / "model.pt")
    with pytest.raises(ModelError, match="holds no state dict"):
        taken(run)


def test_a_wrong_vocabulary_or_an_untied_head_is_refused(run: Path) -> None:
    state = state_dict()
    torch.save(state | {"lm_head.weight": state["lm_head.weight"] + 1}, run / "model.pt")
    with pytest.raises(ModelError, match="the format ties them"):
        taken(run)
    few = state["lm_head.weight"][:99].clone()
    torch.save(state | {"lm_head.weight": few, "transformer.wte.weight": few}, run / "model.pt")
    with pytest.raises(ModelError, match="tokenizer has token id 256"):
        taken(run)
    assert not (run / "out").exists()


def test_no_tokenizer_is_said_before_any_work(run: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        import_checkpoint(run / "model.pt", run, run / "out", heads=HEADS)
    (run / "out").mkdir()
    with pytest.raises(RequestError, match="already there"):
        taken(run)
