"""The version, where reading it costs no look at the disk; `pyproject.toml` has the same."""

VERSION = "0.1.0"
