"""The web example as its visitors see it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "draw_web_page.py"
PICTURES = {
    "web-wide-light.png": "A form at the left, and at the right a bar that has come to 13 of 20 steps",
    "web-narrow-dark.png": "The same on a telephone in the dark, with the picture of a lighthouse",
}


def draw(site: Path) -> str:
    """Have the pictures taken into the site, unless there is no browser to take them with."""
    if not (os.environ.get("CHROMIUM") or shutil.which("chromium")):
        return "<p><em>This site was built without Chromium, so there is no picture of the page.</em></p>"
    folder = site / "_pictures"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, SCRIPT, folder], check=True, stderr=subprocess.DEVNULL)
    return "".join(f'<img src="_pictures/{name}" alt="{words}">' for name, words in PICTURES.items())
