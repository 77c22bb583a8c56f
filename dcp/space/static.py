"""A static Space: a folder that any web server can hand out, with the model inside the page.

    README.md            the hub's front matter
    index.html  sw.js    the page, and what keeps it for the next visit and for no network
    app-HASH/            scripts, styles, kernels, manifest, a recorded sample; HASH is of them all
    weights/             the model's planes in parts (`dcp.space.pack`), named by their contents

Every address but the first two carries a hash, so that what a browser has kept is never stale. The
page loads nothing from elsewhere. Reads the bundled assets; needs no network.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcp import __version__
from dcp.errors import ModelError
from dcp.resources import asset
from dcp.space.folder import write as fill
from dcp.space.model import describe, tensors_of
from dcp.space.pack import as_json, pack_tokenizer, pack_weights
from dcp.space.readme import static_readme
from dcp.speech.words import from_json
from dcp.trace import Trace
from dcp.viewer.payload import payload
from dcp.viewer.static import assets as viewer_assets

if TYPE_CHECKING:
    from dcp.model.registry import OpenModel

__all__ = ["MAX_BYTES", "Space", "build", "write"]

MAX_BYTES = 14 * 10**6
"""What a visitor may be asked to download (bytes), everything included."""

# What a folder written before may hold.
_OURS = (
    *("app-*/**/*", "app-*", "weights/*", "index.html", "sw.js", "README.md", "thumbnail.png"),
)
_KERNELS = ("kernels/kernels.js", "kernels/kernels.wasm")
_EXAMPLES = {
    "A fox and a river": (
        "The fox came to the river at dusk. The water was high, and the old bridge that the miller "
        "had built was gone. The fox sat down and waited. In the morning the miller came with a "
        "rope and two long boards, and the fox asked him"
    ),
    "A city": (
        "The city lies on the northern bank of the river, about forty kilometres from the sea. It "
        "was founded in the twelfth century and became the capital of the province in 1848. Today "
        "the city is known for its university, its harbour and"
    ),
    "Names and numbers": (
        "Anna lives in Oslo. Peter lives in Rome. Anna has 3 cats and Peter has 12 books. When "
        "Peter visits Anna in Oslo he brings her a book, and when Anna visits Peter in Rome she"
    ),
}


@dataclass(frozen=True)
class Space:
    """A folder to be written: its files by path, and what a first visit downloads (bytes)."""

    files: Mapping[str, bytes]
    download: int


def build(model: OpenModel, *, hub_id: str | None = None, space_id: str | None = None) -> Space:
    """Everything of the Space that runs ``model``. Raises ModelError for one that the page cannot.

    hub_id    the model's page on the hub (OWNER/NAME), which the README then links
    space_id  what the Space will be called there (OWNER/NAME)

    The same model and code give the same bytes.
    """
    # Signs and fractions do not pack: a byte a weight at least, and this is known at once.
    _fits(model.info.parameters)
    weights, manifest = _weights(model)
    script, style = viewer_assets()
    source = asset("space")
    scripts = (path.name for path in sorted(source.glob("*.js")) if path.name != "sw.js")
    names = (*scripts, *_KERNELS, "page.css", "after.css")
    app = {name: (source / name).read_bytes() for name in names}
    app |= {"viewer.js": script.encode(), "viewer.css": style.encode()}
    app |= {"manifest.json": as_json(manifest), "sample.json": as_json(_sample())}
    version = _digest(b"".join(name.encode() + app[name] for name in sorted(app)))[:8]
    home = f"app-{version}"
    files = {f"{home}/{name}": data for name, data in app.items()} | weights
    files["index.html"] = _page(home, manifest["model"], _imported(app, "page.js")).encode()
    files["sw.js"] = _fill(
        "sw.js",
        version=_digest(files["index.html"])[:8],
        shell='", "'.join(["./", *sorted(name for name in files if name.startswith(home))]),
    ).encode()
    size = sum(map(len, files.values()))
    _fits(size)
    files["README.md"] = static_readme(model.info.name, hub_id, space_id).encode()
    if (picture := asset("space/thumbnail.png")).exists():
        files["thumbnail.png"] = picture.read_bytes()
    return Space(files, size)


def _fits(size: int) -> None:
    if size > MAX_BYTES:
        raise ModelError(
            f"a visitor would download {size / 1e6:.1f} MB or more, the limit of a static Space is "
            f"{MAX_BYTES / 1e6:.0f} MB; choose a smaller model, such as dcp-mini"
        )


def write(space: Space, folder: Path) -> None:
    """Write ``space`` to ``folder``, taking the place of one written there before.

    Raises RequestError where the folder holds anything else, or cannot be written.
    """
    fill(space.files, folder, before=lambda there: (there / "sw.js").exists(), ours=_OURS)


def _weights(model: OpenModel) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files below ``weights/``, and the manifest that names them."""
    packed = pack_weights(tensors_of(model))
    spec = json.loads((model.info.path / "tokenizer.json").read_text(encoding="utf-8"))
    files: dict[str, bytes] = {}

    def named(stem: str, data: bytes) -> dict[str, Any]:
        digest = _digest(data)
        name = f"weights/{stem}-{digest[:8]}.bin"
        files[name] = data
        return {"name": name, "bytes": len(data), "sha256": digest}

    planes = {
        plane: [named(plane, part) for part in packed.parts(plane)] for plane in packed.planes
    }
    manifest = {
        "version": __version__,
        "model": describe(model),
        "tensors": packed.tensors,
        "wide": packed.wide,
        "planes": planes,
        "tokenizer": named("tokenizer", as_json(pack_tokenizer(spec))),
        "tagger": named("tagger", asset("space/tagger.bin").read_bytes()),
    }
    return files, manifest


def _sample() -> dict[str, Any]:
    """The recorded run of the first paint, as the view reads it."""
    trace = Trace.load(asset("traces/sample.safetensors"))
    words = from_json(asset("traces/sample.words.json").read_text(encoding="utf-8"))
    return payload(trace, words, run_id="sample") | {"token_ids": trace.token_ids.tolist()}


def _imported(app: Mapping[str, bytes], name: str, known: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The scripts that ``name`` imports, those that they import, and so on."""
    for found in re.findall(r'from "\./([^"]+)"', app[name].decode()):
        if found not in known:
            known = _imported(app, found, (*known, found))
    return known


def _page(home: str, spec: Mapping[str, Any], imported: tuple[str, ...]) -> str:
    chips = (
        f'<button type="button" data-example="{html.escape(text)}">{html.escape(name)}</button>'
        for name, text in _EXAMPLES.items()
    )
    return _fill(
        "index.html",
        app=home,
        preloads="\n".join(f'<link rel="modulepreload" href="{home}/{n}">' for n in imported),
        name=html.escape(spec["name"]),
        parameters=f"{spec['parameters'] / 1e6:.1f}",
        examples="".join(chips),
    )


def _fill(file: str, **values: str) -> str:
    text = asset(f"space/{file}").read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace("{{" + key + "}}", value)
    return text


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
