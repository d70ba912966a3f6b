"""How the site is built: `nox -s docs`, and with `-- serve` to look at it."""

from __future__ import annotations

from importlib.metadata import version as installed_version

from sphinx.ext.napoleon import GoogleDocstring

project = "cyberun-async"
author = "the cyberun-async authors"
project_copyright = "the cyberun-async authors"
release = installed_version("cyberun-async")
version = release

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = f"cyberun-async {release}"
html_static_path: list[str] = []
# A prompt or a printed line is not a part of the command.
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
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
# No network is needed to build the site, so there is no inventory of other projects: what is not
# ours is named in the text, and not linked.
nitpick_ignore_regex = [
    (r"py:.*", rf"({other}|_{other})(\..*)?")
    for other in (
        "anyio",
        "attr",
        "attrs",
        "collections",
        "datetime",
        "enum",
        "httpx",
        "os",
        "pathlib",
        "ssl",
        "typing",
        "uuid",
    )
]
