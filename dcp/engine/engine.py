"""Token ids in, an iterator of `Step` out. Blind to text, files and screens.

    engine = Engine(load(folder))
    run = engine.run([[5, 9, 2], [7]], new_tokens=20, sampling=Sampling(temperature=0))
    for step in run:
        for part in step.rows:
            print(part.row, part.tokens, part.drops.position)
    death, margin = run.lives(0)

Prompts go in chunks with compaction between them, the rows of a batch together and without padding;
then one token a step. A step first reads (its queries score, drop and attend), then draws. The
token drawn last is never read: it has no life yet.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch

from dcp.arguments import real, whole
from dcp.deaths import ForcedDeaths
from dcp.engine.ahead import decode_ahead
from dcp.engine.request import Memory, Request, RowStep, Step, per_row
from dcp.engine.run import Run
from dcp.errors import RequestError
from dcp.kernels import api
from dcp.model.blocks import BlockLinear
from dcp.model.cached import CachedAttention
from dcp.model.config import Sampling
from dcp.model.evicting import EvictingAttention
from dcp.model.instructed import InstructedAttention, TwoCaches
from dcp.model.int8 import Int8Linear
from dcp.model.kv_rows import kv_dtype_of
from dcp.model.native import NativeCache, NativeModel, why_not
from dcp.model.paged import PagedAttention
from dcp.model.sequence_cache import SequenceCache
from dcp.model.transformer import Transformer
from dcp.model.weights import LoadedModel
from dcp.policies.citrus import Individual
from dcp.policies.ordered import Ordered
from dcp.policies.registry import policy_of
from dcp.policies.rule import Eviction, Setup, uniform_budget
from dcp.progress import Cancel

__all__ = ["Engine", "Memory", "RowStep", "Run", "Step"]

# Prompt tokens of a row that are read at once: a CPU's caches like few, a GPU's launches many.
_CHUNK, _CHUNK_ON_GPU = 128, 1024


class Engine:
    """A loaded model and the implementation it runs on."""

    def __init__(
        self, model: LoadedModel, impl: str = "auto", cache_bytes: int | None = None
    ) -> None:
        """``cache_bytes``: the most that keys, values and gate keys of a run may take on a GPU;
        without it they take what the batch needs. int8 weights run on the CPU.

        Raises DeviceError when ``impl`` cannot run here, RequestError for ``cache_bytes`` with an
        implementation that keeps its rows on the host. A GPU gets a copy of the weights.
        """
        self._asked = impl
        if impl == "auto":
            impl = _best_for(model.transformer)
        device = api.device_of(impl)
        self.kernels = api.kernels(impl, device)
        if device != "cpu":
            moved = copy.deepcopy(model.transformer).to(device)
            model = dataclasses.replace(model, transformer=moved)
        if cache_bytes is not None and self.kernels.pool is None:
            raise RequestError(f"cache_bytes is for impl triton, not {self.impl}; leave it out")
        self.model, self.device = model, torch.device(device)
        self.cache_bytes = cache_bytes
        model.transformer.fuse()
        self._native = NativeModel(model.transformer) if self.impl == "native" else None

    @property
    def impl(self) -> str:
        return self.kernels.name

    def run(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        new_tokens: int | Sequence[int],
        sampling: Sampling | None = None,
        gate_shift: float = 0.0,
        stop_ids: Sequence[int] = (),
        continuations: Sequence[Sequence[int]] | None = None,
        deaths: Sequence[ForcedDeaths | None] | None = None,
        prune: bool = True,
        chunk: int | None = None,
        score_prompt: bool = True,
        streams: Sequence[int] | None = None,
        eviction: Eviction | None = None,
        cancel: Cancel | None = None,
        kv_dtype: str | None = None,
    ) -> Run:
        """Start a run of B rows; iterate over what comes back.

        prompts       [B] lists of ids, each of at least one
        new_tokens    how many to add to each row, one number for all or one per row
        gate_shift    added to every layer's beta
        stop_ids      a row ends after it drew one of these
        continuations [B] tokens taken in place of drawn ones, as far as they go
        deaths        [B] orders that overrule gates and policy, or None for a row left to them
        prune         False turns the gates off: nothing dies but by order
        chunk         prompt tokens of a row that are read at once, compaction between; 128 by
                      default, 1024 on a GPU
        score_prompt  False leaves the log-probs of prompt tokens nan, which is faster
        streams       [B] names of the rows for sampling, 0, 1, … by default: under its name a row
                      draws the same tokens in every batch, ties within rounding aside
        eviction      a policy that decides in place of the gates (``gates``: after them); its
                      attention is computed on the host
        cancel        asked before each step is begun; True ends the run once the steps that are
                      under way by then (on a GPU, a few) have come back
        kv_dtype      how keys and values are kept, a name of `dcp.arguments.KV_DTYPES`; None:
                      as the model makes them. On the host alone; gate keys stay float32

        Raises RequestError in one line for anything that does not fit the model.
        """
        batch = len(prompts)
        told = [()] * batch if continuations is None else continuations
        request = Request(
            prompts=tuple(tuple(prompt) for prompt in prompts),
            new_tokens=per_row("new_tokens", new_tokens, batch),
            sampling=sampling or Sampling(),
            gate_shift=real("gate shift", gate_shift),
            stop_ids=frozenset(stop_ids),
            continuations=tuple(map(tuple, told)),
            deaths=(None,) * batch if deaths is None else tuple(deaths),
            prune=prune,
            chunk=self._chunk if chunk is None else whole("chunk", chunk),
            score_prompt=score_prompt,
            streams=tuple(range(batch)) if streams is None else tuple(streams),
            eviction=eviction,
            cancel=cancel,
            kv_dtype=kv_dtype_of(kv_dtype, self.model.dtype),
        )
        request.check(self.model.config)
        own = self.model.read_base is None or request.changed(self.model.gates)
        return (self if own else self._of_the_base)._start(request)

    def _start(self, request: Request) -> Run:
        if self.kernels.pool is None or request.eviction is not None:
            rows = self._host_cache(request)
            if isinstance(rows, InstructedAttention):
                # An instruction is read between two passes, where a chunk of the rule begins.
                request = dataclasses.replace(request, chunk=rows.chunk)
            decode = rows.decode if isinstance(rows, NativeCache) else None
            return Run(self.model, rows, request, self.device, decode=decode)
        cache = self._paged_cache(request)
        ahead = partial(decode_ahead, self.model.transformer, cache)
        return Run(self.model, cache, request, self.device, ahead)

    @cached_property
    def _of_the_base(self) -> Engine:
        return Engine(self.model.untouched, self._asked, self.cache_bytes)

    @property
    def _chunk(self) -> int:
        return _CHUNK if self.device.type == "cpu" else _CHUNK_ON_GPU

    def _host_cache(self, request: Request) -> SequenceCache:
        if request.eviction is not None:
            return self._evicting(request, request.eviction)
        options: dict[str, Any] = {
            "interaction": self._interaction(request),
            "gate_shift": request.gate_shift,
            "deaths": request.deaths,
        }
        given = (self.model.config, self.kernels, request.kv_dtype, request.lengths)
        if self._native is not None:
            return NativeCache(self._native, *given, **options)
        return CachedAttention(*given, **options)

    def _paged_cache(self, request: Request) -> PagedAttention:
        if request.kv_dtype != self.model.dtype:
            kept = str(self.model.dtype).removeprefix("torch.")
            raise RequestError(
                f"impl {self.impl} keeps keys and values as the model makes them, in {kept}: leave "
                "kv_dtype out or use impl cpu"
            )
        return PagedAttention(
            self.model.config, self.kernels, self.model.dtype, self.device, request.lengths,
            interaction=self._interaction(request), gate_shift=request.gate_shift,
            deaths=request.deaths, budget=self.cache_bytes,
        )  # fmt: skip

    def _interaction(self, request: Request) -> int:
        """The width of the gates, 0 where they are off."""
        gates = self.model.gates
        return gates.interaction if gates and request.prune else 0

    def _evicting(self, request: Request, eviction: Eviction) -> EvictingAttention:
        config, policy = self.model.config, policy_of(eviction.policy)
        if self.kernels.pool is not None or self._asked == "native":
            raise RequestError(
                f"policy {policy.name} is carried out row by row on the host, not by impl "
                f"{self.impl}; use impl cpu or reference"
            )
        gates = self.model.gates if "margin" in policy.needs and request.prune else None
        if "margin" in policy.needs and gates is None:
            raise RequestError(f"policy {policy.name} needs a model with gates; choose another")
        if policy.budgeted and eviction.budget is None:
            raise RequestError(f"policy {policy.name} needs a budget of entries a layer; give one")
        rules = [
            policy.start(
                Setup(
                    1, config.layers, length, len(prompt),
                    uniform_budget(eviction.budget or length, config.layers, length),
                    request.sampling.seed,
                ),
                eviction.settings,
            )
            for prompt, length in zip(request.prompts, request.lengths, strict=True)
        ]  # fmt: skip
        if any(orders is not None for orders in request.deaths):
            if policy.hears(eviction.settings):
                raise RequestError(f"policy {policy.name} with an instruction takes no orders")
            told = zip(rules, request.deaths, request.lengths, strict=True)
            rules = [r if orders is None else Ordered(r, orders.padded(n)) for r, orders, n in told]
        given = (config, self.kernels, request.kv_dtype, request.lengths)
        options: dict[str, Any] = {
            "interaction": gates.interaction if gates else 0,
            "gate_shift": request.gate_shift,
            "deaths": request.deaths,
            "policy": policy,
            "rules": rules,
        }
        if not policy.hears(eviction.settings):
            return EvictingAttention(*given, **options)
        if not eviction.instruction:
            raise RequestError(f"policy {policy.name} needs the token ids of its instruction")
        options |= {"transformer": self.model.transformer, "instruction": eviction.instruction}
        kind = TwoCaches if isinstance(rules[0], Individual) else InstructedAttention
        return kind(*given, **options)


def _best_for(transformer: Transformer) -> str:
    """The implementation that runs these weights best on this machine."""
    narrow = isinstance(transformer.unembed, Int8Linear | BlockLinear)
    device = "cpu" if narrow else api.device_of("auto")
    return "cpu" if device == "cpu" and why_not(transformer) else api.resolve("auto", device)
