"""Where the package is installed from is said in one place, which a release switches."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tables import table

from cyberun_async import _extras

ROOT = Path(__file__).parents[1]


def test_the_readme_installs_as_the_messages_do() -> None:
    """Its first command is the one that a missing extra names."""
    assert f"$ {_extras.install_command('cli,local')}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


@table("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_pages_install_from_a_checkout(page: Path) -> None:
    """The site rewrites these lines once a package index has the package, so no page names one."""
    assert "pip install 'cyberun-async" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("is_published", "message"),
    [
        (False, "http2 needs the extra 'http2': pip install '.[http2]' in a checkout of cyberun-async"),
        (True, "http2 needs the extra 'http2': pip install 'cyberun-async[http2]'"),
    ],
)
def test_messages(monkeypatch: pytest.MonkeyPatch, is_published: bool, message: str) -> None:
    """A message names the extra, and the command that works now."""
    monkeypatch.setattr(_extras, "IS_PUBLISHED", is_published)
    assert _extras.missing_extra("http2", "http2") == message
