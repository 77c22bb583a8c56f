"""The texts of the Cost page: definitions, the line under a measurement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcp.stats.cost import SMOOTHING, Measured
from dcp.trace.amounts import kept_in

__all__ = ["BUDGETS", "COMPUTED", "MEASURED", "about", "crossing", "kernels"]

BUDGETS = tuple(2**power for power in range(26, 38))
"""Memory budgets to choose from: 64 MiB to 128 GiB."""

COMPUTED = """
- **live (computed)**: keys and values that some later token can still attend to. Entries held by \
all layers × bytes of one entry; exact, from the deaths alone.
- **dense (computed)**: keys and values of all tokens read, `2 · L · t · H_kv · d · bytes` at \
step t.
- **sequences in a budget (computed)**: `⌊(budget − weights) ÷ peak of one sequence⌋`. Activations \
and the program itself are not counted, for either side.
"""

MEASURED = f"""
- **allocated (measured)**: memory that the cache has mapped, counted as it maps and gives back: \
live rows, gate keys, tables, and room kept for growth.
- **step (measured)**: wall time of one token in the engine's own clock. Pruned, dense and *gates \
asked, nothing dropped* (their overhead) read the same tokens in one process, a step each in turn, \
the order rotating; a first reading warms up and is not counted. Curves are medians over rounds, \
smoothed over {SMOOTHING} steps; bands reach from the 20th to the 80th percentile.
- **crossover (measured)**: the first context from which on, to the end of this text, a pruned \
step is faster than a dense one.
- **ceiling (computed)**: weights and cache that a dense step reads, over the same for a pruned \
one; a step that is bound by memory cannot be faster than this.
"""


def crossing(found: Measured) -> str:
    """The crossover, in a few words."""
    at = found.crossover()
    return f"{at:,} tokens" if at is not None else f"none up to {int(found.context[-1]):,}"


def kernels(impl: str, device: str) -> str:
    """
    >>> kernels("cpu", "cpu"), kernels("native", "cpu"), kernels("triton", "cuda")
    ('CPU kernels', 'C++ kernels', 'triton kernels on cuda')
    """
    named = {"cpu": "CPU kernels", "native": "C++ kernels"}
    found = named.get(impl) if device == "cpu" else None
    return found or f"{impl} kernels on {device}"


def about(facts: Mapping[str, Any], rounds: int) -> str:
    """Where and when something was measured, in one line."""
    threads = "1 thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
    kept = kept_in(facts.get("kv_dtype"))
    return (
        f"{facts['hardware']}, {threads}, {kernels(facts['impl'], facts['device'])}, "
        f"{facts['dtype']}{f', {kept}' if kept else ''}; "
        f"{facts['model']} ({str(facts['weights_sha256'])[:8]}), gate shift "
        f"{facts['gate_shift']:g}; {rounds} round{'s' if rounds != 1 else ''}; {facts['date']}"
    )
