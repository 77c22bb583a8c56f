"""What a run on a text is asked to do: one frozen value, checked where it is made.

What needs no model is checked at once; what depends on it (does the text fit its context?) by
`TextRequest.check_length`, which a page can ask before any weights are loaded. The engine has a
request of its own, of token ids. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dcp.arguments import KV_DTYPES, flag, one_of, real, whole
from dcp.errors import RequestError
from dcp.model.config import Sampling
from dcp.policies.budget import budget_for_sparsity
from dcp.policies.gates import by_shift
from dcp.policies.registry import policy_of
from dcp.policies.rule import Eviction
from dcp.trace.meta import Meta

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["TextRequest", "Truncate", "as_dropped"]

Truncate = Literal["left", "right"]


@dataclass(frozen=True)
class TextRequest:
    """A text, a model, and how the run goes; `dcp.runs.recorder.record` says what each entry means.

    Numbers may be numpy's: they are kept as Python's. Raises RequestError in one line for the
    first entry that makes no sense.
    """

    text: str
    model: str | Path | OpenModel | None = None
    new_tokens: int = 64
    seed: int = 0
    temperature: float = 0.8
    top_k: int = 0
    top_p: float = 1.0
    gate_shift: float = 0.0
    sparsity: float | None = None
    impl: str = "auto"
    dtype: str = "float32"
    truncate: Truncate | None = None
    stop_at_eos: bool = False
    policy: str = "gates"
    budget: int | None = None
    policy_settings: Mapping[str, str | float | int] | None = None
    vocabulary: Literal["all", "seen"] = "all"
    kv_dtype: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise RequestError(f"the text must be a string, not {type(self.text).__name__}")
        if not self.text.strip():
            raise RequestError("there is no text: give at least one word", remedy="text")
        plain = {
            "new_tokens": whole("new_tokens", self.new_tokens),
            "seed": whole("seed", self.seed),
            "temperature": real("temperature", self.temperature),
            "top_k": whole("top_k", self.top_k),
            "top_p": real("top_p", self.top_p),
            "gate_shift": real("gate_shift", self.gate_shift),
            "sparsity": None if self.sparsity is None else real("sparsity", self.sparsity),
            "stop_at_eos": flag("stop_at_eos", self.stop_at_eos),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)
        if self.new_tokens < 0:
            raise RequestError(f"new_tokens must be 0 or more, not {self.new_tokens}")
        if self.truncate is not None:
            one_of("truncate", self.truncate, ("left", "right"))
        one_of("vocabulary", self.vocabulary, ("all", "seen"))
        if self.kv_dtype is not None:
            one_of("kv_dtype", self.kv_dtype, KV_DTYPES)
        for name in ("impl", "dtype"):
            if not isinstance(getattr(self, name), str):
                raise RequestError(f"{name} must be a name, not {getattr(self, name)!r}")
        if self.sparsity is not None and self.gate_shift:
            raise RequestError("give a gate shift or a sparsity, not both")
        self._check_policy()
        # Made once for its own checks.
        _ = self.sampling

    def _check_policy(self) -> None:
        policy = policy_of(self.policy)
        settings = policy.with_settings(self.policy_settings or {})
        object.__setattr__(self, "policy_settings", settings)
        if self.budget is not None:
            object.__setattr__(self, "budget", whole("budget", self.budget))
            if self.budget < 1:
                raise RequestError(f"budget must be at least 1 entry a layer, not {self.budget}")
            if not policy.budgeted:
                raise RequestError(f"policy {policy.name} keeps everything: leave the budget out")
        if policy.hears(settings) and self.sparsity is not None:
            raise RequestError(f"policy {policy.name} under an instruction needs a budget")
        if policy.name == "gates":
            if by_shift(policy.name, settings):
                self._check_shift()
            return
        if self.gate_shift:
            raise RequestError(f"policy {policy.name} has no gates to shift: give a budget")
        if policy.budgeted and (self.budget is None) == (self.sparsity is None):
            raise RequestError(
                f"policy {policy.name} needs a budget of entries a layer or a sparsity, one of them"
            )

    def _check_shift(self) -> None:
        if self.budget is None:
            raise RequestError("gates shifted for a budget need one: give the entries a layer")
        if self.gate_shift or self.sparsity is not None:
            raise RequestError(
                "a budget kept by shifting the gates is a shift of its own: give the budget alone"
            )

    @property
    def shifted(self) -> bool:
        """Whether the budget becomes a gate shift, and no rule takes part."""
        return by_shift(self.policy, self.policy_settings or {})

    @property
    def instruction(self) -> str:
        """The text that the policy hears, "" where it hears none."""
        settings = self.policy_settings or {}
        heard = policy_of(self.policy).hears(settings)
        return str(settings["instruction"]) if heard else ""

    def eviction(self, tokens: int, instruction: Sequence[int] = ()) -> Eviction | None:
        """What decides in place of the gates in a run of ``tokens``, hearing the token ids of its
        instruction; None for the gates alone. RequestError for a budget that it cannot keep."""
        if self.policy == "gates" and self.budget is None:
            return None
        budget, settings = self.budget, self.policy_settings or {}
        if self.policy != "gates" and self.sparsity is not None and policy_of(self.policy).budgeted:
            budget = budget_for_sparsity(self.policy, self.sparsity, tokens, settings)
        known = policy_of(self.policy)
        least = known.least(settings, tokens)
        if known.budgeted and budget is not None and budget < least:
            raise RequestError(
                f"{known.name} needs a budget of at least {least} entries a layer, not {budget}"
            )
        return Eviction(self.policy, budget, settings, tuple(instruction))

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn. Raises RequestError where that makes no sense."""
        return Sampling(self.temperature, self.top_k, self.top_p, self.seed)

    def room(self, context: int, instruction: int = 0) -> int:
        """Tokens of text that fit beside the new ones, and those of an instruction. Raises
        RequestError where none does."""
        room = context - self.new_tokens - instruction
        if room < 1 and instruction:
            raise RequestError(
                f"an instruction of {instruction} tokens and {self.new_tokens} new ones leave no "
                f"room for text in a context of {context} tokens: shorten it or ask for fewer"
            )
        if room < 1:
            raise RequestError(
                f"{self.new_tokens} new tokens leave no room for text in a context of {context} "
                "tokens: ask for fewer"
            )
        return room

    def check_length(self, tokens: int, context: int, instruction: int = 0) -> None:
        """Raise RequestError for a text of ``tokens`` that does not fit and may not be cut."""
        room = self.room(context, instruction)
        if tokens > room and self.truncate is None:
            raise RequestError(
                f"the text has {tokens:,} tokens; in a context of {context:,} only {room:,} fit "
                f"beside {self.new_tokens} new ones"
                + (f" and {instruction} of the instruction" if instruction else "")
                + ": shorten it, or cut an end off",
                remedy="truncate",
            )


def as_dropped(meta: Meta) -> dict[str, Any]:
    """What of a request says who drops, as in the run that ``meta`` is of."""
    if meta.policy is None:
        return {"gate_shift": meta.gate_shift}
    settings = meta.policy_settings or {}
    shift = 0.0 if by_shift(meta.policy, settings) else meta.gate_shift
    return {
        "policy": meta.policy,
        "budget": meta.budget,
        "policy_settings": settings,
        "gate_shift": shift if meta.policy == "gates" else 0.0,
    }
