"""The README of a Space: front matter for the hub, a few lines for people.

The arXiv link puts a Space among the demos of the paper; ``models`` links it to the model's page.
"""

from __future__ import annotations

__all__ = ["static_readme"]

_STATIC = """---
title: What a language model forgets
emoji: 🧠
colorFrom: blue
colorTo: gray
sdk: static
app_file: index.html
pinned: false
license: apache-2.0
short_description: Watch a model drop tokens, live in your browser
thumbnail: thumbnail.png
{models}tags:
  - arxiv:2305.15805
  - interpretability
  - kv-cache
  - dynamic-context-pruning
  - wasm
---

# What a language model forgets

{name} learned with [Dynamic Context Pruning](https://arxiv.org/abs/2305.15805) (NeurIPS 2023) to
drop tokens from its memory, layer by layer and for good. Here it runs in your browser, on your own
text: no server, nothing is sent anywhere. Tokens are dropped where the reference engine drops them.

A link carries a run: `#text=…&seed=…&new=…&temperature=…&sparsity=…`.

Made by `python -m dcp space static --out DIR`; any web server can hand this folder out
(`python -m http.server` in it, for example).
"""


def static_readme(name: str, hub_id: str | None = None) -> str:
    """README.md of a static Space for the model ``name``; ``hub_id`` is its page on the hub."""
    models = f"models:\n  - {hub_id}\n" if hub_id else ""
    return _STATIC.format(name=name, models=models)
