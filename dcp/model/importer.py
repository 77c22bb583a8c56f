"""Read a checkpoint of the paper's public code and write it as one of ours.

The format (github.com/sanagno/adaptively_sparse_attention): a ``torch.save``d state dict, GPT-2
names with every linear layer as [out, in], gates in ``transformer.h.{l}.attn.q_int.weight [r, D]``,
``.k_int.weight [r, D]``, ``.int_bias [1]``, and masks as buffers (``.attn.bias``, ``.bias_int``).
Beside it lies the run's ``config.json``: the heads and ``propagate_in_depth`` are nowhere else.

Its gate is ours, term for term: z = <q_int, k_int> / sqrt(r) + int_bias from the layer's normalised
input, keep iff z > 0 (``sparsity_alpha = "inf"``), no token drops itself, a drop is for good. So
β = int_bias, nothing is scaled and no sign turns; LayerNorm ε = 1e-5, tanh GELU and tied embeddings
are GPT-2's. With ``propagate_in_depth`` a layer inherits the drops of the layers below, which its
own decoder never honours: refused.

Knows nothing of running a model.
"""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcp.errors import ModelError, RequestError
from dcp.model.config import ModelConfig
from dcp.model.gate_config import GateConfig
from dcp.model.names import from_hf_names, gate_names, unknown_names
from dcp.model.saving import save
from dcp.model.transformer import Transformer
from dcp.model.weights import load

__all__ = ["import_checkpoint"]

_HEADS = {"gpt2": 12, "gpt2-medium": 16, "gpt2-large": 20, "gpt2-xl": 25}
_LINEAR = re.compile(r"\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight$")
_GATE = re.compile(r"transformer\.h\.(\d+)\.attn\.(q_int\.weight|k_int\.weight|int_bias)$")
_MASK = re.compile(r"transformer\.h\.\d+\.attn\.(bias|bias_int)$")
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("vocab.json", "merges.txt"),
)


def import_checkpoint(
    checkpoint: Path, tokenizer: Path, out: Path, *, heads: int | None = None
) -> Path:
    """Write ``checkpoint`` (.pt) and the tokenizer files of a folder as a checkpoint folder.

    heads is asked for when no ``config.json`` of the run lies beside the file; giving it says that
    the run had the default ``propagate_in_depth=false``. Weights stay float32. Raises ModelError
    or RequestError in one line; then nothing is left at ``out``.
    """
    if out.exists():
        raise RequestError(f"{out} is already there; choose another folder")
    if not any((tokenizer / name).exists() for name in ("tokenizer.json", "vocab.json")):
        raise ModelError(f"{tokenizer} has no tokenizer.json")
    state = _read(checkpoint)
    hf_config = _config(state, _heads(checkpoint.parent / "config.json", heads))
    config = ModelConfig.from_hf(hf_config)
    gates = _gates(state, config)
    base = {k: v for k, v in state.items() if not _GATE.match(k) and not _MASK.match(k)}
    if strange := unknown_names(base.keys(), config):
        raise ModelError(f"{checkpoint.name} has tensor {strange[0]!r}, which the format has not")
    _check_tied(base)
    # GPT-2 in transformers keeps these four as [in, out].
    turned = {k: v.t() if _LINEAR.search(k) else v for k, v in base.items()}
    ours = from_hf_names(turned.__getitem__, turned.keys(), config) | gates
    ours["unembed.weight"] = ours["embed.weight"]
    interaction = len(gates["blocks.0.q_int.weight"])
    with torch.device("meta"):
        transformer = Transformer(config, interaction)
    transformer.load_state_dict(ours, assign=True)
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        save(fresh, transformer, hf_config, GateConfig(interaction), torch.float32)
        for name in _TOKENIZER_FILES:
            if (tokenizer / name).exists():
                shutil.copyfile(tokenizer / name, fresh / name)
        load(fresh)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return out


def _read(checkpoint: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelError(f"{checkpoint} is not there") from None
    except pickle.UnpicklingError:
        raise ModelError(
            f"{checkpoint} holds more than tensors, which could run code, or is damaged; give the "
            "state dict alone, as torch.save(model.state_dict(), file) writes it"
        ) from None
    # torch raises RuntimeError, EOFError, KeyError, struct.error and more for a broken file.
    except Exception as wrong:
        reason = (str(wrong).strip() or type(wrong).__name__).splitlines()[0]
        raise ModelError(f"{checkpoint} cannot be read: {reason[:160]}") from None
    if not isinstance(found, dict) or not found:
        raise ModelError(f"{checkpoint} holds no state dict")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ModelError(f"{checkpoint} is no state dict: {str(name)[:60]!r} is no tensor")
        if _MASK.match(name):
            continue
        if tensor.dtype not in _FLOATS or tensor.layout != torch.strided or tensor.is_quantized:
            raise ModelError(f"tensor {name[:80]!r} is {tensor.dtype}, not a plain float tensor")
        if tensor.nbytes > tensor.untyped_storage().nbytes():
            raise ModelError(f"tensor {name[:80]!r} is larger than what the file holds of it")
        if not bool(torch.isfinite(tensor).all()):
            raise ModelError(f"tensor {name[:80]!r} holds NaN or infinity: the file is damaged")
    return {name: tensor.float() for name, tensor in found.items() if not _MASK.match(name)}


def _heads(settings: Path, given: int | None) -> int:
    """How many attention heads the run had, from its ``config.json``."""
    if not settings.exists():
        if given is None:
            raise ModelError(
                f"{settings} is missing: put the run's config.json beside the checkpoint, or give "
                "its number of heads if it was trained without propagate_in_depth",
                remedy="heads",
            )
        return given
    try:
        found = json.loads(settings.read_text(encoding="utf-8"))
        depth, base = found.get("propagate_in_depth"), found.get("pretrained")
        sparse = found.get("sparse_attention", True)
    except (OSError, ValueError, AttributeError, RecursionError) as wrong:
        raise ModelError(f"{settings} cannot be read: {str(wrong)[:160]}") from None
    if depth not in (False, None):
        raise ModelError(
            "the checkpoint was trained with propagate_in_depth=True, which its own decoder never "
            "honours; it is not supported"
        )
    if sparse is not True:
        raise ModelError(f"{settings} says sparse_attention={sparse!r}: there are no gates in it")
    if given is not None:
        return given
    if base is not None and base not in _HEADS:
        raise ModelError(
            f"{settings} names base {str(base)[:60]!r}: give its number of heads", remedy="heads"
        )
    return _HEADS[base or "gpt2"]


def _config(state: Mapping[str, Tensor], heads: int) -> dict[str, Any]:
    """The ``transformers`` config of what the tensors' shapes say."""
    shapes = {}
    for name in ("wte", "wpe"):
        key = f"transformer.{name}.weight"
        if key not in state or state[key].ndim != 2:
            raise ModelError(f"the checkpoint lacks a matrix {key!r}")
        shapes[name] = state[key].shape
    vocab, width = shapes["wte"]
    layers = 1 + max(
        (
            int(found[1])
            for name in state
            if (found := re.match(r"transformer\.h\.(\d{1,4})\.", name))
        ),
        default=-1,
    )
    if heads < 1 or width % heads:
        raise ModelError(
            f"a width of {width} does not divide into {heads} heads: give their number",
            remedy="heads",
        )
    inner = state.get("transformer.h.0.mlp.c_fc.weight")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": vocab,
        "n_positions": shapes["wpe"][0],
        "n_embd": width,
        "n_layer": layers,
        "n_head": heads,
        "n_inner": None if inner is None else len(inner),
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
        "bos_token_id": vocab - 1 if vocab == 50257 else None,
        "eos_token_id": vocab - 1 if vocab == 50257 else None,
        "dtype": "float32",
    }


def _gates(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    first = state.get("transformer.h.0.attn.q_int.weight")
    if first is None or first.ndim != 2:
        raise ModelError("the checkpoint has no gates (transformer.h.0.attn.q_int.weight)")
    out = {}
    for ours, _ in gate_names(config.layers):
        _, layer, kind = ours.split(".", 2)
        theirs = f"transformer.h.{layer}.attn.{'int_bias' if kind == 'beta' else kind}"
        if theirs not in state:
            raise ModelError(f"the checkpoint lacks tensor {theirs!r}")
        wanted = (1,) if kind == "beta" else (len(first), config.width)
        if tuple(state[theirs].shape) != wanted:
            raise ModelError(
                f"tensor {theirs!r} has shape {list(state[theirs].shape)}, not {list(wanted)}"
            )
        out[ours] = state[theirs]
    return out


def _check_tied(base: Mapping[str, Tensor]) -> None:
    head = base.get("lm_head.weight")
    if head is not None and not torch.equal(head, base["transformer.wte.weight"]):
        raise ModelError("lm_head.weight differs from transformer.wte.weight: the format ties them")
