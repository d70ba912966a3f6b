"""Check that each link inside the built site leads to a page, and to a place on it.

Links to other sites are left alone: the check needs no network, and fails for nobody else's fault.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The places and the links of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = set()
        self.links: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.places.add(value)
            elif value and name in {"href", "src"}:
                self.links.add(value)


def dead_links(root: Path) -> list[str]:
    """Name each link that leads nowhere, with its page."""
    pages = {path.resolve(): Page(path) for path in root.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            place = unquote(parts.fragment)
            missing_place = place and target in pages and place not in pages[target].places
            if not target.exists() or missing_place:
                dead.append(f"{path.relative_to(root.resolve())}: {link}")
    return dead


def main() -> int:
    """Print the dead links of the site; the exit code tells whether there are any."""
    dead = dead_links(Path(sys.argv[1]))
    print("\n".join(dead) or "every internal link leads somewhere")
    return 1 if dead else 0


if __name__ == "__main__":
    sys.exit(main())
