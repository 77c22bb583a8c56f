"""A figure as PGF code for ``\\input`` in a LaTeX paper, in the paper's own font.

Written without running TeX: matplotlib's PGF renderer draws, our own fonts measure. Text that a
stranger typed is never given to a TeX process here, and what TeX would act on is escaped. For any
engine, with no more than the packages that the head of the file names: a character that plain LaTeX
does not know stops pdfTeX, so there it is drawn as □.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unicodedata import normalize

from matplotlib import rc_context
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_mixed import MixedModeRenderer
from matplotlib.backends.backend_pgf import RendererPgf
from matplotlib.figure import Figure
from PIL import Image

from dcp.figures.paper.presets import Page
from dcp.figures.paper.style import drawing

__all__ = ["escape", "render_pgf"]

_ESCAPED = {
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "\\textless{}",
    ">": "\\textgreater{}",
    "|": "\\textbar{}",
    # Straight in every encoding, which \\textquotedbl is not.
    '"': "{\\ttfamily\\char34}",
    # Two of these are one sign in TeX.
    **{sign: f"{sign}{{}}" for sign in "-`',?!"},
    "\n": " ",
    "α": "\\ensuremath{\\alpha}",
    "β": "\\ensuremath{\\beta}",
    "δ": "\\ensuremath{\\delta}",
    "σ": "\\ensuremath{\\sigma}",
    "−": "\\ensuremath{-}",
    "≥": "\\ensuremath{\\geq}",
    "≤": "\\ensuremath{\\leq}",
    "‖": "\\ensuremath{\\Vert}",
    "·": "\\ensuremath{\\cdot}",
    "°": "\\ensuremath{^\\circ}",
    "Δ": "\\ensuremath{\\Delta}",
    "×": "\\ensuremath{\\times}",
    "□": "\\ensuremath{\\square}",
    # LuaTeX takes it for a byte that is no UTF-8 and stops.
    "\ufffd": "\\ensuremath{\\square}",
    "↵": "\\ensuremath{\\hookleftarrow}",
    "…": "\\ldots{}",
}
_HEAD = """%% A figure of dcp. In the preamble: \\usepackage{pgf,graphicx,amssymb}
%% then: \\input{FILE.pgf}; images, where there are any, lie beside it.
\\providecommand\\dcpother[1]{\\ifdefined\\Umathcode #1\\else\\ensuremath{\\square}\\fi}%
"""
# What LaTeX itself sets in its oldest encoding, OT1: letters with one of these accents, and a few.
_ACCENTS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327"
_KNOWN = "ÆØßæøŒœŁłı–—‘’“”"


def escape(text: str) -> str:
    """``text`` so that TeX prints it and does nothing else.

    >>> escape("50% of $x_1$")
    '50\\% of \\$x\\_1\\$'
    """
    return "".join(_escaped(sign) for sign in text)


def _escaped(sign: str) -> str:
    if sign in _ESCAPED:
        return _ESCAPED[sign]
    if sign.isascii():
        return sign if sign.isprintable() else " "
    letter, *marks = list(normalize("NFD", sign))
    accented = letter.isascii() and len(marks) == 1 and marks[0] in _ACCENTS and sign <= "\u017f"
    return sign if accented or sign in _KNOWN else f"\\dcpother{{{sign}}}"


class _Renderer(RendererPgf):
    def draw_text(
        self,
        gc: Any,
        x: float,
        y: float,
        s: str,
        prop: Any,
        angle: float,
        ismath: Any = False,
        mtext: Any = None,
    ) -> None:
        shown = s if ismath else escape(s)
        super().draw_text(gc, x, y, shown, prop, angle, ismath, mtext)  # type: ignore[no-untyped-call]

    def draw_image(self, gc: Any, x: float, y: float, im: Any, transform: Any = None) -> None:
        # Not RendererPgf's: it would ask a TeX process how to include an image.
        height, width = im.shape[:2]
        if not height or not width:
            return
        path = Path(self.fh.name)
        # What TeX would act on in a name of a file, it cannot be told not to.
        stem = re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-")
        if stem != path.stem:
            stem = f"{stem or 'figure'}-{sha256(path.stem.encode()).hexdigest()[:6]}"
        name = f"{stem}-img{self.image_counter}.png"
        self.image_counter += 1
        Image.fromarray(im[::-1]).save(path.parent / name)
        inch = 1 / self.dpi
        across, up = width * inch, height * inch
        place = (1.0, 0.0, 0.0, 1.0, x * inch, y * inch)
        if transform is not None:
            # The transform takes a picture of one unit to its place, in dots.
            a, b, c, d, right, above = transform.frozen().to_values()
            place = (a * inch, b * inch, c * inch, d * inch, (right + x) * inch, (above + y) * inch)
            across = up = 1.0
        moved = "}{".join(f"{value:f}" for value in place[:4])
        size = f"width={across:f}in,height={up:f}in"
        self.fh.write("\\begin{pgfscope}%\n")
        self._print_pgf_clip(gc)  # type: ignore[no-untyped-call]
        self.fh.write(f"\\pgfsys@transformcm{{{moved}}}{{{place[4]:f}in}}{{{place[5]:f}in}}%\n")
        self.fh.write(f"\\pgftext[left,bottom]{{\\includegraphics[{size}]{{{name}}}}}%\n")
        self.fh.write("\\end{pgfscope}%\n")

    def get_text_width_height_descent(self, s: str, prop: Any, ismath: Any) -> Any:
        # Not RendererPgf's: it would ask a TeX process.
        return RendererBase.get_text_width_height_descent(self, s, prop, ismath)


def render_pgf(figure: Figure, page: Page, name: str) -> dict[str, bytes]:
    """File name -> content: ``name`` (ends in .pgf) and the images beside it. Deterministic."""
    with drawing(page), rc_context({"pgf.rcfonts": False}), TemporaryDirectory() as folder:
        path = Path(folder) / name
        width, height = figure.get_size_inches()
        before = figure.dpi
        figure.set_dpi(300)
        try:
            with path.open("w", encoding="utf-8") as file:
                file.write(_HEAD)
                file.write("\\begingroup\n\\makeatletter\n\\begin{pgfpicture}%\n")
                corner = f"\\pgfqpoint{{{width:f}in}}{{{height:f}in}}"
                file.write(f"\\pgfpathrectangle{{\\pgfpointorigin}}{{{corner}}}%\n")
                file.write("\\pgfusepath{use as bounding box, clip}%\n")
                vectors = _Renderer(figure, file)  # type: ignore[no-untyped-call]
                mixed: Any = MixedModeRenderer(figure, width, height, 300, vectors)  # type: ignore[no-untyped-call]
                figure.draw(mixed)
                file.write("\\end{pgfpicture}\n\\makeatother\n\\endgroup\n")
        finally:
            figure.set_dpi(before)
        return {found.name: found.read_bytes() for found in sorted(Path(folder).iterdir())}
