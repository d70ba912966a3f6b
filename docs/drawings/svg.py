"""A picture in the page itself, whose colours are the theme's (`_style/drawings.css`)."""

from __future__ import annotations

from html import escape


class Drawing:
    """An SVG of so many pixels, which shrinks with the screen."""

    def __init__(self, width: float, height: float, label: str) -> None:
        """Begin with nothing on it; the label is for those who cannot see it."""
        self._head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
            f'style="max-width: {width:g}px" role="img" aria-label="{escape(label)}">'
        )
        self._shapes: list[str] = []

    def text(self, x: float, y: float, words: str, style: str = "") -> None:
        """Write a line of words, from its left end unless the style is `middle` or `right`."""
        self._shapes.append(f'<text x="{x:g}" y="{y:g}" class="{style}">{escape(words)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str = "") -> None:
        """Draw a line."""
        self._shapes.append(f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" class="line {style}"/>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """Draw a line through the points, with a head at its end."""
        path = "L".join(f"{x:g} {y:g}" for x, y in points)
        (x1, y1), (x2, y2) = points[-2:]
        dx, dy = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
        tip = f"M{x2 - 6 * dx + 4 * dy:g} {y2 - 6 * dy + 4 * dx:g}L{x2:g} {y2:g}"
        tip += f"L{x2 - 6 * dx - 4 * dy:g} {y2 - 6 * dy - 4 * dx:g}"
        self._shapes.append(f'<path d="M{path}{tip}" class="line"/>')

    def box(self, x: float, y: float, width: float, height: float, style: str = "") -> None:
        """Draw a box."""
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" class="box {style}"/>'
        )

    def dot(self, x: float, y: float, style: str = "") -> None:
        """Mark a place."""
        self._shapes.append(f'<circle cx="{x:g}" cy="{y:g}" r="5" class="dot {style}"/>')

    def __str__(self) -> str:
        """Give it as HTML."""
        return "".join([self._head, *self._shapes, "</svg>"])
