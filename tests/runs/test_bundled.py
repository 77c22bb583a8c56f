"""The model in assets/: small enough, an ordinary transformers folder, and it really prunes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dcp.engine.engine import Engine
from dcp.model.masked import MaskedAttend
from dcp.model.registry import describe, find
from dcp.model.weights import load
from dcp.text.tokens import Tokenizer

TEXT = (
    "The museum opened in 1901. It was built by a local architect, and the first visitors came "
    "from the towns along the river. In 1944 the building was damaged, but the collection had "
    "been moved to the mountains. After the war it was rebuilt, and today it shows more than two "
    "thousand objects from the region, many of them made of glass, wood and iron."
)


@pytest.fixture(scope="module")
def folder() -> Path:
    return find("dcp-mini")


def test_the_folder_loads_in_transformers_unchanged_and_gives_our_logits(folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = AutoTokenizer.from_pretrained(folder)(TEXT, return_tensors="pt").input_ids
    assert ids[0].tolist() == Tokenizer.load(folder).encode(TEXT).ids.tolist()
    ours = load(folder).transformer
    steps = torch.arange(ids.shape[1])[None]
    with torch.inference_mode():
        difference = theirs(ids).logits - ours(ids, steps, MaskedAttend(prune=False))
    assert float(difference.abs().max()) < 1e-4


def test_it_forgets_while_it_reads_and_decoding_agrees_with_the_masked_forward(
    folder: Path,
) -> None:
    model = load(folder)
    ids = Tokenizer.load(folder).encode(TEXT).ids.tolist()
    run = Engine(model).run([ids], new_tokens=0)
    for _ in run:
        pass
    death, _ = run.lives(0)
    attend = MaskedAttend()
    with torch.inference_mode():
        model.transformer(torch.tensor([ids]), torch.arange(len(ids))[None], attend)
    expected = attend.deaths[:, 0].numpy()
    # Different summation orders: a gate within 1e-4 of its threshold may fall either way.
    assert np.mean(death != expected) < 0.01
    assert np.mean(death < len(ids)) > 0.3


def test_the_dial_is_measured_and_monotone(folder: Path) -> None:
    points = describe(find("dcp-mini")).calibration
    assert len(points) >= 5
    assert [p.delta for p in points] == sorted(p.delta for p in points)
    assert 0.0 in [p.delta for p in points]
    sparsities = [p.sparsity for p in points]
    assert sparsities == sorted(sparsities, reverse=True)


def test_the_weights_stay_within_their_limits(folder: Path) -> None:
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) <= 32e6
    assert max(p.stat().st_size for p in files) <= 9e6


def test_the_card_names_its_data_and_their_licences(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    for name in ("Wikipedia", "Wikinews", "TinyStories", "African Storybook", "CC BY-SA 3.0"):
        assert name in card
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "llama"
