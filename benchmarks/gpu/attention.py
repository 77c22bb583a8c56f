"""Attention alone on a GPU: decoding against a device copy, prompts against FlexAttention and SDPA.

python -m benchmarks.gpu.attention
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.gpu import common
from benchmarks.gpu.common import CUDA, HALF, Report
from dcp.kernels.triton.decode import paged_decode_attention, processors, splits_for
from dcp.kernels.triton.pool import Pool, PoolShape

ALIVE = 2**31 - 1


def decode(report: Report, copy: float) -> None:
    """Bytes a second of decode attention over live rows, next to those of a copy."""
    for heads, kv_heads, width in ((16, 16, 64), (32, 8, 64), (32, 8, 128)):
        for batch, live in ((1, 4096), (1, 65536), (16, 3277), (64, 819), (64, 4096)):
            held = -(-live // 32)
            pages = batch * held
            k = torch.randn(pages * 32, kv_heads, width, device=CUDA, dtype=HALF)
            v = torch.randn_like(k)
            table = torch.randperm(pages, device=CUDA).int().view(batch, held)
            counts = torch.full((batch,), live, dtype=torch.int32, device=CUDA)
            rows = torch.arange(batch, dtype=torch.int32, device=CUDA)
            q = torch.randn(batch, heads, width, device=CUDA, dtype=HALF)
            splits = splits_for(batch, kv_heads, live, processors(CUDA))

            def run(
                q: Tensor = q, k: Tensor = k, v: Tensor = v, rows: Tensor = rows,
                counts: Tensor = counts, table: Tensor = table, splits: int = splits,
            ) -> None:  # fmt: skip
                paged_decode_attention(q, k, v, rows, counts, table, 32, splits)

            size = batch * live * kv_heads * width * 2 * 2
            seconds = common.timed(graphed(run), 50)
            report.add(
                kernel="decode attention", heads=heads, kv_heads=kv_heads, width=width,
                batch=batch, live=live, kv_bytes=size, seconds=seconds,
                share_of_copy=size / seconds["median"] / copy,
            )  # fmt: skip


def graphed(run: Callable[[], None]) -> Callable[[], None]:
    """The same in one graph: small cases are otherwise launches alone."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def scattered(tokens: int, dropped: float) -> Tensor:
    """death [tokens]: the share ``dropped`` dies, each after a lifetime of about 300 steps."""
    g = torch.Generator(CUDA).manual_seed(0)
    life = torch.rand(tokens, generator=g, device=CUDA).log().neg().mul(300).int() + 1
    death = torch.arange(tokens, device=CUDA, dtype=torch.int32) + life
    dies = (torch.rand(tokens, generator=g, device=CUDA) < dropped) & (death < tokens)
    return torch.where(dies, death, ALIVE)


def prompt(report: Report, tokens: int, dropped: float, chunk: int = 1024) -> dict[str, list[str]]:
    """A prompt through one layer: our chunks with scoring, masking and compaction; the baselines
    are told who dies and only attend."""
    heads, width, r = 16, 64, 64
    q, k, v = torch.randn(3, tokens, heads, width, device=CUDA, dtype=HALF)
    q_int, k_int = torch.randn(2, tokens, r, device=CUDA)
    death = scattered(tokens, dropped)
    steps = torch.arange(tokens, dtype=torch.int32, device=CUDA)
    shape = PoolShape(1, 1, heads, width, r, tokens, -(-tokens // 32))
    pool = Pool(shape, HALF, CUDA)
    row = torch.zeros(1, dtype=torch.int32, device=CUDA)
    orders = death.view(1, 1, tokens).contiguous()

    def ours() -> Tensor:
        pool.counts.zero_()
        pool.ends.copy_(torch.tensor([0, shape.pages], device=CUDA))
        pool.ring[: shape.pages] = torch.arange(shape.pages, dtype=torch.int32, device=CUDA)
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
        return F.scaled_dot_product_attention(headed[0], headed[1], headed[2], is_causal=True)

    label = {"kernel": "prompt", "tokens": tokens, "dropped": dropped, "heads": heads}
    wanted: dict[str, Callable[[], Tensor]] = {"ours": ours, "SDPA dense": dense}
    try:
        wanted["FlexAttention, death mask"] = flex(headed, death)
    except Exception as wrong:
        report.add(**label, arm="FlexAttention, death mask", failed=f"{wrong!r:.300}")
    results = {}
    for name, run in wanted.items():
        run()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        results[name] = run()
        peak = torch.cuda.max_memory_allocated() - before
        report.add(**label, arm=name, seconds=common.timed(run, 10), peak_bytes=peak)
    if "FlexAttention, death mask" in results:
        other = results["FlexAttention, death mask"][0].transpose(0, 1)
        difference = float((results["ours"].float() - other.float()).abs().max())
        report.add(**label, arm="largest difference, ours and FlexAttention", value=difference)
    return {"measured": list(results)}


def flex(headed: list[Tensor], death: Tensor) -> Callable[[], Tensor]:
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    q, k, v = headed
    tokens = len(death)

    def visible(b: Tensor, h: Tensor, t: Tensor, j: Tensor) -> Tensor:
        return (j <= t) & (t < death[j])

    mask = create_block_mask(visible, None, None, tokens, tokens, device="cuda", _compile=True)
    compiled = torch.compile(flex_attention)
    compiled(q, k, v, block_mask=mask)
    return lambda: compiled(q, k, v, block_mask=mask)


def main() -> None:
    report = Report("attention")
    copy = common.copy_bandwidth()
    report.add(copy_bytes_per_second=copy)
    decode(report, copy)
    for tokens in (4096, 16384):
        for dropped in (0.0, 0.5, 0.8, 0.95):
            report.attempt(
                {"kernel": "prompt", "tokens": tokens, "dropped": dropped, "arm": "all"},
                partial(prompt, report, tokens, dropped),
            )


if __name__ == "__main__":
    main()
