"""What a run starts from: the model, fresh or from weights alone, and its optimisers.

Knows nothing of data, schedules or run folders.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dcp.errors import RequestError
from dcp.model.adapter import name_base
from dcp.model.checkpoint import Checkpoint
from dcp.model.config import ModelConfig
from dcp.model.gate_config import Base, GateConfig
from dcp.model.low_rank import add_low_rank, is_low_rank
from dcp.model.registry import describe
from dcp.model.transformer import Transformer
from dcp.model.weights import load
from dcp.train.sections import Data, Model, Optimiser
from dcp.train.settings import TrainSettings

__all__ = ["build", "check_base", "optimizers", "read_teacher", "split_parameters"]


def build(
    settings: TrainSettings, tokenizer: Path, start: Path | None, gates_of: Path | None = None
) -> tuple[Transformer, dict[str, Any], GateConfig | None]:
    """A fresh model, or one from weights alone; gates are added where the stage needs them.

    What ``tune`` freezes has no gradient, and is saved as the name of the base alone.
    """
    stage, seed, tune = settings.run.stage, settings.run.seed, settings.optimiser.tune
    wants = stage == "prune"
    if start is None:
        if stage != "pretrain":
            raise RequestError(
                f"the stage {stage} starts from a base model: give one", remedy="base"
            )
        length, context = settings.data.length, settings.model.context
        if length > context:
            raise RequestError(f"length {length} is longer than the context {context}")
        hf_config = _llama_config(settings.model, tokenizer)
        transformer = Transformer(ModelConfig.from_hf(hf_config))
        transformer.initialise(seed)
        return transformer, hf_config, None
    check_base(settings.data, start)
    opened = Checkpoint.read(start)
    loaded = load(opened, gates=wants and opened.has_gates, apart=tune != "all")
    hf_config = dict(opened.hf_config)
    transformer, gates = loaded.transformer, loaded.gates
    if wants and gates is None:
        limit = loaded.config.kv_heads * loaded.config.head_dim // 4
        gates = GateConfig(min(settings.gates.interaction, limit))
        bare = transformer
        transformer = Transformer(loaded.config, gates.interaction)
        transformer.load_state_dict(bare.state_dict(), strict=False)
        transformer.initialise_gates(seed, settings.gates.beta)
    if gates is not None:
        gates = replace(gates, base=None if tune == "all" else _frozen_base(opened))
    layers = transformer.config.layers
    if settings.gates.gamma_layers and len(settings.gates.gamma_layers) != layers:
        raise RequestError(f"gamma_layers needs {layers} numbers, one for each layer")
    if gates_of is not None:
        _take_gates(transformer, gates_of, wants)
    transformer.requires_grad_(True).train()
    if tune != "all":
        if tune == "low rank":
            if gates is None or gates.base is None:
                raise RequestError(
                    'tune = "low rank" keeps changes beside a base: start from a model without '
                    "gates or from an adapter, not from a whole pruned model"
                )
            add_low_rank(transformer, settings.optimiser.rank, seed)
        learns = {"norms": "norm", "low rank": ".low."}.get(tune)
        for name, p in transformer.named_parameters():
            p.requires_grad_(is_gate(name) or (learns is not None and learns in name))
    return transformer, hf_config, gates


def _frozen_base(opened: Checkpoint) -> Base | None:
    """What the run's checkpoints are to name instead of holding it, where it is not trained."""
    whole_and_pruned = opened.has_gates and opened.base is None
    return None if whole_and_pruned else name_base(opened)


def _take_gates(transformer: Transformer, folder: Path, wants: bool) -> None:
    """Gates learned on one body serve another that grew from the same base."""
    if not wants:
        raise RequestError("only the stage prune has gates to start with")
    theirs = load(folder).transformer.state_dict()
    own = {name: p for name, p in transformer.named_parameters() if is_gate(name)}
    if any(name not in theirs or theirs[name].shape != p.shape for name, p in own.items()):
        raise RequestError(f"{folder} has no gates that fit this base: its shape is another")
    with torch.no_grad():
        for name, p in own.items():
            p.copy_(theirs[name])


def check_base(data: Data, start: Path) -> None:
    """Refuse a base that the run could not use, before its weights or any text are read.

    Raises ModelError or RequestError.
    """
    context = describe(start, gates=False).context
    if data.length > context:
        raise RequestError(f"length {data.length} is longer than the base's context {context}")


def read_teacher(folder: Path, student: ModelConfig) -> Transformer:
    """A dense model whose distribution a student of the same vocabulary is to keep.

    Raises ModelError, or RequestError for another vocabulary or a shorter context.
    """
    found = load(folder, gates=False)
    if found.config.vocab != student.vocab:
        raise RequestError(f"{folder} has another vocabulary than the model that it is to teach")
    if found.config.context < student.context:
        raise RequestError(f"{folder} has a shorter context than the model that it is to teach")
    return found.transformer.requires_grad_(False).eval()


def _llama_config(s: Model, tokenizer: Path) -> dict[str, Any]:
    from tokenizers import Tokenizer

    from dcp.text.documents import END_OF_TEXT

    bpe = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    end = bpe.token_to_id(END_OF_TEXT)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": bpe.get_vocab_size(),
        "hidden_size": s.width,
        "intermediate_size": s.ffn,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads,
        "head_dim": s.width // s.heads,
        "max_position_embeddings": s.context,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "tie_word_embeddings": s.tied,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": end,
        "eos_token_id": end,
        "dtype": "bfloat16",
    }


def is_gate(name: str) -> bool:
    """Whether a parameter of that name belongs to the gates: projections or β."""
    return "_int." in name or name.endswith(".beta")


def split_parameters(transformer: Transformer) -> tuple[list[Tensor], list[Tensor]]:
    """Those of the gates, and the language model's: a jump in one must not clip the other."""
    gates: list[Tensor] = []
    language: list[Tensor] = []
    for name, p in transformer.named_parameters():
        (gates if is_gate(name) else language).append(p)
    return gates, language


def optimizers(s: Optimiser, transformer: Transformer) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices unless its rate is 0, AdamW for all else.

    A group's ``scale`` is the unit of its rate, fixed when a run starts.
    """
    matrices, betas, rest = [], [], []
    plain: list[Tensor] = []
    low_b: list[Tensor] = []
    gates: list[dict[str, Any]] = []
    for name, p in transformer.named_parameters():
        if not p.requires_grad:
            continue
        if name.endswith(".beta"):
            betas.append(p)
        elif "_int." in name:
            # Where the input is small the weights are large, and so must their steps be.
            scale = transformer.blocks[int(name.split(".")[1])].gate_scale()  # type: ignore[operator]
            gates.append(
                {"params": [p], "lr": s.gate_lr * scale, "scale": scale, "weight_decay": 0.0}
            )
        elif is_low_rank(name):
            (low_b if name.endswith(".b") else plain).append(p)
        elif name.startswith("blocks.") and p.ndim == 2 and s.muon_lr:
            matrices.append(p)
        elif p.ndim == 2:
            rest.append(p)
        else:
            plain.append(p)
    groups = [
        {"params": rest, "lr": s.lr, "weight_decay": s.weight_decay},
        {"params": plain, "lr": s.lr, "weight_decay": 0.0},
        # B starts at nothing and is to be found first (Hayou et al., arXiv 2402.12354).
        {"params": low_b, "lr": 4 * s.lr, "weight_decay": 0.0},
        *gates,
        # One number against r · D: what turns the projections slowly would not move β at all.
        {"params": betas, "lr": 10 * s.gate_lr, "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.95), eps=1e-10)
    if not matrices:
        return [adamw]
    muon = torch.optim.Muon(
        matrices,
        lr=s.muon_lr,
        weight_decay=s.weight_decay,
        momentum=0.95,
        adjust_lr_fn="original",
    )
    return [muon, adamw]
