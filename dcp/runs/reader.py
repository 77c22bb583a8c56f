"""One model reading the tokens of one trace: scores, divergences, and where attention sat.

Knows nothing of what the deaths it is given mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dcp.engine.engine import Engine
from dcp.engine.sampling import log_probabilities
from dcp.kernels.gates import Gates
from dcp.model.attend import Attend
from dcp.model.kv_rows import kv_dtype_of
from dcp.model.masked import MaskedAttend
from dcp.model.registry import OpenModel
from dcp.model.rounded import RoundedAttend
from dcp.model.weights import LoadedModel
from dcp.policies.gates import by_shift
from dcp.progress import Progress, silent
from dcp.trace import Trace

__all__ = ["Reader", "Watch"]

Floats = npt.NDArray[np.float32]

# Tables of deaths at a time: few enough to be stopped soon, and masks of at most this many entries.
_ROWS_AT_ONCE = 6
_MASKED_AT_ONCE = 2**24
# Logits of this many entries at a time: 64 MB.
_LOGITS_AT_ONCE = 2**24
_QUERY_BLOCK = 256


class Reader:
    """One model reading one trace's tokens, as often as wanted; keys and values are rounded as the
    trace's run kept them. ``gates`` False: with the gates off, as a run of another rule is read
    anyway."""

    def __init__(self, model: OpenModel, trace: Trace, *, gates: bool = True) -> None:
        engine = Engine(_body(model.loaded, trace) if gates else model.loaded.dense)
        self.transformer, self.device = engine.model.transformer, engine.device
        self.ids = torch.from_numpy(trace.token_ids.astype(np.int64)).to(self.device)
        self.positions = torch.arange(len(self.ids), device=self.device)
        self._kv_dtype = kv_dtype_of(trace.meta.kv_dtype, engine.model.dtype)
        self._rounds = self._kv_dtype != engine.model.dtype

    def deaths(self, tables: Sequence[npt.NDArray[np.int32]]) -> Tensor:
        """[L, B, T] of B tables [L, T]."""
        return torch.from_numpy(np.stack(tables, axis=1)).to(self.device)

    @torch.inference_mode()
    def hidden(self, attend: MaskedAttend | Watch, rows: int = 1) -> Tensor:
        """[B, T - 1, D]: the last one predicts nothing of the trace."""
        ids, positions = self.ids.expand(rows, -1), self.positions.expand(rows, -1)
        kept = self.kept(attend)
        return self.transformer.hidden(ids, positions, kept, gated=False)[:, :-1]

    def kept(self, attend: Attend) -> Attend:
        """``attend`` over keys and values as the trace's run kept them."""
        return RoundedAttend(attend, self._kv_dtype) if self._rounds else attend

    def scores(
        self, tables: Sequence[npt.NDArray[np.int32]], progress: Progress = silent
    ) -> Floats:
        """Log-prob [N, T] of the tokens under each table of deaths."""
        batch = min(_ROWS_AT_ONCE, max(1, _MASKED_AT_ONCE // len(self.ids) ** 2))
        found = []
        for start in range(0, len(tables), batch):
            progress(start / len(tables), f"Reading again: {start} of {len(tables)}")
            part = tables[start : start + batch]
            attend = MaskedAttend(deaths=self.deaths(part))
            found.append(self.token_scores(self.hidden(attend, len(part))))
        return np.concatenate(found)

    @torch.inference_mode()
    def token_scores(self, hidden: Tensor) -> Floats:
        """hidden [B, T - 1, D] -> log-prob [B, T] f32 of the tokens, nan at 0."""
        rows, flat = len(hidden), hidden.flatten(0, 1)
        wanted = torch.split(self.ids[1:].repeat(rows), self._step)
        parts = zip(torch.split(flat, self._step), wanted, strict=True)
        found = [log_probabilities(self.transformer.head(h), ids).cpu() for h, ids in parts]
        scores = np.full((rows, len(self.ids)), np.nan, np.float32)
        if found:
            # A log-softmax in float32 may round a probability of one to a hair above zero.
            scores[:, 1:] = torch.cat(found).clamp(max=0).reshape(rows, -1).numpy()
        return scores

    @torch.inference_mode()
    def divergence(self, mine: Tensor, other: Reader, theirs: Tensor) -> Floats:
        """KL(mine || theirs) [T] f32 of hidden [1, T - 1, D] each, nan at 0."""
        kl = np.full(len(self.ids), np.nan, np.float32)
        for start in range(0, len(self.ids) - 1, self._step):
            stop = start + self._step
            p = self.transformer.head(mine[0, start:stop]).double().log_softmax(-1)
            q = other.transformer.head(theirs[0, start:stop]).double().log_softmax(-1)
            found = (p.exp() * (p - q)).sum(-1).clamp(min=0).float().cpu().numpy()
            kl[start + 1 : start + 1 + len(found)] = found
        return kl

    @property
    def _step(self) -> int:
        return max(1, _LOGITS_AT_ONCE // self.transformer.config.vocab)


def _body(model: LoadedModel, trace: Trace) -> LoadedModel:
    """What ran: the weights that the engine took for this rule and gate shift."""
    meta = trace.meta
    off = meta.replayed is not None and meta.replayed.gates == "off"
    if off or meta.policy not in (None, "gates"):
        return model.dense
    ruled = meta.policy is not None and not by_shift(meta.policy, meta.policy_settings or {})
    return model if ruled else model.at(meta.gate_shift)


class Watch:
    """Full causal attention of one sequence that notes what sat on dropped tokens.

    lost, sink [L, T] f32: per query, the share on tokens dead by then but token 0, and on token 0.
    received [L, T] f32: per key, what the queries after it gave it in sum.
    """

    def __init__(self, death: Tensor) -> None:
        self._death = death
        self.lost = np.zeros(tuple(death.shape), np.float32)
        self.sink = np.zeros(tuple(death.shape), np.float32)
        self.received = np.zeros(tuple(death.shape), np.float32)

    def __call__(
        self,
        layer: int,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        gates: Gates | None,
    ) -> Tensor:
        (q, k, v), length = (x[0].transpose(0, 1) for x in (q, k, v)), q.shape[1]
        group = len(q) // len(k)
        k, v = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
        death = self._death[layer].to(q.device)
        steps = torch.arange(length, device=q.device)
        out = torch.empty_like(q)
        for start in range(0, length, _QUERY_BLOCK):
            now = steps[start : start + _QUERY_BLOCK, None]
            scores = (q[:, start : start + _QUERY_BLOCK] @ k.transpose(1, 2)).float()
            scores = scores.mul_(1 / math.sqrt(q.shape[2])).masked_fill_(steps > now, -math.inf)
            share = scores.softmax(-1)
            out[:, start : start + _QUERY_BLOCK] = share.to(v.dtype) @ v
            mean = share.mean(0)
            gone = (death <= now) & (steps > 0)
            rows = slice(start, start + len(now))
            self.lost[layer, rows] = (mean * gone).sum(1).clamp(0, 1).cpu().numpy()
            self.sink[layer, rows] = mean[:, 0].cpu().numpy()
            self.received[layer] += (mean * (steps < now)).sum(0).cpu().numpy()
        return out.transpose(0, 1)[None]
