"""A trace in a few numbers: what ``dcp trace`` prints, as JSON or in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp.cli.terminal import note, printable
from dcp.trace.amounts import percent, size

if TYPE_CHECKING:
    from dcp.trace import Trace

__all__ = ["show", "summary"]


def summary(trace: Trace, out: Path | None) -> dict[str, Any]:
    """What ``--json`` prints: the numbers of a trace by the names that other tools rely on."""
    meta, start = trace.meta, _start_of_continuation(trace)
    return {
        "tokens": trace.tokens,
        "prompt_tokens": trace.prompt_tokens,
        "new_tokens": trace.tokens - trace.prompt_tokens,
        "layers": trace.layers,
        "text": trace.text,
        "prompt": trace.text[:start],
        "continuation": trace.text[start:],
        "sparsity": trace.sparsity_mean_steps(),
        "sparsity_at_end": trace.sparsity_at_end(),
        "sparsity_per_layer": trace.sparsity_per_layer(),
        "tokens_per_second": meta.tokens_per_second,
        "time_to_first_token_s": meta.time_to_first_token_s,
        "prompt_seconds": meta.prompt_seconds,
        **{name: n for name, n in meta.memory.to_json().items() if name.startswith("kv_bytes_")},
        "gate_shift": meta.gate_shift,
        "policy": meta.policy or "gates",
        "budget": meta.budget,
        "policy_settings": meta.policy_settings,
        "held_per_layer": trace.held()[:, : trace.n_queries].mean(axis=1),
        "vocabulary": meta.vocabulary,
        "seed": meta.seed,
        "model": meta.model,
        "dtype": meta.dtype,
        "kv_dtype": meta.kv_dtype,
        "impl": meta.impl,
        "device": meta.device,
        "truncated": meta.truncated,
        "gates_off": _gates_off(trace),
        "out": None if out is None else str(out.resolve()),
    }


def _gates_off(trace: Trace) -> dict[str, Any] | None:
    """Means over tokens of what ``--gates-off`` adds; None without it, or for a single token."""
    if trace.kl is None or trace.gates_off_logprob is None or trace.lost_attention is None:
        return None
    if trace.tokens < 2:
        return None
    return {
        "kl": float(trace.kl[1:].mean()),
        "logprob_difference": float((trace.gates_off_logprob - trace.logprob)[1:].mean()),
        "lost_attention_per_layer": trace.lost_attention[:, : trace.n_queries].mean(axis=1),
    }


def _start_of_continuation(trace: Trace) -> int:
    if trace.tokens == trace.prompt_tokens:
        return len(trace.text)
    return int(trace.offsets[trace.prompt_tokens, 0])


def show(trace: Trace, out: Path | None) -> None:
    """The text on standard output, speed, sparsity and memory beside it on standard error."""
    found = summary(trace, out)
    print(printable(trace.text))
    rate = found["tokens_per_second"]
    memory, kind = trace.meta.memory, found["kv_dtype"]
    kept = f" in {kind}" if kind else ""
    note(
        f"{found['prompt_tokens']} + {found['new_tokens']} tokens"
        + (f", {rate:.0f} tokens/s" if rate else "")
        + f"; {percent(found['sparsity_at_end'])} dropped at the end"
        f" ({percent(found['sparsity'])} mean over steps)"
        f"; keys and values{kept}: {size(memory.live)} live, {size(memory.held)} allocated, "
        f"{size(memory.dense)} dense" + (f"; saved {out}" if out else "")
    )
    if rows := found["vocabulary"]:
        note(
            f"vocabulary: {rows['kept']:,} of {rows['of']:,} rows, {size(rows['bytes_saved'])} "
            "of weights saved; log-probs are of a softmax over these rows alone"
        )
    if off := found["gates_off"]:
        note(
            f"gates off, same tokens: KL {off['kl']:.4f} nats a token, the actual token "
            f"{off['logprob_difference']:+.4f} nats likelier"
        )
