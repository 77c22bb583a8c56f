"""The sidebar of all pages: what is shown, what made it, how to cite it. Reads no weights."""

from __future__ import annotations

import streamlit as st

from dcp import __version__
from dcp.errors import DcpError
from dcp.model.registry import list_models
from dcp.trace import Trace
from dcp.ui.session import Session

__all__ = ["sidebar"]

PAPER = "https://arxiv.org/abs/2305.15805"
_CITE = """@inproceedings{anagnostidis2023dynamic,
  title     = {Dynamic Context Pruning for Efficient and
               Interpretable Autoregressive Transformers},
  author    = {Anagnostidis, Sotiris and Pavllo, Dario and
               Biggio, Luca and Noci, Lorenzo and
               Lucchi, Aurelien and Hofmann, Thomas},
  booktitle = {Advances in Neural Information
               Processing Systems},
  year      = {2023}
}"""
_ORIGINS = {
    "sample": "A sample that comes with the app",
    "run": "Your run",
    "upload": "An opened trace",
    "nothing": "Nothing yet",
}


def sidebar(session: Session) -> None:
    """Draw it; once per page run."""
    with st.sidebar, st.container(key="about"):
        st.subheader("What is shown")
        st.caption(_ORIGINS[session.origin] + (", while another run is on" if session.job else ""))
        if session.trace is not None:
            _facts(session.trace)
        st.subheader("The method")
        st.markdown(f"[Dynamic Context Pruning, NeurIPS 2023]({PAPER})")
        with st.expander("How to cite"):
            st.code(_CITE, language=None, wrap_lines=True)
            st.caption(f"This app: dcp {__version__}; its entry is in CITATION.cff.")


def _facts(trace: Trace) -> None:
    """What made the run. A file may say anything of itself, so all of it is shown as plain text."""
    meta = trace.meta
    facts = {
        "you wrote": f"{trace.prompt_tokens:,} tokens",
        "it wrote": f"{trace.tokens - trace.prompt_tokens:,} tokens",
        "dropped": f"{100 * trace.sparsity_at_end():.0f} %",
        "layers": str(trace.layers),
        "model": str(meta["model"]),
        "weights": str(meta["weights_sha256"])[:8],
        **_of_model(str(meta["model"])),
        "device": str(meta["device"]),
        "kernels": str(meta["impl"]),
        "dtype": str(meta["dtype"]),
        "gate shift": f"{meta['gate_shift']:g}",
        "seed": str(meta["seed"]),
    }
    width = max(map(len, facts)) + 1
    lines = [f"{name:<{width}}{' '.join(value.split())[:60]}" for name, value in facts.items()]
    st.code("\n".join(lines), language=None, wrap_lines=True)


def _of_model(name: str) -> dict[str, str]:
    """Parameters and context of a bundled model; nothing of others."""
    try:
        found = next((info for info in list_models() if info.name == name), None)
    except DcpError:
        return {}
    if found is None:
        return {}
    return {
        "parameters": f"{found.parameters / 1e6:,.1f} M",
        "context": f"{found.context:,} tokens",
    }
