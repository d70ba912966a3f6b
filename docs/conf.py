"""How the site is built: `nox -s docs`, and with `-- serve` to look at it."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from enum import Enum
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import attrs
from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.util.typing import stringify_annotation

import cyberun_async
from cyberun_async import _client
from cyberun_async._batch import batch, decisions, options
from cyberun_async._extras import IS_PUBLISHED, install_command
from cyberun_async.local import scripts

project = "cyberun-async"
author = "the cyberun-async authors"
project_copyright = "the cyberun-async authors"
release = installed_version("cyberun-async")
version = release

sys.path.insert(0, str(Path(__file__).parent))  # For `drawings`.
# The drawings wait for tasks, and what they log is no news of the build.
logging.getLogger("cyberun_async").setLevel(logging.WARNING)

extensions = [
    "drawings",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"cyberun-async {release}"
html_static_path = ["_style"]
html_css_files = ["drawings.css"]
html_search_scorer = str(Path(__file__).with_name("search_scorer.js"))
# A prompt or a printed line is not a part of the command.
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

# Docstrings are written in Markdown as far as it goes, since that is what editors show: names stand
# in single backticks, and examples between fences.
default_role = "literal"


# What the client loads only when it is used, its signatures name all the same.
LATER = {name: getattr(cyberun_async, name) for name in cyberun_async.__all__}
vars(_client).update(LATER, Items=batch.Items, OnError=options.OnError, Resubmit=decisions.Resubmit)


def fences_to_directives(*event: Any) -> None:
    """Turn each fenced example of a docstring, which comes as the last argument, into a `code-block` directive."""
    lines: list[str] = event[-1]
    turned: list[str] = []
    is_inside = False
    for line in lines:
        indent, mark, language = line.partition("```")
        if mark and not indent.strip():
            is_inside = not is_inside
            turned += [f"{indent}.. code-block:: {language.strip() or 'text'}", ""] if is_inside else [""]
        else:
            turned.append(f"    {line}".rstrip() if is_inside else line)
    lines[:] = turned


ALIASES = [
    (cyberun_async, "EventCallback"),
    (cyberun_async, "TaskEvent"),
    (cyberun_async, "TerminalEvent"),
    (cyberun_async, "TokenProvider"),
    (cyberun_async, "AbandonPolicy"),
    (cyberun_async, "DownloadProgress"),
    (cyberun_async, "UploadProgress"),
    (cyberun_async, "FileSource"),
    (scripts, "Step"),
]
"""What signatures name instead of spelling it out."""


def signature_for_readers(*event: Any) -> tuple[str, str | None] | None:
    """Show a signature as it is written in the source: with the names of unions, and with plain defaults."""
    _, what, _, item, _, signature, returned = event
    if signature is None:
        return None
    if what == "class" and "cyberun_async._" in signature:
        # Its users are given one, and never make one themselves.
        return "", returned
    for module, name in ALIASES:
        spelled_out = stringify_annotation(getattr(module, name), "smart")
        signature = signature.replace(spelled_out, f"~{module.__name__}.{name}")
        returned = returned and returned.replace(spelled_out, f"~{module.__name__}.{name}")
    if attrs.has(item):
        # What attrs generates has its defaults in a dictionary.
        for field in attrs.fields(item):
            default = _spell(field.default)
            signature = signature.replace(f"attr_dict['{field.name}'].default", default)
    return signature.replace("= NOTHING", "= ..."), returned


def _spell(default: object) -> str:
    # The `repr` of an enum's member is no expression, and neither is that of what came besides the documented fields.
    if isinstance(default, Enum):
        return f"{type(default).__name__}.{default.name}"
    return repr(dict(default) if isinstance(default, Mapping) else default)


def install_from_the_index(text: str) -> str:
    """Have a page install from the package index instead of a checkout."""
    text = re.sub(r"pip install '\.\[([\w,]+)\]'", lambda extra: install_command(extra[1]), text)
    return text.replace("pip install . ", "pip install cyberun-async ").replace(
        "In a checkout of this repository:\n", ""
    )


def adapt_page(*event: Any) -> None:
    """Adapt the text of a page or of a file that it includes, which comes as the last argument."""
    text: list[str] = event[-1]
    # Of the README, which lies one folder above the pages.
    text[0] = text[0].replace('src="docs/_static/', 'src="_static/')
    if IS_PUBLISHED:
        text[0] = install_from_the_index(text[0])


def setup(app: Sphinx) -> None:
    """Turn the fences before napoleon looks for sections, which is at the default of 500."""
    app.connect("source-read", adapt_page)
    app.connect("include-read", adapt_page)
    app.connect("autodoc-process-docstring", fences_to_directives, priority=400)
    app.connect("autodoc-process-signature", signature_for_readers)


myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "html_image"]
# A notebook is run whenever the site is built, and one that fails is no site.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
# A widget is closed when its cell has ended, so no page needs scripts of another site.
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
# Headings can be linked to from other pages, as on GitHub.
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Napoleon takes what stands before a colon in a property's first line for its type. Ours stand in
# annotations, and a sentence may have a colon.
GoogleDocstring._consume_inline_attribute = lambda self: (
    "",
    self._dedent(self._consume_to_end()),
)

nitpicky = True
# `type[...]` in a signature is Python's own; some of our classes have a field of that name.
suppress_warnings = ["ref.python"]
# Before Sphinx 8.2, which needs Python 3.11, an alias in a signature is not looked for among data.
nitpick_ignore = [("py:class", f"{module.__name__}.{name}") for module, name in ALIASES]
# No network is needed to build the site, so there is no inventory of other projects: what is not
# ours is named in the text, and not linked.
nitpick_ignore_regex = [
    *(
        (r"py:.*", rf"({other}|_{other})(\..*)?")
        for other in (
            "anyio",
            "asyncio",
            "attr",
            "attrs",
            "collections",
            "datetime",
            "enum",
            "httpx",
            "opentelemetry",
            "os",
            "pathlib",
            "sqlite3",
            "ssl",
            "types",
            "typing",
            "typing_extensions",
            "uuid",
        )
    ),
    # The type variables of generic methods and records.
    (r"py:class", r"cyberun_async\._\w+(\.\w+)*\.(_R|T|T_co)"),
]
