"""The web example as its visitors see it, in headless Chromium."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.lazily import Lazily
from web.conftest import Site, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

playwright = Lazily("playwright.sync_api")

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(90),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"),
]

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""For a machine without a screen and a network."""

UNTIL_RUNNING, STEPS = 1.0, 20
A_STEP = 4 / STEPS
TALL = 64, 96


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Start one browser for all tests here."""
    pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install --group tests")
    playwright.expect.set_options(timeout=20_000)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def profile(chromium: Browser) -> Iterator[BrowserContext]:
    """Keep one profile with an empty tab for all visitors: most of a tab's cost is a process that is new."""
    context = chromium.new_context()
    context.new_page()
    yield context
    context.close()


@pytest.fixture
def visitor(profile: BrowserContext) -> Iterator[BrowserContext]:
    """Give a visitor of their own to each test: cookies, tabs."""
    yield profile
    for page in profile.pages[1:]:
        page.close()
    profile.clear_cookies()


def open_page(visitor: BrowserContext, site: Site, task: str = "") -> Page:
    """Open a tab."""
    page = visitor.new_page()
    page.goto(f"{site.address}/{task}")
    return page


def ask_for_a_picture(page: Page) -> str:
    """Submit the form, and give what the address then ends with, once the page shows the status of the task."""
    before = page.url
    page.get_by_role("button", name="Paint it").click()
    page.wait_for_url(lambda url: url != before)
    sees(page, "pending", 0)
    return f"#{page.url.partition('#')[2]}"


def sees(page: Page, text: str, bar: float) -> None:
    """Wait until the page says something, and shows how far the task is."""
    playwright.expect(page.locator("#status span").first).to_have_text(text)
    playwright.expect(page.locator("progress")).to_have_js_property("value", bar)


def sees_the_picture(page: Page) -> None:
    """Wait until the picture is there."""
    sees(page, "done", 1)
    playwright.expect(page.locator("#picture")).to_be_visible()
    assert page.evaluate("document.querySelector('#picture').naturalWidth") > 0


def to_step(site: Site, step: int, of: int | None = None) -> None:
    """Let the task get from its start, or from another step, to a step."""
    before = -UNTIL_RUNNING if of is None else of * A_STEP
    # A hair more, since fifths are no binary fractions.
    site.cyberun.clock.advance_blocking(step * A_STEP - before + 0.001)


def test_the_bar_moves_and_the_picture_appears(site: Site, visitor: BrowserContext) -> None:
    """A visitor asks for a picture, sees how it gets on, and sees it; where it is stored, nothing tells them."""
    page = open_page(visitor, site)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    ask_for_a_picture(page)
    for step, of in ((5, None), (10, 5), (19, 10)):
        to_step(site, step, of)
        sees(page, "painting", step / STEPS)
        playwright.expect(page.locator("#status")).to_contain_text(f"{step} of 20")
    to_step(site, 20, 19)
    sees_the_picture(page)

    assert all(url.startswith(site.address) for url in asked)
    assert site.cyberun.storage.origin not in page.content()
    assert site.count("tasks.events") == 1


def test_a_picture_of_ones_own(site: Site, visitor: BrowserContext, tmp_path: Path) -> None:
    """A visitor uploads a picture, and sees what became of it."""
    image = pytest.importorskip("PIL.Image")
    image.new("RGB", TALL, "teal").save(tmp_path / "mine.png")
    page = open_page(visitor, site)
    page.get_by_label("From a picture").set_input_files(tmp_path / "mine.png")
    ask_for_a_picture(page)
    to_step(site, 20)
    sees_the_picture(page)

    size = "[document.querySelector('#picture').naturalWidth, document.querySelector('#picture').naturalHeight]"
    assert page.evaluate(size) == list(TALL)


def test_a_second_tab_sees_the_same(site: Site, visitor: BrowserContext) -> None:
    """Two tabs with one address show one task, over one upstream stream."""
    first = open_page(visitor, site)
    task = ask_for_a_picture(first)
    to_step(site, 8)
    second = open_page(visitor, site, task)
    for page in (first, second):
        sees(page, "painting", 0.4)
    to_step(site, 20, 8)
    for page in (first, second):
        sees_the_picture(page)

    assert site.count("tasks.events") == 1


@pytest.mark.parametrize("settings", [{"linger": 60}], ids=["lingering"])
def test_a_reload_goes_on(site: Site, visitor: BrowserContext) -> None:
    """A page that is loaded again in the middle shows where the task is, and goes on."""
    page = open_page(visitor, site)
    ask_for_a_picture(page)
    to_step(site, 8)
    sees(page, "painting", 0.4)
    page.reload()
    sees(page, "painting", 0.4)
    to_step(site, 12, 8)
    sees(page, "painting", 0.6)
    to_step(site, 20, 12)
    sees_the_picture(page)

    assert site.count("tasks.events") == 1


def test_the_backend_restarts(site: Site, visitor: BrowserContext) -> None:
    """The page says that the connection is gone, makes it again by itself, and shows the picture."""
    page = open_page(visitor, site)
    ask_for_a_picture(page)
    to_step(site, 8)
    sees(page, "painting", 0.4)
    site.stop()
    sees(page, "connecting again …", 0.4)
    site.start()
    sees(page, "running", 0.4)
    to_step(site, 12, 8)
    sees(page, "painting", 0.6)
    to_step(site, 20, 12)
    sees_the_picture(page)


def test_the_backend_is_away_behind_a_proxy(site: Site, visitor: BrowserContext) -> None:
    """Answers of 502 make a browser give up its stream; the page makes another when there is somebody again."""
    page = open_page(visitor, site)
    task = ask_for_a_picture(page)
    events = re.compile("/tasks/.*")
    visitor.route(events, lambda route: route.fulfill(status=502, body="Bad Gateway"))
    page.reload()
    sees(page, "connecting again …", 0)
    visitor.unroute(events)
    to_step(site, 20)
    sees_the_picture(page)
    assert page.url.endswith(task)


def test_nothing_is_left_when_the_tabs_are_closed(site: Site, visitor: BrowserContext) -> None:
    """The upstream stream is there while a tab is, and neither the relay nor Cyberun has one after the last is closed."""
    tabs = [open_page(visitor, site)]
    task = ask_for_a_picture(tabs[0])
    tabs += [open_page(visitor, site, task) for _ in range(2)]
    to_step(site, 8)
    for tab in tabs:
        sees(tab, "painting", 0.4)
    for tab in tabs[1:]:
        tab.close()
    to_step(site, 12, 8)
    sees(tabs[0], "painting", 0.6)
    assert site.upstreams() == (1, 1)
    tabs[0].close()
    until(lambda: site.upstreams() == (0, 0))


def test_others_see_nothing(site: Site, visitor: BrowserContext, chromium: Browser) -> None:
    """Another visitor who has the address is told that there is no such picture of theirs."""
    task = ask_for_a_picture(open_page(visitor, site))
    other = chromium.new_context()
    try:
        page = open_page(other, site, task)
        playwright.expect(page.locator("#status")).to_contain_text("There is no such picture of yours.")
    finally:
        other.close()


def test_failures_are_told(site: Site, visitor: BrowserContext) -> None:
    """A task that fails says why, and a visitor who asks for too much is told so."""
    scripts = pytest.importorskip("cyberun_async.local.scripts")
    for ending in (scripts.fail("out of memory"), scripts.cancel()):
        site.cyberun.script("text-to-image", [scripts.status("pending"), scripts.after(1), ending])
    page = open_page(visitor, site)
    for shown in ("failed: out of memory", "cancelled"):
        ask_for_a_picture(page)
        site.cyberun.clock.advance_blocking(1)
        sees(page, shown, 0)
    for _ in range(3):
        ask_for_a_picture(page)
    page.get_by_role("button", name="Paint it").click()
    problem = page.get_by_role("alert")
    playwright.expect(problem).to_contain_text("3 pictures at a time")
    to_step(site, 8)
    sees(page, "painting", 0.4)
    playwright.expect(problem).to_contain_text("3 pictures at a time")


def test_a_picture_is_cancelled(site: Site, visitor: BrowserContext) -> None:
    """A button cancels the task, and is there for as long as there is something to cancel."""
    page = open_page(visitor, site)
    button = page.get_by_role("button", name="Cancel")
    playwright.expect(button).to_be_hidden()
    ask_for_a_picture(page)
    to_step(site, 8)
    button.click()
    sees(page, "cancelled", 0.4)
    playwright.expect(button).to_be_hidden()
    assert site.count("tasks.cancel") == 1


def test_a_picture_is_saved(site: Site, visitor: BrowserContext) -> None:
    """A link saves the picture that is shown, under a name with its type."""
    page = open_page(visitor, site)
    link = page.get_by_role("link", name="Save the picture")
    playwright.expect(link).to_be_hidden()
    ask_for_a_picture(page)
    to_step(site, 20)
    sees_the_picture(page)
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename.endswith(".png")
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def test_what_is_no_picture(site: Site, visitor: BrowserContext, tmp_path: Path) -> None:
    """A text that is called a picture is refused beside the form, and nothing is ordered."""
    (tmp_path / "notes.png").write_text("a list of things to buy")
    page = open_page(visitor, site)
    page.get_by_label("From a picture").set_input_files(tmp_path / "notes.png")
    page.get_by_role("button", name="Paint it").click()
    playwright.expect(page.get_by_role("alert")).to_contain_text("no picture")
    assert site.count("workflows.run") == 0
