"""Models to measure without training, and pools filled without a prompt.

Weights are random: time does not depend on them. A pool is filled to the wanted number of live rows
directly, and orders keep it there, so every share of drops is met exactly. A rehearsal takes the
same shapes with a few layers of a few elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.gpu.common import DEVICE, HALF, REHEARSAL
from dcp.deaths import ALIVE, ForcedDeaths
from dcp.kernels import api
from dcp.model.config import ModelConfig
from dcp.model.paged import PagedAttention
from dcp.model.transformer import Transformer

__all__ = ["Shape", "build", "bytes_of_a_step", "filled", "gpt2_medium", "llama_1b", "smollm2"]


@dataclass(frozen=True)
class Shape:
    """A model to measure: its configuration and gate width."""

    name: str
    config: ModelConfig
    interaction: int


_TINY_GPT2 = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 2}
_TINY_LLAMA = {
    "vocab_size": 97, "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
}  # fmt: skip


def gpt2_medium(context: int) -> Shape:
    """355 M parameters: 24 layers of 16 heads of 64."""
    config = ModelConfig.from_hf(
        {
            "model_type": "gpt2", "vocab_size": 50257, "n_positions": context, "n_embd": 1024,
            "n_layer": 24, "n_head": 16, "activation_function": "gelu_new",
        } | (_TINY_GPT2 if REHEARSAL else {})
    )  # fmt: skip
    return Shape("gpt2-medium", config, 8 if REHEARSAL else 64)


def llama_1b(context: int) -> Shape:
    """1.2 B parameters: 16 layers of 32 query heads and 8 key heads of 64."""
    return _llama(
        "llama-1b", 64, context, vocab_size=128256, hidden_size=2048, intermediate_size=8192,
        num_hidden_layers=16, num_attention_heads=32, num_key_value_heads=8, rope_theta=500000.0,
    )  # fmt: skip


def smollm2(context: int) -> Shape:
    """135 M parameters: 30 layers of 9 query heads and 3 key heads of 64; gates as wide as the
    bundled adapter's."""
    return _llama(
        "smollm2-135m", 48, context, vocab_size=49152, hidden_size=576, intermediate_size=1536,
        num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, rope_theta=100000.0,
    )  # fmt: skip


def _llama(name: str, interaction: int, context: int, **shape: float) -> Shape:
    config = ModelConfig.from_hf(
        {
            "model_type": "llama", "head_dim": 64, "max_position_embeddings": context,
            "hidden_act": "silu", "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
            "attention_bias": False, "mlp_bias": False, **shape,
        } | (_TINY_LLAMA if REHEARSAL else {})
    )  # fmt: skip
    return Shape(name, config, 8 if REHEARSAL else interaction)


def build(shape: Shape, gated: bool) -> Transformer:
    """The model on the card: bfloat16, gates float32, weights N(0, 0.02)."""
    torch.manual_seed(0)
    with torch.device("meta"):
        model = Transformer(shape.config, shape.interaction if gated else 0)
    model = model.to_empty(device=DEVICE).to(HALF)
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
    deaths: list[ForcedDeaths | None] = [None] * batch
    pages = c.layers * batch * (-(-(live + steps) // 32) + 1)
    attention = PagedAttention(
        c, api.kernels("triton", DEVICE.type), HALF, DEVICE, [end] * batch,
        interaction=shape.interaction if gated else 0, deaths=deaths, pages=pages,
    )  # fmt: skip
    pool = attention.pool
    for x in (pool.k, pool.v, pool.k_int):
        x.normal_()
    pool.margins.fill_(1.0)
    held = -(-live // 32)
    used = c.layers * batch * held
    g = torch.Generator(DEVICE).manual_seed(1)
    table = torch.randperm(pages, generator=g, device=DEVICE)
    pool.ring[:pages] = table.int()
    pool.table[:, :, :held] = table[:used].view(c.layers, batch, held).int()
    pool.ends[0] = used
    pool.counts.fill_(live)
    positions = torch.rand(c.layers, batch, context, generator=g, device=DEVICE)
    positions = positions.topk(live, dim=2).indices.sort(dim=2).values.int()
    rows = torch.arange(live, device=DEVICE)
    place = pool.table[:, :, rows // 32].long() * 32 + rows % 32
    pool.positions[place] = positions
    if gated:
        orders = torch.full((c.layers, batch, end), ALIVE, dtype=torch.int32, device=DEVICE)
        doomed = round(dropped * steps)
        if doomed:
            # The living in random order, then the newcomers: each is older than its death.
            order = torch.rand(c.layers, batch, live, generator=g, device=DEVICE).argsort(dim=2)
            coming = torch.arange(context, end, device=DEVICE).expand(c.layers, batch, -1)
            queue = torch.cat((positions.gather(2, order).long(), coming), dim=2)[..., :doomed]
            when = context + 1 + (torch.arange(doomed, device=DEVICE) / dropped).int()
            orders.scatter_(2, queue, when.expand(c.layers, batch, -1).contiguous())
        attention.orders = orders
    counts, free = pool.state()
    attention.note(counts, free, 0)
    return attention


def bytes_of_a_step(model: Transformer, attention: PagedAttention) -> int:
    """The least a step must read: weights once, and live keys, values and gate keys."""
    weights = sum(p.nbytes for p in model.parameters())
    pool = attention.pool
    row = pool.entry_bytes + 4 * pool.shape.interaction
    return int(weights + int(pool.counts.sum()) * row)
