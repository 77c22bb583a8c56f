"""What a file made of a run is called: the model, the share dropped, the text, the step."""

from __future__ import annotations

from dcp.trace.trace import Trace

__all__ = ["slug", "stem"]


def stem(trace: Trace, *, text: str = "", step: int | None = None) -> str:
    """Parts of a name without an ending; ``text`` in place of the first words of the trace's own.

    >>> from dcp.resources import asset
    >>> stem(Trace.load(asset("traces/sample.safetensors")), step=195)
    'dcp-mini-73pc-the-lighthouse-at-step195'
    """
    parts = [trace.meta.model, f"{100 * trace.sparsity_at_end():.0f}pc"]
    parts.append(text or " ".join(trace.text.split()[:3]))
    named = slug("-".join(parts))[:70].rstrip("-")
    return named if step is None else f"{named}-step{step}"


def slug(name: str) -> str:
    """A file's name from any text.

    >>> slug("dcp-mini-57pc-The river rose,-step9-text")
    'dcp-mini-57pc-the-river-rose-step9-text'
    """
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in name.lower())
    return "-".join(part for part in plain.split("-") if part)[:100]
