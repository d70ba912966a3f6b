"""The settings, with the defaults that the code has."""

from __future__ import annotations

import re

import attrs

from cyberun_async import Timeouts


def timeouts() -> str:
    """Write each time limit, its default, and what its docstring says of it."""
    doc = Timeouts.__doc__ or ""
    lines = ["| setting | seconds | is the longest time |", "| --- | --- | --- |"]
    for field in attrs.fields(Timeouts):
        meaning = re.search(rf"^ +{field.name}: (.+)\.$", doc, re.MULTILINE)
        says = meaning[1] if meaning else ""
        lines.append(f"| `{field.name}` | {field.default:g} | {says[:1].lower()}{says[1:]} |")
    return "\n".join(lines)
