"""The layers as the contract of import-linter has them, and what stands beside them."""

from __future__ import annotations

import ast
import importlib
import sys
import textwrap
from pathlib import Path
from pkgutil import iter_modules

import cyberun_async

from .svg import Drawing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(cyberun_async.__file__).parent
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
WIDTH, LEFT, LINE, GAP = 460, 16, 19, 20


def layers() -> list[list[str]]:
    """Name the layers, the uppermost first; the members of one layer do not know each other."""
    contracts = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if each["type"] == "layers")
    return [[name.strip().removeprefix("cyberun_async.") for name in layer.split("|")] for layer in contract["layers"]]


def summary(name: str) -> str:
    """Say what a module is: the first line of its docstring, up to a semicolon."""
    doc = importlib.import_module(f"cyberun_async.{name}").__doc__ or ""
    return doc.partition("\n")[0].partition(";")[0].strip()


def draw() -> str:
    """Draw them on top of one another; an arrow says who imports whom."""
    rows = [
        [(name, textwrap.wrap(summary(name), 54 // len(layer) - 3 * (len(layer) - 1))) for name in layer]
        for layer in layers()
    ]
    heights = [LINE * (max(len(lines) for _, lines in row) + 1) + 18 for row in rows]
    drawing = Drawing(WIDTH, sum(heights) + GAP * (len(rows) - 1) + 2, "The layers; each imports only those below it")
    y = 1.0
    for row, height in zip(rows, heights, strict=True):
        width = (WIDTH - 2 - GAP * (len(row) - 1)) / len(row)
        for place, (name, lines) in enumerate(row):
            x = 1 + place * (width + GAP)
            drawing.box(x, y, width, height)
            drawing.text(x + LEFT - 1, y + LINE + 5, name, "code")
            for line_number, line in enumerate(lines, 2):
                drawing.text(x + LEFT - 1, y + LINE * line_number + 5, line, "muted")
        y += height + GAP
        if y < sum(heights) + GAP * (len(rows) - 1):
            drawing.arrow((WIDTH / 2, y - GAP), (WIDTH / 2, y - 1))
    return str(drawing)


def beside() -> str:
    """List the public modules that are no layers, and the uppermost layer that each stands on."""
    inside = [name for layer in layers() for name in layer]
    rows = ["| module | what it is | stands on |", "| --- | --- | --- |"]
    for name in sorted(module.name for module in iter_modules(cyberun_async.__path__)):
        if name.startswith("_") or name in inside:
            continue
        used = _imported_by(name)
        upmost = next((layer for layer in inside if layer in used), "")
        rows.append(f"| `{name}` | {summary(name).rstrip('.')} | {f'`{upmost}`' if upmost else 'nothing of the SDK'} |")
    return "\n".join(rows)


def _imported_by(name: str) -> set[str]:
    """Name the parts of the package that a module imports; a name of the package itself is the client's."""
    found = set()
    sources = Path(PACKAGE, name).rglob("*.py") if Path(PACKAGE, name).is_dir() else [Path(PACKAGE, f"{name}.py")]
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                package, _, rest = module.partition(".")
                if package == "cyberun_async":
                    found.add(rest.partition(".")[0] or "_client")
    return found
