"""Importing: what the SDK adds to its dependencies.

Each import is made by a Python of its own.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.harness import OURS, at_most, in_turn

if TYPE_CHECKING:
    from benchmarks.harness import Contestant, Table

FIVE = "its five dependencies"
IMPORTS = {
    OURS: "cyberun_async",
    "all of cyberun-async at once": "cyberun_async; from cyberun_async import *",
    FIVE: "httpx, httpx_sse, attrs, cattrs, anyio",
    "comfy-sdk": "comfy_sdk",
    "fal-client": "fal_client",
    "replicate": "replicate",
    "runwayml": "runwayml",
}


def importing(modules: str) -> Contestant:
    """Import modules in a fresh Python, and give the seconds of CPU that the imports took in it."""
    program = f"import time; t = time.process_time(); import {modules}; print(time.process_time() - t)"

    async def run() -> float:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-W", "ignore", "-c", program],
            check=True,
            capture_output=True,
            # With compiled files for everybody, as an installed package has them.
            env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        )
        return float(done.stdout)

    return run


def test_import(table: Table) -> None:
    """Importing the SDK costs at most half as much again as importing what it stands on."""
    contestants = {name: importing(modules) for name, modules in IMPORTS.items()}
    figures = asyncio.run(in_turn(contestants, rounds=5, unit="s"))
    table.compare(
        "CPU of importing the package, against that of its five dependencies", figures, to=FIVE, goal=at_most(1.5)
    )
