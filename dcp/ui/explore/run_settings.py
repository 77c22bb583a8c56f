"""The settings of a run, and one line that names them. Their values are in the session's state."""

from __future__ import annotations

import streamlit as st

from dcp.errors import DcpError
from dcp.model.registry import ModelInfo
from dcp.trace.amounts import kept_in
from dcp.ui.dial import positions
from dcp.ui.explore.chat import as_asked
from dcp.ui.explore.count_line import named, token_count
from dcp.ui.explore.kept import kept_choice, kept_field
from dcp.ui.explore.policy import policy_choice, policy_line, shifts_for_a_budget
from dcp.ui.home import KNOWN, how_to_get_known
from dcp.ui.rows import COSTS
from dcp.ui.settings import Settings

__all__ = ["run_settings", "summary"]


def run_settings(models: list[ModelInfo], limits: Settings) -> None:
    """Draw them; their values are in the session's state."""
    state = st.session_state
    model = st.selectbox(
        "Model",
        [model.name for model in models],
        key="model",
        accept_new_options=not limits.public,
        placeholder="no model is bundled here" if not models else "choose a model",
        persist_state="session",
        help="A pruned language model that comes with the app."
        if limits.public
        else "A bundled model; or type a checkpoint folder or a Hugging Face Hub id.",
    )
    # Not as defaults of the widgets: a link sets them too.
    state.setdefault("temperature", 0.8)
    state.setdefault("seed", 0)
    info = named(models, model) if model else None
    how = how_to_get_known(models)
    if how and not limits.public:
        st.caption(f"{KNOWN}, a model that people know, is not ready here: `{how}`")
    most = min(limits.new_tokens, info.context - 1 if info else limits.new_tokens)
    if state.get("new_tokens") is None or state["new_tokens"] > most:
        state["new_tokens"] = min(64, most)
    st.number_input(
        "New tokens",
        0,
        most,
        step=16,
        key="new_tokens",
        persist_state="session",
        help="How many tokens the model writes after yours. 0 only reads your text.",
    )
    policy_choice(model, info, limits)
    if state.get("policy") == "gates" and not shifts_for_a_budget():
        _dial(info, _length(info, limits))
    st.toggle(
        "Only tokens of the text",
        key="seen",
        persist_state="session",
        help="Leaves out the rows of embedding and head that your text does not use; the counter "
        f"of memory says how many bytes that is. {COSTS}",
    )
    kept_choice()
    st.slider(
        "Temperature",
        0.0,
        1.5,
        step=0.05,
        key="temperature",
        persist_state="session",
        help="How freely the next token is drawn; 0 always takes the most likely one.",
    )
    st.number_input(
        "Seed",
        0,
        2**31 - 1,
        key="seed",
        persist_state="session",
        help="The same seed draws the same tokens again.",
    )


def _length(info: ModelInfo | None, limits: Settings) -> int:
    """Tokens of the run that the form describes; 0 where they cannot be counted."""
    state = st.session_state
    text = str(state.get("latest", ""))[: limits.characters]
    if info is None or not text.strip():
        return 0
    try:
        return token_count(str(info.path), as_asked(text, info)) + int(state.get("new_tokens") or 0)
    except DcpError:
        return 0


def _dial(info: ModelInfo | None, tokens: int) -> None:
    """The sparsity dial: the measured points of the checkpoint, each by the share that it is
    expected to drop of a text of ``tokens`` tokens."""
    state = st.session_state
    at = {position.shift: position for position in positions(info, tokens)}
    if len(at) < 2:
        state["gate_shift"] = 0.0
        st.select_slider(
            "Forgetting",
            ["as trained"],
            key="dial_off",
            disabled=True,
            help="This model brings no calibration, so it runs as it was trained.",
        )
        return
    own = min(at, key=abs)
    if state.get("gate_shift") not in at:
        state["gate_shift"] = own

    def label(shift: float) -> str:
        more = 100 * (at[shift].cost - 1)
        return (
            f"about {100 * at[shift].expected:.0f} % dropped · perplexity "
            f"{more:+.{int(more < 1)}f} %"
        )

    length = at[own].length
    rival = "for a dense model trained equally long"
    if info is not None and info.base is not None:
        rival = f"for {info.base.name}, the model that the gates were added to"
    st.select_slider(
        f"Forgetting, of {length:,} tokens",
        list(at),
        format_func=label,
        key="gate_shift",
        persist_state="session",
        help=f"Share of earlier tokens that {_text_of(length, tokens)} has dropped at its end, and "
        f"how much harder the next token is to guess than {rival}; both measured on validation "
        "text, so yours may differ. A shorter text drops less. The "
        "dial shifts every gate by the same amount; the model comes with about "
        f"{100 * at[own].expected:.0f} %.",
    )


def _text_of(length: int, tokens: int) -> str:
    if length == tokens:
        return f"a text of this length ({tokens:,} tokens, the new ones included)"
    return f"a text of {length:,} tokens"


def summary() -> str:
    """The settings in one line of plain text, as Generate will take them."""
    state = st.session_state
    written = state.get("new_tokens", 0)
    parts = [
        str(state.get("model") or "no model"),
        policy_line(),
        kept_in(kept_field()),
        f"writes {written} tokens",
        f"seed {state['seed']}",
    ]
    return " · ".join(part for part in parts if part)
