"""The bundled model, end to end in the interpreter: ``triton`` says what ``reference`` says."""

import torch

from dcp.config import Sampling
from dcp.engine import Engine
from dcp.model.weights import load
from dcp.models import find

IDS = [3 + 197 * i % 8000 for i in range(23)]


def traced(impl: str, dtype: torch.dtype = torch.float32):
    engine = Engine(load(find(None), dtype), impl)
    run = engine.run([IDS, IDS[4:9]], new_tokens=5, sampling=Sampling(seed=3), chunk=16)
    steps = list(run)
    scores = [part.logprobs for step in steps for part in step.rows]
    tokens = [part.tokens.tolist() for step in steps for part in step.rows]
    return tokens, scores, [run.lives(0), run.lives(1)]


def test_tokens_and_deaths_are_equal_and_scores_in_budget():
    tokens, scores, lives = traced("triton")
    tokens_too, expected, lives_too = traced("reference")
    assert tokens == tokens_too
    for found, wanted in zip(scores, expected, strict=True):
        torch.testing.assert_close(
            torch.from_numpy(found), torch.from_numpy(wanted), rtol=0, atol=1e-4, equal_nan=True
        )
    for (death, margin), (death_too, margin_too) in zip(lives, lives_too, strict=True):
        assert (death == death_too).all()
        assert (death != 2**31 - 1).any()
        torch.testing.assert_close(
            torch.from_numpy(margin), torch.from_numpy(margin_too), rtol=0, atol=1e-4,
            equal_nan=True,
        )  # fmt: skip
