"""The one data product: `Trace` and what is true of every trace. No torch, plotly, streamlit."""

from dcp.trace.meta import FORMAT, Memory, Meta, Replayed, SampledWith
from dcp.trace.trace import ALIVE, Trace

__all__ = ["ALIVE", "FORMAT", "Memory", "Meta", "Replayed", "SampledWith", "Trace"]
