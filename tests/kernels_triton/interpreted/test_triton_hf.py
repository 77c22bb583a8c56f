"""`generate()` of a pruned `transformers` model on the paged pool says what the host's rows say."""

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import dcp.hf
from dcp.errors import RequestError
from dcp.hf.layers import rows_of
from tests.helpers.hf_runs import PROMPTS, batch_of, model_of

PROMPT = PROMPTS[1]


def test_rows_of_the_pool_are_those_of_the_host(
    tiny_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tiny_checkpoint("llama", drop=0.4)
    given = {**batch_of([PROMPT, PROMPT[:5]]), "do_sample": False, "pad_token_id": 0}
    told = []
    for impl in ("cpu", "triton"):
        model = dcp.hf.prune(model_of(folder), folder, impl=impl)
        made = dcp.hf.cache(model)
        out = model.generate(**given, max_new_tokens=3, min_new_tokens=3, past_key_values=made)
        beams = model.generate(**given, max_new_tokens=3, min_new_tokens=3, num_beams=2)
        more = torch.tensor([[7, 8], [9, 10]])
        with torch.no_grad():
            logits = model(more, past_key_values=copy.deepcopy(made)).logits
        told.append((out, beams, logits, rows_of(made)))
    (out, beams, logits, rows), (out_too, beams_too, logits_too, rows_too) = told
    assert torch.equal(out, out_too)
    assert torch.equal(beams, beams_too)
    assert torch.allclose(logits, logits_too, atol=1e-4)
    assert rows is not None
    assert rows_too is not None
    assert np.array_equal(rows.death, rows_too.death)
    assert [rows.cache.memory(i).live for i in (0, 1)] == [
        rows_too.cache.memory(i).live for i in (0, 1)
    ]
    with pytest.raises(RequestError, match="not saved"):
        dcp.hf.save_cache(model, made, tmp_path / "no")
    with pytest.raises(RequestError, match="impl cpu"):
        dcp.hf.prune(model, policy="tova", budget=5, impl="triton")
