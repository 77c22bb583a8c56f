"""The tensors of a checkpoint folder as a model that is ready to run.

Loading looks before it leaps: whatever this version does not do, or what is damaged, is named in
one line. safetensors only, no pickle. Knows nothing of running a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from dcp.errors import ModelError
from dcp.kernels.native.pack import Bits
from dcp.model.blocks import narrow
from dcp.model.checkpoint import DELTA, GATES, Checkpoint
from dcp.model.config import ModelConfig
from dcp.model.files import first_line, regular
from dcp.model.gate_config import GateConfig
from dcp.model.low_rank import is_low_rank, merge
from dcp.model.names import from_hf_names, gate_names, resolve_head, unknown_names
from dcp.model.transformer import Transformer

__all__ = ["LoadedModel", "load", "tensors_of"]

_STORED = (torch.float32, torch.bfloat16, torch.float16)
_LOADED = (torch.float32, torch.bfloat16, torch.int8, torch.int4)  # type: ignore[attr-defined]
_BITS: dict[torch.dtype, Bits] = {torch.int8: 8, torch.int4: 4}  # type: ignore[attr-defined]


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to run. ``gates`` is None for a base model without them.

    dtype is that of activations and cache: float32 for int8 and int4 weights. An adapter that
    changes weights of its base too has ``read_base``, which reads these gates with the base's own
    weights, and ``base_sha256``, the hash of the base alone.
    """

    transformer: Transformer
    config: ModelConfig
    gates: GateConfig | None
    name: str
    path: Path
    weights_sha256: str
    dtype: torch.dtype
    read_base: Callable[[], LoadedModel] | None = None
    base_sha256: str = ""

    def at(self, gate_shift: float | None) -> LoadedModel:
        """What runs where the gates decide at this shift; None: where they decide nothing."""
        if gate_shift is None:
            return self.dense
        changed = self.gates is None or self.gates.changed_at(gate_shift)
        return self if changed else self.untouched

    @cached_property
    def dense(self) -> LoadedModel:
        """What runs where the gates decide nothing: this model, or the base as it was before
        weights of it were trained along with the gates."""
        if self.read_base is None:
            return self
        return replace(self.untouched, gates=None, weights_sha256=self.base_sha256)

    @cached_property
    def untouched(self) -> LoadedModel:
        """These gates on the base's own weights. Read when it is first asked for, to where this
        model is; weights that are equal are held once."""
        if self.read_base is None:
            return self
        base = self.read_base()
        with torch.inference_mode(False):
            base.transformer.to(next(self.transformer.parameters()).device)
        ours = dict(_numbers(self.transformer))
        for name, weight in _numbers(base.transformer):
            known = ours.get(name)
            if known is not None and torch.equal(known, weight):
                weight.data = known.data
        return base


def _numbers(transformer: Transformer) -> list[tuple[str, Tensor]]:
    """Parameters, and weights that lie in blocks."""
    return [*transformer.named_parameters(), *transformer.named_buffers()]


@torch.inference_mode(False)
def load(
    folder: str | Path | Checkpoint,
    dtype: torch.dtype = torch.float32,
    *,
    gates: bool = True,
    apart: bool = False,
    changes: bool = True,
) -> LoadedModel:
    """Load a checkpoint folder for inference on the CPU.

    dtype float32 (also of weights stored in 16 bits), bfloat16, or int8 or int4: weights of the
    linear layers in blocks of 32 (`dcp.kernels.native.pack`), the rest in float32. Without the
    native kernels int8 weights have one scale a row, and int4 is refused (DeviceError).
    ``gates=False`` loads the base model alone. Gates are float32 always. ``apart`` leaves an
    adapter's low-rank changes beside the matrices, to be trained on; ``changes=False`` leaves out
    all that an adapter changes of its base's weights, and the hash says so. Raises ModelError in
    one line for anything missing, unsupported or damaged. Where the caller is in
    ``torch.inference_mode`` the weights are still ordinary tensors.
    """
    if dtype not in _LOADED:
        raise ModelError(f"dtype {dtype} is not supported; use float32, bfloat16, int8 or int4")
    found = folder if isinstance(folder, Checkpoint) else Checkpoint.read(folder)
    config, gate_config = found.config, found.gates if gates else None
    found.check_tokenizer()
    wide = torch.float32 if dtype in _BITS else dtype
    adapts = gates and found.base is not None
    deltas, low = _changes(found.folder / GATES) if adapts and changes else ({}, {})
    with tensors_of(found) as (read, names):
        config, read, names = resolve_head(config, read, names)
        if strange := unknown_names(names, config):
            raise ModelError(
                f"the checkpoint has tensor {strange[0]!r}, which {config.architecture} as we "
                "run it does not use"
            )
        if strange := unknown_names(deltas, config):
            raise ModelError(f"{GATES} has a delta for {strange[0]!r}, which the base has not")

        def tensor(name: str) -> Tensor:
            whole = _sound(name, read(name))
            if (delta := deltas.get(name)) is not None:
                if delta.shape != whole.shape:
                    raise ModelError(f"{GATES}: the delta of {name!r} has another shape")
                whole = whole.float() + delta
            return whole.to(wide)

        state = from_hf_names(tensor, names, config)
    if gate_config:
        state |= _gates(found.folder / GATES, config, gate_config)
    if config.tied:
        state["unembed.weight"] = state["embed.weight"]
    with torch.device("meta"):
        transformer = Transformer(config, gate_config.interaction if gate_config else 0)
    transformer.load_state_dict(state, assign=True)
    if config.tied:
        transformer.unembed.weight = transformer.embed.weight
    transformer.eval().requires_grad_(False)
    # Inside weights of 4 bits a change would be rounded away.
    merge(transformer, low, apart=apart or dtype == torch.int4)  # type: ignore[attr-defined]
    if dtype in _BITS:
        narrow(transformer, _BITS[dtype])
    digest = found.sha256(gates=gates)
    if adapts and not changes:
        digest = sha256(f"{digest} untouched".encode()).hexdigest()
    made = LoadedModel(
        transformer, config, gate_config, found.name, found.folder.resolve(), digest, wide
    )
    if not (deltas or low):
        return made
    # What the base is known by was compared with its files when it was found.
    assert gate_config is not None
    assert gate_config.base is not None
    base = partial(load, found, dtype, changes=False)
    return replace(made, read_base=base, base_sha256=gate_config.base.sha256)


def _gates(path: Path, config: ModelConfig, gates: GateConfig) -> dict[str, Tensor]:
    out = {}
    with _tensors([path]) as (read, names):
        for ours, theirs in gate_names(config.layers):
            if theirs not in names:
                raise ModelError(
                    f"{path.name} lacks tensor {theirs!r}: it is damaged or of another model"
                )
            found = _sound(theirs, read(theirs)).float()
            wanted = [1] if theirs.endswith("beta") else [gates.interaction, config.width]
            if list(found.shape) != wanted:
                raise ModelError(
                    f"{path.name}: tensor {theirs!r} has shape {list(found.shape)}, "
                    f"dcp_config.json says {wanted}"
                )
            out[ours] = found
    return out


def _changes(path: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What an adapter adds to its base: differences by the base's names, and low-rank changes."""
    with _tensors([path]) as (read, names):
        found = {name: _sound(name, read(name)).float() for name in sorted(names)}
    deltas = {n.removeprefix(DELTA): t for n, t in found.items() if n.startswith(DELTA)}
    return deltas, {n: t for n, t in found.items() if is_low_rank(n)}


def _sound(name: str, tensor: Tensor) -> Tensor:
    """The tensor. Raises ModelError for a wrong dtype, NaN or infinity."""
    if tensor.dtype not in _STORED:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ModelError(f"tensor {name!r} is {kind}; weights must be float32, bfloat16 or float16")
    # The sum of what holds NaN or infinity is none either, and far cheaper than a look at each.
    if not tensor.sum(dtype=torch.float32).isfinite() and not tensor.isfinite().all():
        raise ModelError(f"tensor {name!r} holds NaN or infinity: the checkpoint is damaged")
    return tensor


@contextmanager
def tensors_of(found: Checkpoint) -> Iterator[tuple[Callable[[str], Tensor], set[str]]]:
    """Read the base model's tensors by the names of ``transformers``."""
    file = found.gguf
    if file is not None:
        yield lambda name: torch.from_numpy(file.tensor(name)), set(file.entries)
        return
    with _tensors(found.weights) as opened:
        yield opened


@contextmanager
def _tensors(files: Sequence[Path]) -> Iterator[tuple[Callable[[str], Tensor], set[str]]]:
    """Read copies of tensors by name from open safetensors files, one at a time."""
    with ExitStack() as stack:
        home: dict[str, Any] = {}
        for path in files:
            try:
                file = stack.enter_context(safe_open(regular(path), framework="pt"))
                home.update(dict.fromkeys(file.keys(), file))
            except ModelError:
                raise
            except Exception as wrong:
                raise ModelError(
                    f"{path} is not a readable safetensors file: {first_line(wrong)}"
                ) from None
        yield lambda name: home[name].get_tensor(name).clone(), set(home)
