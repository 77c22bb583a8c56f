"""The kernels on a GPU, in Triton; on CPU tensors where TRITON_INTERPRET=1 was set at the start.

Says the same as `dcp.kernels.reference` within the float budget. One operation a module; this one
gathers what `dcp.kernels.api.Kernels` hands out.
"""

from dcp.kernels.triton.deaths import death_times, gate_scores
from dcp.kernels.triton.decode import decode_attention
from dcp.kernels.triton.extend import extend_attention
from dcp.kernels.triton.pool import make_pool

__all__ = ["death_times", "decode_attention", "extend_attention", "gate_scores", "make_pool"]
