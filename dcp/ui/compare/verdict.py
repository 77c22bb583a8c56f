"""What a comparison says at once: one sentence and four numbers. Knows no model.

verdict(pair)     # "With 72.7 % of the earlier tokens dropped this text is …"
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dcp.stats.compare import Pair
from dcp.trace import Trace
from dcp.trace.amounts import percent
from dcp.ui.tiles import Tile

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["gates_off_is", "key_numbers", "policies_verdict", "verdict"]


def verdict(pair: Pair) -> str:
    """The result in a sentence or two, in plain words."""
    a, b = pair.a, pair.b
    if not pair.same_tokens:
        last = pair.steps - 1
        if last < 1:
            return (
                "The two texts have no step in common but the first: nothing was dropped by then."
            )
        one, two = a.sparsity_at(last), b.sparsity_at(last)
        return (
            f"At step {last}, the last that both have, A has dropped {percent(one)} of what came "
            f"before and B {percent(two)}."
        )
    if a.tokens < 2:
        return "A single token: nothing came before it."
    change = _per_token(b.logprob - a.logprob)
    if b.meta.gates_off and not a.meta.gates_off:
        return _against_off(a, a.sparsity_at_end(), change, a.kl)
    if a.meta.gates_off and not b.meta.gates_off:
        return _against_off(b, b.sparsity_at_end(), -change, b.kl)
    held_a, held_b = float(a.held().mean()), float(b.held().mean())
    return (
        f"B holds {held_b:.1f} entries a layer where A holds {held_a:.1f} (mean over steps), and "
        f"{_likelier(-change)} under B than under A."
    )


def _against_off(trace: Trace, dropped: float, change: float, kl: object) -> str:
    """``change``: gates-off minus pruned log-prob per token."""
    said = (
        f"With {percent(dropped)} of the earlier tokens dropped at the end, "
        f"{_likelier(change)} than with its gates off"
    )
    if isinstance(kl, np.ndarray) and np.isfinite(kl).any():
        said += f"; the predictions move by {np.nanmean(kl):.3f} nats a token (KL)"
    return f"{said}."


def _likelier(change: float) -> str:
    """``change``: nats a token lost; perplexity times exp of it."""
    times = float(np.exp(change))
    if abs(times - 1) < 0.005:
        return "this text is as likely, within half a percent of perplexity,"
    more = "less" if times > 1 else "more"
    return f"this text is {more} likely, {times:.3f} times the perplexity,"


def _per_token(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else 0.0


def key_numbers(pair: Pair) -> list[Tile]:
    """Four tiles: label, value, note."""
    a, b, last = pair.a, pair.b, max(pair.steps - 1, 0)
    held = [float(trace.held()[:, last].mean()) for trace in (a, b)]
    found = [
        (
            f"Entries a layer at step {last}",
            f"{held[0]:.0f} | {held[1]:.0f}",
            "A | B, mean of layers",
        ),
        (
            f"Dropped at step {last}",
            " | ".join(percent(t.sparsity_at(last) if last else 0.0) for t in (a, b)),
            "A | B, of the tokens before it",
        ),
    ]
    if pair.same_tokens and a.tokens > 1:
        times = float(np.exp(_per_token(a.logprob - b.logprob)))
        found.append(("Perplexity of B over A", f"{times:.3f}×", "on this text"))
    else:
        bits = {n.name: n for n in pair.numbers()}["bits per byte of text"]
        shown = [f"{x:.2f}" if x is not None else "–" for x in (bits.a, bits.b)]
        found.append(("Bits per byte of text", " | ".join(shown), "A | B"))
    if pair.kl is not None:
        found.append(("KL of A from B", f"{_per_token(pair.kl):.3f}", "nats a token, KL(A ‖ B)"))
    elif a.kl is not None:
        note = "nats a token, KL(off ‖ A)"
        found.append(("KL of gates off from A", f"{_per_token(a.kl):.3f}", note))
    else:
        how = "not measured: the button measures it" if pair.same_tokens else "not measured"
        found.append(("KL", "–", how))
    return found


def policies_verdict(table: pd.DataFrame) -> str:
    """Who stays closest to the model that drops nothing, and by how much. table: `policy_table`."""
    first = table.iloc[0]
    others = table[(table.index > 0) & (table.policy != "none")].sort_values("kl")
    if others.empty:
        return "No other policy could be run on this text."
    best = others.iloc[0]
    who = "the learned gates move" if first["policy"] == "gates" else f"{first['title']} moves"
    theirs = f"{best['title']} by {best.kl:.3f}"
    worst = others.iloc[-1]
    tail = f", {worst['title']} by {worst.kl:.3f}" if len(others) > 1 else ""
    closest = (
        f"the closest of {len(others) + 1}"
        if first.kl <= best.kl
        else f"not the closest of {len(others) + 1}"
    )
    said = (
        f"At {first.held:.1f} entries a layer (mean over steps), {who} the predictions by "
        f"{first.kl:.3f} nats a token: {closest}; {theirs}{tail}."
    )
    off = others[~others.equal]
    if len(off):
        uneven = ", ".join(f"{row.title} {row.held:.1f}" for row in off.itertuples())
        said += f" Not within 1 % of those entries: {uneven}."
    return said


def gates_off_is(base: str | None) -> str:
    """What "gates off" means for this model: its untouched base, or something of its own."""
    if base:
        return (
            f"Gates off, this model is its base, {base}, as it was published: what the adapter "
            "adds counts only where its gates decide."
        )
    return (
        "Gates off is not the dense model: these weights were trained together with their gates, "
        "so it is a diagnostic. The dense twin, trained as long without gates, is in the figure "
        "“perplexity”."
    )
