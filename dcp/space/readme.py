"""The README of a Space: front matter for the hub, a few lines for people.

The arXiv link puts a Space among the demos of the paper; ``models`` links it to the model's page.
The hub wants the thumbnail as a whole address, which only the Space's own name completes.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["docker_readme", "static_readme"]

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
thumbnail: {thumbnail}
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

_DOCKER = """---
title: What a language model forgets
emoji: 🧠
colorFrom: blue
colorTo: gray
sdk: docker
app_port: {port}
pinned: false
license: apache-2.0
short_description: Watch a model drop tokens, with statistics
suggested_hardware: cpu-basic
startup_duration_timeout: 30m
thumbnail: {thumbnail}
{models}tags:
  - arxiv:2305.15805
  - interpretability
  - kv-cache
  - dynamic-context-pruning
  - streamlit
---

# What a language model forgets

Language models learned with [Dynamic Context Pruning](https://arxiv.org/abs/2305.15805)
(NeurIPS 2023) to drop tokens from their memory, layer by layer and for good. This is the app: your
own text, the linked view, parts of speech, one token put back, rivals beside it, figures for print.
Text stays in the session's memory and is not stored.

Made by `python -m dcp space docker --out DIR`. Any host that builds containers can run it:

    docker build -t dcp . && docker run -p {port}:{port} dcp
"""


def static_readme(name: str, hub_id: str | None = None, space: str | None = None) -> str:
    """README.md of a static Space for the model ``name``.

    hub_id  the model's page on the hub (OWNER/NAME)
    space   what the Space will be called there (OWNER/NAME)
    """
    models = _models([hub_id] if hub_id else [])
    return _STATIC.format(name=name, models=models, thumbnail=_thumbnail(space))


def docker_readme(port: int, hub_ids: Sequence[str] = (), space: str | None = None) -> str:
    """README.md of a Docker Space whose app listens at ``port``; the rest as in `static_readme`."""
    return _DOCKER.format(port=port, models=_models(hub_ids), thumbnail=_thumbnail(space))


def _models(hub_ids: Sequence[str]) -> str:
    return "models:\n" + "".join(f"  - {name}\n" for name in hub_ids) if hub_ids else ""


def _thumbnail(space: str | None) -> str:
    file = "thumbnail.png"
    return f"https://huggingface.co/spaces/{space}/resolve/main/{file}" if space else file
