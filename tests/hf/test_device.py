"""A model on another device than its rows: nothing mixes, and tokens and deaths are the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import dcp.hf
from dcp.hf.layers import rows_of
from tests.helpers.far_device import FAR, Far, FarDevice, move
from tests.helpers.hf_runs import PROMPTS, batch_of, model_of


def test_the_far_device_is_as_strict_as_a_gpu() -> None:
    with FarDevice():
        far = torch.ones(3).to("cuda")
        assert isinstance(far, Far)
        assert far.device == FAR
        assert isinstance(far @ far, Far)
        with pytest.raises(RuntimeError, match="cuda and cpu"):
            far + torch.ones(3)
        with pytest.raises(TypeError, match="numpy"):
            far.numpy()
        assert far.cpu().numpy().sum() == 3
        assert isinstance(torch.zeros(2, device="cuda"), Far)


@pytest.mark.parametrize(("architecture", "policy"), [("llama", "gates"), ("gpt2", "tova")])
def test_rows_on_the_host_serve_a_model_elsewhere(
    tiny_checkpoint: Callable[..., Path], architecture: str, policy: str
) -> None:
    folder = tiny_checkpoint(architecture, drop=0.3)
    budget = None if policy == "gates" else 9
    options = {"policy": policy, "budget": budget}
    checkpoint = folder if policy == "gates" else None
    inputs = batch_of(PROMPTS)
    here = dcp.hf.prune(model_of(folder), checkpoint, **options)
    made = dcp.hf.cache(here)
    with torch.no_grad():
        expected = here(**inputs, past_key_values=made).logits
    far = dcp.hf.prune(model_of(folder), checkpoint, **options)
    there = dcp.hf.cache(far)
    with torch.no_grad(), FarDevice():
        move(far)
        sent = {name: x.to("cuda") for name, x in inputs.items()}
        logits = far(**sent, past_key_values=there).logits
        assert logits.device == FAR
        found = logits.cpu()
    assert torch.equal(found, expected)
    one, other = rows_of(made), rows_of(there)
    assert one is not None
    assert other is not None
    assert np.array_equal(one.death, other.death)
    assert one.scores[0][1:] == other.scores[0][1:]
