"""The states of a task, as `TaskStatus` lists them."""

from __future__ import annotations

import textwrap

from sphinx.pycode import ModuleAnalyzer

from cyberun_async import TaskStatus

from .svg import Drawing

WIDTH, BOX, LINE, GAP = 460, 300, 18, 18


def _meanings() -> dict[str, str]:
    """Give what stands under each member."""
    docs = ModuleAnalyzer.for_module("cyberun_async._protocol.status").find_attr_docs()
    return {name: docs["TaskStatus", name][0].rstrip(".") for name in TaskStatus.__members__}


def draw() -> str:
    """Draw those on the way from the top down, and the ends at their foot."""
    meanings = _meanings()
    on_the_way = [state for state in TaskStatus if not state.is_terminal]
    ends = [state for state in TaskStatus if state.is_terminal]
    texts = {state: textwrap.wrap(meanings[state.name], 36 if state in on_the_way else 15) for state in TaskStatus}
    rows = max(len(texts[state]) for state in ends) + 1
    end_height = LINE * rows + 16
    heights = {state: LINE * (len(texts[state]) + 1) + 16 for state in on_the_way}
    height = sum(heights.values()) + GAP * len(on_the_way) + GAP + end_height + 2
    drawing = Drawing(WIDTH, height, "The states of a task")
    y, rail = 1.0, BOX + 34
    middles = []
    for number, state in enumerate(on_the_way):
        drawing.box(1, y, BOX, heights[state])
        drawing.text(14, y + LINE + 3, state, "code")
        for row, line in enumerate(texts[state], 2):
            drawing.text(14, y + LINE * row + 3, line, "muted")
        middles.append(y + heights[state] / 2)
        y += heights[state] + GAP
        if number + 1 < len(on_the_way):
            drawing.arrow((BOX / 2, y - GAP), (BOX / 2, y - 1))
    # Whatever a task is at, it may be over: one rail collects them, and leads to the three ends.
    for middle in middles:
        drawing.line(BOX + 1, middle, rail, middle)
    width = (WIDTH - 2 * 12) / len(ends)
    drawing.line(rail, middles[0], rail, y - GAP / 2)
    drawing.line(width / 2, y - GAP / 2, WIDTH - width / 2, y - GAP / 2)
    for number, state in enumerate(ends):
        x = number * (width + 12)
        drawing.arrow((x + width / 2, y - GAP / 2), (x + width / 2, y + GAP / 2 - 1))
        drawing.box(x + 1, y + GAP / 2, width - 2, end_height, "strong")
        drawing.text(x + 12, y + GAP / 2 + LINE + 3, state, "code")
        for row, line in enumerate(texts[state], 2):
            drawing.text(x + 12, y + GAP / 2 + LINE * row + 3, line, "muted small")
    return str(drawing)
