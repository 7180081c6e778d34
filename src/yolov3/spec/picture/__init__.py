"""A network as an SVG picture, for any Spec: lanes by stride, the backbone's stages, the head, anchors to scale.

`boxes` says in words what a row is, `grid` finds each box its cell, `routes` finds arrows their way around them,
`page` turns both into pixels, `drawing`, `heads` and `legend` draw.
"""

from __future__ import annotations

from ..rows import Spec
from ..shapes import summarise


def draw_network(spec: Spec, size_wh: tuple[int, int], title: str) -> str:
    """Draw a network at an input of `size_wh` (width, height) pixels.

    The text depends on the arguments alone. It holds no script, no image and no address of another file; its
    background is its own, so that it reads on light pages and dark ones.

    Returns:
        The text of an SVG file. Each row is a group of class `row`, each head of class `head`, with the row's
        number as `data-row`.

    Raises:
        ModelError: the size doesn't suit the network.
    """
    from .drawing import draw_page

    return draw_page(spec, summarise(spec, size_wh), title)
