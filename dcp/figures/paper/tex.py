"""A figure as PGF code for ``\\input`` in a LaTeX paper, in the paper's own font.

Written without running TeX: matplotlib's PGF renderer draws, our own fonts measure. Text that a
stranger typed is never given to a TeX process here, and what TeX would act on is escaped. For any
engine; characters beyond the paper's font are the paper's to provide.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
    '"': "\\textquotedbl{}",
    "\n": " ",
    "α": "\\ensuremath{\\alpha}",
    "δ": "\\ensuremath{\\delta}",
    "Δ": "\\ensuremath{\\Delta}",
    "×": "\\ensuremath{\\times}",
    "□": "\\ensuremath{\\square}",
    "↵": "\\ensuremath{\\hookleftarrow}",
    "…": "\\ldots{}",
}
_HEAD = """%% A figure of dcp. In the preamble: \\usepackage{pgf,graphicx,amssymb}
%% then: \\input{FILE.pgf}; images, where there are any, lie beside it.
"""


def escape(text: str) -> str:
    """``text`` so that TeX prints it and does nothing else.

    >>> escape("50% of $x_1$")
    '50\\% of \\$x\\_1\\$'
    """
    return "".join(_ESCAPED.get(sign, sign) for sign in text)


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
        name = f"{path.stem}-img{self.image_counter}.png"
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
