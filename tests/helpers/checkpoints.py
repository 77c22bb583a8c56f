"""Tiny random checkpoints of every architecture, saved by `transformers`, with random gates."""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from dcp.model.gate_config import GateConfig

LAYERS, WIDTH, HEADS, HEAD_DIM, CONTEXT, VOCAB = 3, 32, 4, 8, 256, 259
KV_HEADS = {"gpt2": 4, "llama": 2, "mistral": 1, "qwen2": 2, "qwen3": 2}


def make(folder: Path, architecture: str, *, drop: float = 0.5, seed: int = 0, **changes) -> Path:
    """Save a checkpoint whose gates drop the share ``drop`` of 63 random tokens.

    ``changes`` go to the `transformers` config. The tokenizer knows bytes alone.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = base(architecture, changes)
        for name, p in model.named_parameters():
            spread = 0.1 if "norm" in name or "ln_" in name or name.endswith("bias") else 0.15
            centre = 1.0 if p.ndim == 1 and name.endswith("weight") else 0.0
            torch.nn.init.normal_(p, centre, spread)
        if model.config.tie_word_embeddings:
            model.tie_weights()
        model.save_pretrained(folder)
        config = model.config
        r = KV_HEADS[architecture] * HEAD_DIM // 4
        layers = int(config.num_hidden_layers)
        gates = {
            f"layers.{layer}.{name}.weight": torch.randn(r, WIDTH) * WIDTH**-0.5
            for layer in range(layers)
            for name in ("q_int", "k_int")
        }
        gates |= {f"layers.{layer}.beta": torch.zeros(1) for layer in range(layers)}
    write_gates(folder, gates, r)
    write_tokenizer(folder)
    for layer, smallest in enumerate(smallest_logits(folder)):
        beta = 50.0 if drop == 0 else -float(smallest.quantile(drop))
        gates[f"layers.{layer}.beta"] = torch.tensor([beta])
    write_gates(folder, gates, r)
    return folder


def base(architecture: str, changes: dict) -> torch.nn.Module:
    import transformers as hf

    if architecture == "gpt2":
        config = hf.GPT2Config(
            vocab_size=VOCAB, n_positions=CONTEXT, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS,
            bos_token_id=256, eos_token_id=256, **changes,
        )  # fmt: skip
        return hf.GPT2LMHeadModel(config)
    kinds = {
        "llama": (hf.LlamaConfig, hf.LlamaForCausalLM),
        "mistral": (hf.MistralConfig, hf.MistralForCausalLM),
        "qwen2": (hf.Qwen2Config, hf.Qwen2ForCausalLM),
        "qwen3": (hf.Qwen3Config, hf.Qwen3ForCausalLM),
    }
    make_config, make_model = kinds[architecture]
    settings = {
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS[architecture],
        "head_dim": HEAD_DIM,
        "max_position_embeddings": CONTEXT,
        "bos_token_id": 256,
        "eos_token_id": 256,
        "pad_token_id": None,
    }
    return make_model(make_config(**settings | changes))


def write_gates(folder: Path, gates: dict[str, Tensor], r: int) -> None:
    save_file(gates, folder / "dcp.safetensors")
    (folder / "dcp_config.json").write_text(json.dumps(GateConfig(r).to_json()))


def write_tokenizer(folder: Path) -> None:
    """256 bytes and an end-of-text token, ids in byte order."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def smallest_logits(folder: Path) -> list[Tensor]:
    """Per layer, the smallest gate logit of each of 63 random tokens, with nothing dropped."""
    from dcp.model.weights import load
    from tests.helpers.oracle import MaskedAttention

    transformer = load(folder).transformer
    full = MaskedAttention(prune=False)
    ids = torch.randint(0, 256, (1, 63), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        transformer(ids, torch.arange(63)[None], full)
    later = torch.ones(63, 63, dtype=torch.bool).tril(-1)
    return [z.masked_fill(~later, torch.inf).amin(dim=0)[:-1] for z in full.logits]
