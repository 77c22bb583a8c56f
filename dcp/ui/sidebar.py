"""The sidebar of all pages: what is shown, what made it, how to cite it. Reads no weights.

No box of code stands open here: the script that colours code is 1.6 MB, and takes longer to start
than the view. A popover asks for it once it is opened.
"""

from __future__ import annotations

import streamlit as st

from dcp import __version__, cite
from dcp.stats.policies import policy_said
from dcp.trace import Meta, Trace
from dcp.trace.amounts import kept_in, percent
from dcp.ui.services import models
from dcp.ui.session import Session

__all__ = ["sidebar"]

PAPER_PAGE = "https://arxiv.org/abs/2305.15805"
_ORIGINS = {
    "sample": "A sample that comes with the app",
    "run": "Your run",
    "upload": "An opened trace",
    "nothing": "Nothing yet",
}


def sidebar(session: Session) -> None:
    """Draw it; once per page run."""
    with st.sidebar, st.container(key="about"):
        st.header("What is shown")
        shown = session.shown
        st.caption(
            _ORIGINS[shown.origin] + (", while another run is on" if session.work.job else "")
        )
        if shown.trace is not None:
            facts = _facts(shown.trace)
            width = max(map(len, facts)) + 1
            lines = [f"{n:<{width}}{' '.join(value.split())[:60]}" for n, value in facts.items()]
            with st.container(key="facts"):
                st.text("\n".join(lines))
        st.header("The method")
        st.markdown(f"[Dynamic Context Pruning, NeurIPS 2023]({PAPER_PAGE})")
        with st.popover("How to cite", key="cite-run"):
            st.code(cite.PAPER, language=None, wrap_lines=True)
            st.caption(f"This app: dcp {__version__}; its entry is in CITATION.cff.")


def _facts(trace: Trace) -> dict[str, str]:
    """What made the run. A file may say anything of itself, so all of it is shown as plain text."""
    meta = trace.meta
    return {
        "you wrote": f"{trace.prompt_tokens:,} tokens",
        "it wrote": f"{trace.tokens - trace.prompt_tokens:,} tokens",
        "dropped": f"{percent(trace.sparsity_at_end())} at the end",
        "layers": str(trace.layers),
        "model": meta.model,
        "weights": meta.weights_sha256[:8],
        **_of_model(meta.model),
        "device": meta.device,
        "kernels": meta.impl,
        "dtype": meta.dtype,
        **({"cache": kept_in(meta.kv_dtype)} if meta.kv_dtype else {}),
        **_who(meta),
        "seed": str(meta.seed),
    }


def _who(meta: Meta) -> dict[str, str]:
    """Who dropped: gates have a shift, rules have none."""
    gates = {"gate shift": f"{meta.gate_shift:g}"}
    said = policy_said(meta)
    if not said:
        return gates
    return {"who drops": said, **(gates if meta.policy == "gates" else {})}


def _of_model(name: str) -> dict[str, str]:
    """Parameters and context of a bundled model; nothing of others."""
    found = next((info for info in models() if info.name == name), None)
    if found is None:
        return {}
    return {
        "parameters": f"{found.parameters / 1e6:,.1f} M",
        "context": f"{found.context:,} tokens",
    }
