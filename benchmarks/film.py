"""The GIF of tokens being forgotten: the static viewer of the bundled sample, step by step.

Text and heatmap are the view's own, drawn by the page that ``python -m dcp view`` writes; its other
rows are hidden for the film. Also makes pictures small. Used by benchmarks/screens.py.
"""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dcp.trace import Trace
from dcp.ui.samples import load_sample, sample_names
from dcp.viewer import static

__all__ = ["FONT", "film", "fonts", "small"]

_WIDTH = 900
_FRAMES = 76
_MILLISECONDS = 60
_LAST = 1400
_COLOURS = 128

# The text, the scrubber and the heatmap stay; the canvas is cut under its part-of-speech strip.
_TRIM = """() => {
  const keep = ["text", "stage"];
  for (const part of dcpView.box.children) {
    if (!keep.some((name) => part.classList.contains(name))) part.style.display = "none";
  }
  document.body.style.padding = "10px 14px";
  dcpView.box.querySelector(".text").style.maxHeight = "none";
}"""
_BOTTOM = """() => {
  const canvas = dcpView.box.querySelector(".stage canvas").getBoundingClientRect();
  return canvas.top + dcpView.geo.pos + dcpView.geo.posH + 6;
}"""
_PAINTED = "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"
# The app's fonts, which Streamlit serves; a static page takes what the system has.
FONT = """async ([family, style, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  document.fonts.add(await new FontFace(family, bytes.buffer, { weight: "200 900", style }).load());
}"""


def film(browser: Any, target: Path) -> None:
    """Write the GIF: one layer's text and the heatmap while the steps go by."""
    trace, words = load_sample(sample_names()[0])
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "view.html"
        page.write_text(static.html(trace, words), encoding="utf-8")
        window = browser.new_page(
            viewport={"width": _WIDTH, "height": 1400}, reduced_motion="reduce"
        )
        window.goto(page.as_uri())
        window.wait_for_selector(".dcp canvas")
        for family, style, data in fonts():
            window.evaluate(FONT, [family, style, data])
        window.evaluate(f"() => {{ dcpView.state.layer = {_layer(trace)}; }}")
        window.get_by_role("radio", name="this layer").click()
        window.evaluate(_TRIM)
        window.wait_for_timeout(400)
        frames = []
        for step in np.linspace(8, trace.n_queries - 1, _FRAMES).astype(int):
            window.evaluate(f"() => dcpView.go({step})")
            window.evaluate(_PAINTED)
            bottom = window.evaluate(_BOTTOM)
            shot = window.screenshot(clip={"x": 0, "y": 0, "width": _WIDTH, "height": bottom})
            frames.append(Image.open(io.BytesIO(shot)).convert("RGB"))
        window.close()
    _write(frames, target)
    seconds = ((_FRAMES - 1) * _MILLISECONDS + _LAST) / 1000
    print(f"{target.name}: {frames[0].size}, {seconds:.1f} s, {target.stat().st_size / 1e6:.2f} MB")


def _layer(trace: Trace) -> int:
    """The layer that holds the median at the end: neither the most forgetful nor the least."""
    held = trace.held()[:, -1]
    return int(np.argsort(held, kind="stable")[len(held) // 2])


def fonts() -> list[tuple[str, str, str]]:
    """Family, style and base64 of each font that Streamlit brings and the view asks for."""
    import streamlit

    folder = Path(streamlit.__file__).parent / "static" / "static" / "media"
    wanted = (
        ("Source Sans", "normal", "SourceSansVF-Upright*.woff2"),
        ("Source Serif", "normal", "SourceSerifVariable-Roman*.woff2"),
        ("Source Serif", "italic", "SourceSerifVariable-Italic*.woff2"),
    )
    return [
        (family, style, base64.b64encode(file.read_bytes()).decode("ascii"))
        for family, style, name in wanted
        for file in sorted(folder.glob(name))[:1]
    ]


def _write(frames: list[Image.Image], target: Path) -> None:
    """One palette for all frames, taken from a few of them: colours do not flicker."""
    few = frames[:: max(1, len(frames) // 6)]
    width, height = frames[0].size
    sheet = Image.new("RGB", (width, height * len(few)))
    for i, frame in enumerate(few):
        sheet.paste(frame, (0, i * height))
    palette = _octree(sheet, _COLOURS)
    flat = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    flat[0].save(
        target,
        save_all=True,
        append_images=flat[1:],
        duration=[_MILLISECONDS] * (len(flat) - 1) + [_LAST],
        loop=0,
        optimize=True,
        disposal=1,
    )


def small(path: Path, colours: int = 256) -> None:
    """Rewrite a PNG with a palette, where that makes it smaller."""
    with Image.open(path) as picture:
        flat = _octree(picture.convert("RGB"), colours)
    packed = io.BytesIO()
    flat.save(packed, "PNG", optimize=True)
    if len(packed.getvalue()) < path.stat().st_size:
        path.write_bytes(packed.getvalue())


def _octree(picture: Image.Image, colours: int) -> Image.Image:
    """With a palette. An octree keeps the few orange points that a median cut melts into grey; it
    rounds the paper's colour, which is put back: a picture on white must not stand out."""
    flat = picture.quantize(colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette, paper = flat.getpalette(), flat.getpixel((0, 0))
    assert palette is not None
    assert isinstance(paper, int)
    palette[3 * paper : 3 * paper + 3] = picture.getpixel((0, 0))
    flat.putpalette(palette)
    return flat
