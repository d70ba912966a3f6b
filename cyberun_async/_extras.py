"""Optional dependencies: which extra is missing, and how it is installed. (pip install, ModuleNotFoundError)"""

IS_PUBLISHED = False
"""Whether a package index has this package. A release sets it: messages and pages then install from there.

Until then they install from a checkout. `README.md` cannot read this, so a test compares the two.
"""


def install_command(extra: str) -> str:
    """Give the command that installs the package with an extra."""
    return f"pip install 'cyberun-async[{extra}]'" if IS_PUBLISHED else f"pip install '.[{extra}]'"


def missing_extra(what: str, extra: str) -> str:
    """Say which extra is missing, and how to install it."""
    where = "" if IS_PUBLISHED else " in a checkout of cyberun-async"
    return f"{what} needs the extra {extra!r}: {install_command(extra)}{where}"
