"""The one data product: `Trace` and what is true of every trace. No torch, plotly, streamlit."""

from dcp.trace.trace import ALIVE, FORMAT, Trace

__all__ = ["ALIVE", "FORMAT", "Trace"]
