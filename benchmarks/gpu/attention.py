"""Attention alone on a GPU: decoding against a device copy, prompts against FlexAttention and SDPA.

python -m benchmarks.gpu.attention
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu import common
from benchmarks.gpu.common import DEVICE, HALF, REHEARSAL, Report, graphed, sized
from dcp.deaths import ALIVE
from dcp.kernels.triton.decode import paged_decode_attention, processors, splits_for
from dcp.kernels.triton.pool import Pool, PoolShape


def decode(report: Report, copy: float) -> None:
    """Bytes a second of decode attention over live rows, next to those of a copy; and the time of
    the same launch over one row, the floor under what is small."""
    shapes = sized(((16, 16, 64), (32, 8, 64), (32, 8, 128)), ((4, 2, 16),))
    sizes = sized(((1, 4096), (1, 65536), (16, 3277), (64, 819), (64, 4096)), ((2, 17),))
    for heads, kv_heads, width in shapes:
        for batch, live in sizes:
            size = batch * live * kv_heads * width * 2 * HALF.itemsize
            label = {"kernel": "decode attention", "heads": heads, "kv_heads": kv_heads,
                     "width": width, "batch": batch, "live": live, "kv_bytes": size}  # fmt: skip
            report.attempt(label, partial(one_layer, heads, kv_heads, width, batch, live, copy))


def one_layer(
    heads: int, kv_heads: int, width: int, batch: int, live: int, copy: float
) -> dict[str, Any]:
    held = -(-live // 32)
    pages = batch * held
    k = torch.randn(pages * 32, kv_heads, width, device=DEVICE, dtype=HALF)
    v = torch.randn_like(k)
    table = torch.randperm(pages, device=DEVICE).int().view(batch, held)
    rows = torch.arange(batch, dtype=torch.int32, device=DEVICE)
    q = torch.randn(batch, heads, width, device=DEVICE, dtype=HALF)
    splits = splits_for(batch, kv_heads, live, processors(DEVICE))
    arms = {}
    for name, count in (("all", live), ("floor", 1)):
        counts = torch.full((batch,), count, dtype=torch.int32, device=DEVICE)
        arms[name] = graphed(
            partial(paged_decode_attention, q, k, v, rows, counts, table, 32, splits)
        )
    seconds = common.take_turns(arms, 50)
    median = seconds["all"]["median"]
    return {
        "seconds": seconds["all"], "floor_seconds": seconds["floor"],
        "above_floor_seconds": median - seconds["floor"]["median"],
        "share_of_copy": 2 * k.nbytes / median / copy,
    }  # fmt: skip


def scattered(tokens: int, dropped: float) -> Tensor:
    """death [tokens]: the share ``dropped`` dies, each after a lifetime of about 300 steps."""
    g = torch.Generator(DEVICE).manual_seed(0)
    life = torch.rand(tokens, generator=g, device=DEVICE).log().neg().mul(300).int() + 1
    death = torch.arange(tokens, device=DEVICE, dtype=torch.int32) + life
    dies = (torch.rand(tokens, generator=g, device=DEVICE) < dropped) & (death < tokens)
    return torch.where(dies, death, ALIVE)


def prompt(
    report: Report, tokens: int, dropped: float, chunk: int = sized(1024, 16)
) -> dict[str, list[str]]:
    """A prompt through one layer: our chunks with scoring, masking and compaction; the baselines
    are told who dies and only attend."""
    heads, width, r = sized((16, 64, 64), (2, 16, 8))
    q, k, v = torch.randn(3, tokens, heads, width, device=DEVICE, dtype=HALF)
    q_int, k_int = torch.randn(2, tokens, r, device=DEVICE)
    death = scattered(tokens, dropped)
    steps = torch.arange(tokens, dtype=torch.int32, device=DEVICE)
    shape = PoolShape(1, 1, heads, width, r, tokens, -(-tokens // 32))
    pool = Pool(shape, HALF, DEVICE)
    row = torch.zeros(1, dtype=torch.int32, device=DEVICE)
    orders = death.view(1, 1, tokens).contiguous()

    ends = torch.tensor([0, shape.pages], device=DEVICE)

    def ours() -> Tensor:
        pool.counts.zero_()
        pool.ends.copy_(ends)
        pool.ring[: shape.pages] = torch.arange(shape.pages, dtype=torch.int32, device=DEVICE)
        parts = [
            pool.extend(
                0, row, 0, at, steps[part], q[part], k[part], v[part], q_int[part], k_int[part],
                0.0, orders,
            )
            for at in range(0, tokens, chunk)
            for part in [slice(at, at + chunk)]
        ]  # fmt: skip
        return torch.cat(parts)

    headed = [x.transpose(0, 1)[None].contiguous() for x in (q, k, v)]

    def dense() -> Tensor:
        with sdpa_kernel(sized(SDPBackend.FLASH_ATTENTION, SDPBackend.MATH)):
            return F.scaled_dot_product_attention(headed[0], headed[1], headed[2], is_causal=True)

    label = {"kernel": "prompt", "tokens": tokens, "dropped": dropped, "heads": heads}
    wanted: dict[str, Callable[[], Any]] = {"ours": ours, "SDPA flash, dense": dense}
    try:
        wanted["FlexAttention, death mask"] = flex(headed, death)
    except Exception as wrong:
        if REHEARSAL:
            raise
        report.add(**label, arm="FlexAttention, death mask", failed=f"{wrong!r:.300}")
    results = {name: run() for name, run in wanted.items()}
    peaks: dict[str, int | None] = {name: common.peak(run) for name, run in wanted.items()}
    # A chunk is a dozen launches: the model's other work hides them, here a graph does.
    wanted["ours, one graph"], peaks["ours, one graph"] = graphed(ours), None
    for name, seconds in common.take_turns(wanted, 10).items():
        report.add(**label, arm=name, seconds=seconds, peak_bytes=peaks[name])
    if "FlexAttention, death mask" in results:
        other = results["FlexAttention, death mask"][0].transpose(0, 1)
        difference = float((results["ours"].float() - other.float()).abs().max())
        report.add(**label, arm="largest difference, ours and FlexAttention", value=difference)
    return {"measured": list(wanted)}


def flex(headed: list[Tensor], death: Tensor) -> Callable[[], Tensor]:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    q, k, v = headed
    tokens = len(death)

    def visible(b: Tensor, h: Tensor, t: Tensor, j: Tensor) -> Tensor:
        return (j <= t) & (t < death[j])

    mask = create_block_mask(
        visible, None, None, tokens, tokens, device=DEVICE.type, _compile=not REHEARSAL
    )
    compiled = flex_attention if REHEARSAL else torch.compile(flex_attention)
    compiled(q, k, v, block_mask=mask)
    return lambda: compiled(q, k, v, block_mask=mask)


def main() -> None:
    report = Report("attention")
    copy = common.copy_bandwidth()
    report.add(copy_bytes_per_second=copy)
    decode(report, copy)
    for tokens in sized((16384, 4096), (20,)):
        for dropped in sized((0.8, 0.0, 0.5, 0.95), (0.8,)):
            report.attempt(
                {"kernel": "prompt", "tokens": tokens, "dropped": dropped, "arm": "all"},
                partial(prompt, report, tokens, dropped),
            )


if __name__ == "__main__":
    main()
