"""Look at the built site in headless Chromium: search finds things, and no page is wider than its screen.

python docs/check_site.py docs/_build/html
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Literal

from playwright.sync_api import Page, sync_playwright

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]

SEARCHES = {
    "wait_for_result": {"waiting.html", "reference/client.html"},
    "idempotency": {"retries.html"},
    "SSL_CERT_FILE": {"proxies.html", "self-hosted.html"},
}
"""What somebody may look for, and the pages that have to be among what is found."""

FOUND_FIRST = {
    "retry": {"retries.html"},
    "poll": {"waiting.html"},
    "resume": {"files.html", "batches.html"},
    "backpressure": {"batches.html"},
    "presigned": {"files.html"},
    "cancel": {"timeouts.html"},
    "idempotent": {"retries.html", "batches.html"},
    "rate limit": {"retries.html", "bots.html"},
    "deduplicate": {"events.html", "webhooks.html"},
    "replicate": {"coming-from.html"},
}
"""What somebody is likely to look for, and the pages of which one has to be found first."""

SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
SCREENS = {"wide": (1440, 900), "narrow": (390, 844)}
LEAST_CONTRAST = 4.5
"""What https://www.w3.org/TR/WCAG22/#contrast-minimum asks for."""

WIDE_PARTS = "() => document.documentElement.scrollWidth - innerWidth"

CUT_OFF = """() => [...document.querySelectorAll("article pre, article img")]
    .filter((part) => part.tagName == "IMG"
        ? part.getBoundingClientRect().right > part.closest("article").getBoundingClientRect().right + 1
        : part.scrollWidth > part.clientWidth + 1)
    .map((part) => (part.innerText || part.src).slice(0, 60).replaceAll("\\n", " "))"""
"""What has to be moved along to be read, of code and pictures."""

HARD_TO_READ = """(least) => {
    const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
    const light = (color) => numbers(color).slice(0, 3)
        .map((part) => part / 255)
        .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const behind = light(getComputedStyle(document.body).backgroundColor);
    const wrong = [];
    for (const text of document.querySelectorAll(".drawing text")) {
        const [low, high] = [light(getComputedStyle(text).fill), behind].sort((a, b) => a - b);
        const drawing = text.ownerSVGElement;
        const size = parseFloat(getComputedStyle(text).fontSize) * drawing.getScreenCTM().a;
        const box = text.getBBox(), whole = drawing.viewBox.baseVal;
        if ((high + 0.05) / (low + 0.05) < least) wrong.push(`${text.textContent} has too little contrast`);
        if (size < 9) wrong.push(`${text.textContent} is ${size.toFixed(1)} pixels high`);
        if (box.x < 0 || box.x + box.width > whole.width) wrong.push(`${text.textContent} is cut off`);
    }
    return wrong;
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(site: Path) -> Iterator[str]:
    """Serve the site on loopback; pages from a disk may not read their own search index."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def missed(page: Page, address: str) -> Iterator[str]:
    """Search as a reader does, and name the pages that are not found."""
    for words, wanted in SEARCHES.items():
        found = search(page, address, words)
        yield from (f"searching for {words} does not find {each}" for each in sorted(wanted - set(found)))
    for words, wanted in FOUND_FIRST.items():
        found = search(page, address, words)
        if not found or found[0] not in wanted:
            yield f"searching for {words} finds first {found[:3]}, not {' or '.join(sorted(wanted))}"


def search(page: Page, address: str, words: str) -> list[str]:
    """Give the pages that a search finds, in their order."""
    page.goto(address)
    page.get_by_role("textbox", name="Search").first.fill(words)
    page.keyboard.press("Enter")
    page.wait_for_function(
        "() => document.querySelector('#search-results p.search-summary')?.innerText.match(/found|did not match/)"
    )
    links = page.locator("#search-results li a")
    return links.evaluate_all("links => links.map(each => each.pathname.slice(1))")


def ugly(page: Page, address: str, names: list[str]) -> Iterator[str]:
    """Go through the pages on a wide and on a narrow screen, in light and in dark, and say what is wrong."""
    for name in names:
        page.goto(address + name)
        for screen, (width, height) in SCREENS.items():
            page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                page.emulate_media(color_scheme=scheme)
                where = f"{name} ({screen}, {scheme})"
                if (beyond := page.evaluate(WIDE_PARTS)) > 0:
                    yield f"{where} is {beyond} pixels wider than the screen"
                yield from (f"{where} cuts off: {part}" for part in page.evaluate(CUT_OFF))
                yield from (f"{where}: {problem}" for problem in page.evaluate(HARD_TO_READ, LEAST_CONTRAST))


def main(site: Path) -> int:
    """Print what is wrong; the exit code tells whether anything is."""
    if CHROMIUM is None:
        problem = "the look at the site needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"
        print(f"left out: {problem}")
        if "SKIPPED" in os.environ:
            Path(os.environ["SKIPPED"]).write_text(f"{problem}\n", encoding="utf-8")
        return 0
    pages = sorted(str(path.relative_to(site)) for path in site.rglob("*.html"))
    with serving(site) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        problems = [*missed(browser.new_page(), address), *ugly(browser.new_page(), address, pages)]
        browser.close()
    print("\n".join(problems) or f"search works, and {len(pages)} pages fit their screens")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
