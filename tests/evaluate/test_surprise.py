"""Some rows of logits at a time give what all of them give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dcp.evaluate import surprise as room
from dcp.model.weights import load


@pytest.mark.parametrize("rows", [1, 3, 7, 8])
def test_some_rows_at_a_time_give_what_all_give(
    tiny_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    transformer = load(tiny_checkpoint("llama")).transformer
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(7, transformer.config.width, generator=generator)
    logits = transformer.head(hidden)
    wanted = torch.randint(0, transformer.config.vocab, (7,), generator=generator)
    wanted[::2] = logits[::2].argmax(-1)
    heads: list[int] = []
    head = transformer.head

    def counted(some: torch.Tensor) -> torch.Tensor:
        heads.append(len(some))
        return head(some)

    monkeypatch.setattr(room, "_LOGITS_AT_ONCE", rows * transformer.config.vocab)
    monkeypatch.setattr(transformer, "head", counted)
    nats, missed = room.surprise(transformer, hidden, wanted)
    expected = -logits.double().log_softmax(-1).gather(1, wanted[:, None])[:, 0]
    torch.testing.assert_close(nats, expected, rtol=1e-5, atol=1e-6)
    assert nats.dtype == torch.float64
    assert missed.tolist() == (logits.argmax(-1) != wanted).tolist()
    assert not missed[::2].any()
    assert max(heads) == min(rows, 7)
