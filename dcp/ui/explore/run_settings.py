"""The settings of a run, and one line that names them. Their values are in the session's state."""

from __future__ import annotations

import streamlit as st

from dcp.model.registry import ModelInfo
from dcp.ui.explore.chat import chat_choice
from dcp.ui.explore.count_line import named
from dcp.ui.explore.earlier import expected_here
from dcp.ui.explore.policy import policy_choice, policy_line, shifts_for_a_budget
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
    chat_choice(info)
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
        _dial(info)
    st.toggle(
        "Only tokens of the text",
        key="seen",
        persist_state="session",
        help="Leaves out the rows of embedding and head that your text does not use; the counter "
        f"of memory says how many bytes that is. {COSTS}",
    )
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


def _dial(info: ModelInfo | None) -> None:
    """The sparsity dial: the measured points of the checkpoint, each by its expected sparsity."""
    state = st.session_state
    points = info.calibration if info else ()
    longest = max((point.context for point in points), default=0)
    expected = {p.delta: p.sparsity for p in points if p.context == longest}
    cost = {p.delta: p.perplexity_ratio for p in points if p.context == longest}
    if len(expected) < 2:
        state["gate_shift"] = 0.0
        st.select_slider(
            "Forgetting",
            ["as trained"],
            key="dial_off",
            disabled=True,
            help="This model brings no calibration, so it runs as it was trained.",
        )
        return
    order = sorted(expected, key=lambda delta: expected[delta])
    own = min(order, key=abs)
    if state.get("gate_shift") not in expected:
        state["gate_shift"] = own

    def label(delta: float) -> str:
        more = 100 * (cost[delta] - 1)
        return f"{100 * expected[delta]:.0f} % dropped · perplexity {more:+.{int(more < 1)}f} %"

    st.select_slider(
        "Forgetting",
        order,
        format_func=label,
        key="gate_shift",
        persist_state="session",
        help="Share of earlier tokens dropped, and how much harder the next token is to guess than "
        "for a dense model trained equally long: measured on validation text over "
        f"{longest:,} tokens. A shorter text drops less{expected_here(info)}. The dial shifts "
        f"every gate by the same amount; the model comes with {100 * expected[own]:.0f} %.",
    )


def summary() -> str:
    """The settings in one line of plain text, as Generate will take them."""
    state = st.session_state
    written = state.get("new_tokens", 0)
    parts = [
        str(state.get("model") or "no model"),
        policy_line(),
        f"writes {written} tokens",
        f"seed {state['seed']}",
    ]
    return " · ".join(part for part in parts if part)
