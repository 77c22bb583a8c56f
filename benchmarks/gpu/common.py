"""What the GPU benchmarks share: models without training, pools filled without a prompt, timing,
byte ceilings, and the file that results go to.

Weights are random: time does not depend on them. A pool is filled to the wanted number of live rows
directly, and orders keep it there, so every share of drops is met exactly.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from dcp.config import ModelConfig
from dcp.forced import ForcedDeaths
from dcp.kernels import api
from dcp.model.paged import PagedAttention
from dcp.model.transformer import Transformer

CUDA = torch.device("cuda")
HALF = torch.bfloat16


@dataclass(frozen=True)
class Shape:
    """A model to measure: its configuration and gate width."""

    name: str
    config: ModelConfig
    interaction: int


def gpt2_medium(context: int) -> Shape:
    """355 M parameters: 24 layers of 16 heads of 64."""
    config = ModelConfig.from_hf(
        {
            "model_type": "gpt2", "vocab_size": 50257, "n_positions": context, "n_embd": 1024,
            "n_layer": 24, "n_head": 16, "activation_function": "gelu_new",
        }
    )  # fmt: skip
    return Shape("gpt2-medium", config, 64)


def llama_1b(context: int) -> Shape:
    """1.2 B parameters: 16 layers of 32 query heads and 8 key heads of 64."""
    config = ModelConfig.from_hf(
        {
            "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048,
            "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
            "num_key_value_heads": 8, "head_dim": 64, "max_position_embeddings": context,
            "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
            "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
        }
    )  # fmt: skip
    return Shape("llama-1b", config, 64)


def build(shape: Shape, gated: bool) -> Transformer:
    """The model on the card: bfloat16, gates float32, weights N(0, 0.02)."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = Transformer(shape.config, shape.interaction if gated else 0)
    model = model.to_empty(device=CUDA).to(HALF)
    for name, p in model.named_parameters():
        if p.ndim > 1:
            p.data.normal_(0.0, 0.02)
        else:
            p.data.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        if name.endswith(("q_int.weight", "k_int.weight", "beta")):
            p.data = p.data.float()
    if shape.config.tied:
        model.unembed.weight = model.embed.weight
    return model.eval().requires_grad_(False)


def filled(
    shape: Shape, batch: int, context: int, dropped: float, steps: int, gated: bool
) -> PagedAttention:
    """A cache in which ``context`` tokens were read and the share ``dropped`` of them is gone.

    While ``steps`` go on, orders kill that share of a token a step, scattered over the living.
    """
    c, end = shape.config, context + steps
    live = context - round(dropped * context)
    # Rows that can live at once: what lives now and what comes.
    forced: list[ForcedDeaths | None] = [None] * batch
    pages = c.layers * batch * (-(-(live + steps) // 32) + 1)
    attention = PagedAttention(
        c, api.kernels("triton", "cuda"), HALF, CUDA, [end] * batch,
        interaction=shape.interaction if gated else 0, forced=forced, pages=pages,
    )  # fmt: skip
    pool = attention.pool
    for x in (pool.k, pool.v, pool.k_int):
        x.normal_()
    pool.margins.fill_(1.0)
    held = -(-live // 32)
    used = c.layers * batch * held
    g = torch.Generator(CUDA).manual_seed(1)
    table = torch.randperm(pages, generator=g, device=CUDA)
    pool.ring[:pages] = table.int()
    pool.table[:, :, :held] = table[:used].view(c.layers, batch, held).int()
    pool.ends[0] = used
    pool.counts.fill_(live)
    positions = torch.rand(c.layers, batch, context, generator=g, device=CUDA)
    positions = positions.topk(live, dim=2).indices.sort(dim=2).values.int()
    rows = torch.arange(live, device=CUDA)
    place = pool.table[:, :, rows // 32].long() * 32 + rows % 32
    pool.positions[place] = positions
    if gated:
        orders = torch.full((c.layers, batch, end), 2**31 - 1, dtype=torch.int32, device=CUDA)
        doomed = round(dropped * steps)
        if doomed:
            # The living in random order, then the newcomers: each is older than its death.
            order = torch.rand(c.layers, batch, live, generator=g, device=CUDA).argsort(dim=2)
            coming = torch.arange(context, end, device=CUDA).expand(c.layers, batch, -1)
            queue = torch.cat((positions.gather(2, order).long(), coming), dim=2)[..., :doomed]
            when = context + 1 + (torch.arange(doomed, device=CUDA) / dropped).int()
            orders.scatter_(2, queue, when.expand(c.layers, batch, -1).contiguous())
        attention.orders = orders
    attention.touched()
    return attention


def bytes_of_a_step(model: Transformer, attention: PagedAttention) -> int:
    """The least a step must read: weights once, and live keys, values and gate keys."""
    weights = sum(p.nbytes for p in model.parameters())
    pool = attention.pool
    row = pool.row_bytes + 4 * pool.shape.interaction
    return int(weights + int(pool.counts.sum()) * row)


def copy_bandwidth() -> float:
    """Bytes a second of a device copy, bytes read and written counted."""
    source = torch.empty(2**32, dtype=torch.uint8, device=CUDA)
    target = torch.empty_like(source)
    seconds = timed(lambda: target.copy_(source), 20)["median"]
    return 2 * source.nbytes / seconds


def timed(run: Callable[[], Any], repeats: int, warm_up: int = 3) -> dict[str, float]:
    """Seconds of ``run`` on the device: median, p20 and p80 of ``repeats``."""
    for _ in range(warm_up):
        run()
    marks = [
        (torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
        for _ in range(repeats)
    ]
    for start, stop in marks:
        start.record()
        run()
        stop.record()
    torch.cuda.synchronize()
    return spread([start.elapsed_time(stop) / 1000 for start, stop in marks])


def spread(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    n = len(ordered)
    return {
        "median": statistics.median(ordered),
        "p20": ordered[round(0.2 * (n - 1))],
        "p80": ordered[round(0.8 * (n - 1))],
    }


class Report:
    """Rows of results, written to ``$OUT`` as they come: a run cut short keeps what it had."""

    def __init__(self, name: str, minutes: float = 8.0) -> None:
        folder = Path(os.environ.get("OUT") or "docs/gpu")
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{name}.json"
        self.rows: list[dict[str, Any]] = []
        self._end = time.monotonic() + 60 * minutes

    @property
    def time_is_up(self) -> bool:
        return time.monotonic() > self._end

    def add(self, **row: Any) -> None:
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        self.path.write_text(json.dumps({"machine": machine(), "rows": self.rows}, indent=1) + "\n")

    def attempt(self, label: dict[str, Any], run: Callable[[], dict[str, Any]]) -> None:
        """Add what ``run`` measures; a baseline that fails is told, not hidden."""
        if self.time_is_up:
            self.add(**label, skipped="the part's time was up")
            return
        try:
            self.add(**label, **run())
        except Exception as wrong:
            self.add(**label, failed=f"{type(wrong).__name__}: {str(wrong).splitlines()[:1]}")
        torch.cuda.empty_cache()


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    import triton

    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "gpu": torch.cuda.get_device_name(),
        "driver": subprocess.run(query, capture_output=True, text=True).stdout.strip(),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "triton": triton.__version__,
    }
