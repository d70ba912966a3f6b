"""Draw docs/_static/terminal.svg, a real run in a real terminal when it is two thirds done, and picture.jpg, its file.

python docs/draw_terminal.py
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from rich.console import CONSOLE_SVG_FORMAT, Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

ARGUMENTS = ("run", "text-to-image", "-p", "prompt=a lighthouse at dusk", "-p", "seed=7", "--local", "-o", "out")
MOMENT = "65%"
WIDTH = 64
"""Columns: few enough to be read on a telephone."""
TERMINAL = Path(__file__).parent / "_static" / "terminal.svg"
PICTURE = TERMINAL.with_name("picture.jpg")
SIDE = 384
"""Pixels."""


def record() -> str:
    """Run the command in a terminal, give all that it wrote, and keep its picture, smaller."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": str(WIDTH), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cyberun_async", *ARGUMENTS]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment)
        os.close(theirs)
        written = bytearray()
        try:
            while piece := os.read(ours, 65536):
                written += piece
        except OSError:  # The other side is closed.
            pass
        os.close(ours)
        if process.wait() != 0:
            raise SystemExit(written.decode())
        (made,) = Path(folder).glob("out/*.png")
        with Image.open(made) as picture:
            picture.convert("RGB").resize((SIDE, SIDE)).save(PICTURE, quality=80)
    return written.decode().replace("\r\n", "\n")


SAME = {
    r"\x1b\[\?25[hl]": "",
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "019abc12-9012-7890-abcd-ef1234567896",
    r"[\u2800-\u28ff]": "\u2839",
    r"0:00:\d\d": "0:00:03",
}
"""What differs from run to run and what stands for it, so that the picture changes only where the program does."""


def at_the_moment(written: str) -> str:
    """Give what the screen shows when the percentage comes up: each redrawn line begins with a carriage return."""
    seen = written[: written.index("\r", written.index(MOMENT))]
    for differing, same in SAME.items():
        seen = re.sub(differing, same, seen)
    return seen


def draw(screen: str) -> None:
    """Draw the command and the screen; no font is fetched from elsewhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    command = shlex.join(["cyberun-async", *ARGUMENTS]).replace("'prompt=a", "prompt='a")
    console.print(Text.assemble(("$ ", "green"), command))
    console.print(Text.from_ansi(screen))
    without_fonts = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    svg = console.export_svg(
        title="cyberun-async", theme=DIMMED_MONOKAI, code_format=without_fonts, unique_id="terminal"
    )
    TERMINAL.write_text(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE), encoding="utf-8")


if __name__ == "__main__":
    draw(at_the_moment(record()))
