"""The model card of a repository: YAML front matter that the Hub reads, and a page for people.

A card that lies beside the checkpoint is kept and completed. Knows nothing of files.
"""

from __future__ import annotations

from typing import Any

from dcp.errors import ModelError
from dcp.model.gate_config import Calibration, GateConfig, measured_at

__all__ = ["card_of"]

PAPER = "https://arxiv.org/abs/2305.15805"
_TAGS = ("dynamic-context-pruning", "custom_generate", "kv-cache", "interpretability")
_RULE = "---\n"
# What follows it was written here, and is written anew.
_OURS = "<!-- dcp export -->"


def card_of(name: str, gates: GateConfig, card: str, hub_id: str | None) -> str:
    """The whole of README.md. ``card`` is the README of the checkpoint, or empty.

    Raises ModelError where its front matter is none.
    """
    from huggingface_hub import ModelCardData

    given, body = _split(card.partition(_OURS)[0])
    base = given.pop("base_model", None) or (gates.base.hub if gates.base else None)
    tags = [*dict.fromkeys([*map(str, given.pop("tags", None) or ()), *_TAGS, "arxiv:2305.15805"])]
    for taken in ("library_name", "model_name", "model-index", "eval_results"):
        given.pop(taken, None)
    if gates.base and base:
        given["base_model_relation"] = "adapter"
    data = ModelCardData(
        base_model=base,
        library_name="transformers",
        tags=tags,
        pipeline_tag=given.pop("pipeline_tag", "text-generation"),
        model_name=name,
        eval_results=_results(gates) or None,
        ignore_metadata_errors=True,
        **given,
    )
    head = f"{_RULE}{data.to_yaml().rstrip()}\n{_RULE}"
    return "\n".join((head, body or _body(name, gates), _use(gates, hub_id)))


def _split(card: str) -> tuple[dict[str, Any], str]:
    """Front matter and body."""
    import yaml

    if not card.startswith(_RULE):
        return {}, card.strip() and card.strip() + "\n"
    head, rule, body = card[len(_RULE) :].partition("\n" + _RULE)
    try:
        found = yaml.safe_load(head) if rule else None
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise ModelError("the README.md of the checkpoint has no YAML between its two ---")
    return found, body.strip() + "\n"


def _results(gates: GateConfig) -> list[Any]:
    """The dial as the Hub's evaluation results: one for each measured point."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type="held-out-text",
            dataset_name=f"held-out documents, context {point.context}",
            metric_type="perplexity_ratio",
            metric_name=_measured(gates, point),
            metric_value=round(point.perplexity_ratio, 4),
        )
        for point in gates.calibration
    ]


def _measured(gates: GateConfig, point: Calibration) -> str:
    rival = "the untouched base's" if gates.base else "the dense twin's"
    return f"perplexity over {rival}, {point.sparsity:.1%} dropped (gate shift {point.delta:+g})"


def _body(name: str, gates: GateConfig) -> str:
    lines = [
        f"# {name}",
        "",
        "Drops tokens from its own context for good, layer by layer, while it reads and writes: "
        f"Dynamic Context Pruning ([arXiv 2305.15805]({PAPER})). The gates are `dcp.safetensors`.",
    ]
    if gates.base is not None:
        lines += ["", f"An adapter: the base model {gates.base.name} is not in this repository."]
    if gates.calibration:
        rival = "untouched base" if gates.base else "dense twin"
        lines += [
            "",
            f"| gate shift δ | context | dropped on average | perplexity over the {rival}'s |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| {p.delta:+g} | {p.context} | {p.sparsity:.1%} | {p.perplexity_ratio:.3f} |"
            for p in gates.calibration
        ]
    return "\n".join(lines) + "\n"


def _use(gates: GateConfig, hub_id: str | None) -> str:
    here = hub_id or "FOLDER_OR_REPOSITORY"
    base = gates.base
    model = f'"{here}"' if base is None else f'"{base.hub or base.name}"'
    if base is not None and base.file.endswith(".gguf"):
        model += f', gguf_file="{base.file}"'
    dial = [point.sparsity for point in measured_at(gates.calibration)]
    setting = ""
    # A number of two digits that the calibration surely covers.
    if dial and max(dial) - min(dial) > 0.02:
        setting = f", sparsity={(min(dial) + max(dial)) / 2:.2f}"
    return f"""{_OURS}
## In transformers

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained({model})
tokenizer = AutoTokenizer.from_pretrained({model})
inputs = tokenizer("The museum opened in 1901.", return_tensors="pt")
out = model.generate(**inputs, custom_generate="{here}", trust_remote_code=True{setting})
```

The recipe needs the package `dcp`. With it, `dcp.hf.prune(model, "{here}")` does the same to every
later `generate()`, and `dcp.hf.trace(model, tokenizer)` says what was dropped. The method:
{PAPER}.
"""
