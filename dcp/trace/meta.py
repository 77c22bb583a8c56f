"""What a trace says of its run: frozen, typed, checked, and one reader of the JSON in the file.

    meta = Meta.from_json({"format": 1, "text": "It rained.", "model": "dcp-mini", …})
    meta.memory.held, meta.sampling.temperature
    dataclasses.replace(meta, document="a:0")

Every field is checked on construction, because a file may say anything of itself. Keys that this
version does not know are kept in ``other`` and written back. Knows no arrays and no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeVar

from dcp.errors import TraceError
from dcp.trace.file import short
from dcp.trace.rules import RULES

__all__ = ["FORMAT", "Memory", "Meta", "Replayed", "SampledWith"]

FORMAT = 1
"""The version of the trace format that this code writes and reads."""

Other = Mapping[str, Any]
P = TypeVar("P", "Meta", "Memory", "SampledWith", "Replayed")


@dataclass(frozen=True)
class Memory:
    """Bytes of the cache, all layers, at the end of the run.

    live   keys and values of what a later token can still attend to
    held   kept for the cache, gate keys and tables included; ``peak`` of it
    dense  keys and values of all tokens, had none been dropped
    row    one token in one layer, its gate key included; None where the file does not say
    entry  one token's key and value in one layer
    """

    live: int
    held: int
    peak: int
    dense: int
    row: int | None = None
    entry: int | None = None
    other: Other = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of a trace file."""
        return _json_of(self)


@dataclass(frozen=True)
class SampledWith:
    """How tokens were drawn. temperature 0 is greedy; None: the file does not say."""

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    other: Other = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of a trace file."""
        return _json_of(self)


@dataclass(frozen=True)
class Replayed:
    """The run that the tokens were taken from, where they were read again.

    gates  "off" where nothing could be dropped
    """

    model: str
    weights_sha256: str
    gate_shift: float
    gates: Literal["on", "off"]
    other: Other = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of a trace file."""
        return _json_of(self)


@dataclass(frozen=True)
class Meta:
    """What a run says of itself. Raises TraceError in one line where a field cannot be.

    text           prompt and continuation as one string
    prompt_tokens  how many tokens were given; ``n_queries`` how many positions were queries
    gate_shift     everything added to the checkpoint's own β
    offsets        the unit of the trace's offsets
    truncated      which end of the text was cut off to make it fit
    machine        name of the processor or GPU that the seconds were measured on
    interrupted    whether the run was stopped before its end
    *_seconds, *_s, tokens_per_second   seconds, and tokens a second; None where nothing was timed
    replayed       where the tokens came from, of a run that read them again
    document       names the document that the text is a window of
    policy         the eviction policy that decided, None for the gates alone
    budget         entries that a layer could hold after each step, None without a limit
    vocabulary     rows kept of how many, their bytes and those saved, where not all were
    control        the rule that made the deaths, where no gate did, and its seed
    lost_attention_on_token_0  [L] share, of a run that looked at it
    exit_threshold the λ of the trace's ``exits``
    kv_dtype       how keys and values were kept, None where as the model makes them
    other          keys that this version does not know, as they were
    """

    text: str
    prompt_tokens: int
    n_queries: int
    model: str
    weights_sha256: str
    gate_shift: float
    seed: int
    sampling: SampledWith
    dtype: str
    device: str
    impl: str
    versions: Mapping[str, str]
    memory: Memory
    context: int | None = None
    threads: int | None = None
    machine: str | None = None
    offsets: str = "code points"
    truncated: Literal["left", "right"] | None = None
    interrupted: bool = False
    prompt_seconds: float | None = None
    time_to_first_token_s: float | None = None
    tokens_per_second: float | None = None
    replayed: Replayed | None = None
    document: str | None = None
    policy: str | None = None
    budget: int | None = None
    policy_settings: Mapping[str, Any] | None = None
    vocabulary: Mapping[str, Any] | None = None
    control: str | None = None
    control_seed: int | None = None
    lost_attention_on_token_0: tuple[float, ...] | None = None
    exit_threshold: float | None = None
    kv_dtype: str | None = None
    other: Other = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def gates_off(self) -> bool:
        """Whether the gates were off, so that the gate shift means nothing."""
        return self.replayed is not None and self.replayed.gates == "off"

    def to_json(self) -> dict[str, Any]:
        """The JSON object of a trace file: `from_json` of it is equal to this."""
        return {"format": FORMAT, **_json_of(self)}

    @classmethod
    def from_json(cls, value: Any) -> Meta:
        """Read the JSON object of a trace file of any age. Raises TraceError in one line."""
        if not isinstance(value, dict):
            raise TraceError(f"trace meta must be an object, not {type(value).__name__}")
        version = value.get("format")
        if type(version) is not int or version != FORMAT:
            raise TraceError(
                f"unknown trace format {short(version)}: this version reads format {FORMAT}; "
                "update dcp or record the trace again"
            )
        parts = {key: entry for key, entry in value.items() if key != "format"}
        if "sampling" in parts:
            parts["sampling"] = _read(SampledWith, parts["sampling"])
        if "memory" in parts:
            parts["memory"] = _read(Memory, parts["memory"])
        if parts.get("replayed") is not None:
            parts["replayed"] = _read(Replayed, parts["replayed"])
        shares = parts.get("lost_attention_on_token_0")
        if isinstance(shares, list):
            parts["lost_attention_on_token_0"] = tuple(shares)
        return _read(cls, parts)


_KEYS: Mapping[type, Mapping[str, str]] = {
    Meta: {},
    SampledWith: {},
    Replayed: {},
    Memory: {
        **{name: f"kv_bytes_{name}" for name in ("live", "held", "peak", "dense")},
        "row": "row_bytes",
        "entry": "kv_bytes_per_entry",
    },
}
"""JSON keys where they are not the names of the fields."""

_WHERE = {Meta: "", Memory: "memory ", SampledWith: "sampling ", Replayed: "replayed "}

# Written as null where there is nothing to say; all other fields are then left out.
_ALWAYS = ("truncated", "prompt_seconds", "time_to_first_token_s", "tokens_per_second")


def _check(part: Meta | Memory | SampledWith | Replayed) -> None:
    """Raise TraceError where a field breaks its rule."""
    where, keys = _WHERE[type(part)], _KEYS[type(part)]
    for name, rule in RULES[type(part).__name__].items():
        value = getattr(part, name)
        if not rule.holds(value):
            key = keys.get(name, name)
            raise TraceError(f"trace meta {where}{key!r} must be {rule.says}, not {short(value)}")


def _read(kind: type[P], value: Any) -> P:
    """A part from its JSON object. Null is the same as nothing where the field has a default."""
    if not isinstance(value, dict):
        raise TraceError(f"trace meta {_WHERE[kind]}must be an object, not {short(value)}")
    found, rest = {}, dict(value)
    for known in fields(kind):
        if known.name == "other":
            continue
        key = _KEYS[kind].get(known.name, known.name)
        if known.default is MISSING and key not in rest:
            raise TraceError(f"trace meta {_WHERE[kind]}lacks {key!r}")
        entry = rest.pop(key, None)
        if entry is not None or known.default is MISSING:
            found[known.name] = entry
    return kind(**found, other=rest)


def _json_of(part: Meta | Memory | SampledWith | Replayed) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for known in fields(part):
        value = getattr(part, known.name)
        if known.name == "other" or (value is None and known.name not in _ALWAYS):
            continue
        if isinstance(value, Memory | SampledWith | Replayed):
            value = value.to_json()
        key = _KEYS[type(part)].get(known.name, known.name)
        found[key] = list(value) if isinstance(value, tuple) else value
    return {**found, **part.other}
