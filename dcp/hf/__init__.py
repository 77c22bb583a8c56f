"""Inside `transformers`: a model whose ``generate()`` forgets, its cache really freed.

    model = AutoModelForCausalLM.from_pretrained(folder)
    dcp.hf.prune(model, folder, sparsity=0.8)
    model.generate(**inputs)
    run = dcp.hf.trace(model, tokenizer)

A model that is pruned here keeps its weights and its class: hooks make the gates, an attention
function registered under the name "dcp" hands queries, keys and values to the caches of
`dcp.model`. `restore` takes both away.
"""

from __future__ import annotations

from dcp.hf.gates import has_gates
from dcp.hf.pruning import cache, prune, pruned, restore
from dcp.hf.recording import trace
from dcp.hf.saved import load_cache, save_cache

__all__ = ["cache", "has_gates", "load_cache", "prune", "pruned", "restore", "save_cache", "trace"]
