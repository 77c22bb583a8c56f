"""What a browser brings to a server that does not know it: the text that was in its box.

A page outlives its server. When that is started again the browser sends what stands in its widgets,
but a new session does not ask for it before it fills them. Streamlit has no door for this.
"""

from __future__ import annotations

from typing import Any

from streamlit.runtime.scriptrunner import get_script_run_ctx

__all__ = ["brought"]


def brought(key: str) -> str | None:
    """The text that the browser sent for the widget called ``key``; None where it sent none."""
    context = get_script_run_ctx(suppress_warning=True)
    try:
        sent = context.session_state._state._new_widget_state.states  # type: ignore[union-attr]
    except AttributeError:
        # Another release of Streamlit: the box begins with the example, as for everyone.
        return None
    for name, state in dict(sent).items():
        value: Any = getattr(state, "value", None)
        # A widget's key is the end of its id.
        if name.endswith(f"-{key}") and hasattr(value, "WhichOneof"):
            text = value.string_value if value.WhichOneof("value") == "string_value" else None
            return text or None
    return None
