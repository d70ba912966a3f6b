"""Draw the web example in headless Chromium, wide and light, narrow and dark, into a folder.

The build of the site runs it; by hand: python docs/draw_web_page.py FOLDER
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, expect, sync_playwright

from cyberun_async.local import LocalCyberun

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "examples" / "web"))
from app import Settings, create_app  # noqa: E402

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
ADDRESS = ("127.0.0.1", 8017)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
PICTURES = {
    "web-wide-light.png": {"viewport": {"width": 1100, "height": 790}, "color_scheme": "light"},
    "web-narrow-dark.png": {"viewport": {"width": 420, "height": 1010}, "color_scheme": "dark"},
}
PROMPTS = ("a harbour in the morning", "a mountain lake in autumn", "a lighthouse at dusk")


def draw(browser: Browser, server: LocalCyberun, picture: Path) -> None:
    """Ask for a few pictures; the last one is half done on a wide screen, and done on a narrow one."""
    name = picture.name
    context = browser.new_context(**PICTURES[name])
    page = context.new_page()
    page.goto("http://{}:{}/".format(*ADDRESS))
    for prompt in PROMPTS:
        before = page.url
        page.get_by_label("In words").fill(prompt)
        page.get_by_role("button", name="Paint it").click()
        page.wait_for_url(lambda url, before=before: url != before)
        expect(page.locator("#status")).to_contain_text("pending")
        is_last = prompt == PROMPTS[-1]
        server.clock.advance_blocking(3.61 if is_last and "wide" in name else 6)
        expect(page.locator("#status")).to_contain_text("13 of 20" if is_last and "wide" in name else "done")
    page.wait_for_load_state("networkidle" if "narrow" in name else "load")
    page.wait_for_timeout(500)
    page.screenshot(path=picture)
    context.close()


def main(folder: Path) -> None:
    """Serve the example, and draw both pictures."""
    with tempfile.TemporaryDirectory() as directory, LocalCyberun(clock="held") as server:
        settings = Settings(api_key=server.api_key, base_url=server.base_url, database=Path(directory, "tasks.db"))
        config = uvicorn.Config(
            create_app(settings), host=ADDRESS[0], port=ADDRESS[1], log_level="warning", timeout_graceful_shutdown=0
        )
        application = uvicorn.Server(config)
        thread = threading.Thread(target=application.run)
        thread.start()
        try:
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
                for name in PICTURES:
                    draw(browser, server, folder / name)
                browser.close()
        finally:
            application.should_exit = True
            thread.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
