"""Drawings and tables that the build makes from the code itself: ` ```{drawn} race `.

None of them is kept in the repository, so none can be out of date.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from . import endpoints, errors, layers, page, race, retries, settings, states

PICTURES: dict[str, Callable[[], str]] = {"race": race.races, "layers": layers.draw, "states": states.draw}
"""What is HTML."""

TEXTS: dict[str, Callable[[], str]] = {
    "beside the layers": layers.beside,
    "endpoints": endpoints.draw,
    "errors": errors.draw,
    "calls and retries": retries.calls,
    "failures and retries": retries.failures,
    "timeouts": settings.timeouts,
}
"""What is Markdown."""


class Drawn(SphinxDirective):
    """Puts a drawing, or a table, where it stands."""

    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {}
    site: ClassVar[Path]
    """Where the site is built."""

    def run(self) -> list[nodes.Node]:
        """Make it."""
        what = self.arguments[0]
        for source in Path(__file__).parent.glob("*.py"):
            self.env.note_dependency(str(source))
        style = what.replace(" ", "-")
        if what in TEXTS:
            return [nodes.container("", *self.parse_text_to_nodes(TEXTS[what]()), classes=["drawn", style])]
        html = page.draw(self.site) if what == "web page" else PICTURES[what]()
        return [nodes.raw("", f'<div class="drawing {style}">{html}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directive known."""
    Drawn.site = Path(app.outdir)
    app.add_directive("drawn", Drawn)
    return {"parallel_read_safe": True}
