"""Logging in one line: `CYBERUN_LOG=debug` writes what a client does to stderr. (verbose, trace)"""

import logging
import os
import sys
import time
from collections.abc import Mapping

from cyberun_async._protocol.redaction import redact

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_OFF = {"", "0", "false", "no", "off"}

log = logging.getLogger("cyberun_async")


class _Lines(logging.Formatter):
    """One line for each record, in UTC, from which every secret is cut out, as in an error's message."""

    converter = time.gmtime  # type: ignore[assignment] # as its documentation has it
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _Handler(logging.Handler):
    """Writes to stderr, unless the program has handlers of its own, which write every record already."""

    def emit(self, record: logging.LogRecord) -> None:
        # Looked up each time: a progress bar puts another stream there, so that lines do not break it.
        if sys.stderr is not None and not _has_handlers_of_its_own():
            try:
                sys.stderr.write(f"{self.format(record)}\n")
                sys.stderr.flush()
            except Exception:  # noqa: BLE001 - as in handlers of the standard library
                self.handleError(record)


def _has_handlers_of_its_own() -> bool:
    return bool(logging.getLogger().handlers)


def set_up_logging(environment: Mapping[str, str] = os.environ) -> None:
    """Have the loggers of this package write to stderr, at the level that `CYBERUN_LOG` names; nothing without it."""
    wanted = environment.get("CYBERUN_LOG", "").strip().lower()
    if wanted in _OFF:
        return
    if not any(isinstance(handler, _Handler) for handler in log.handlers):
        handler = _Handler()
        handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
    log.setLevel(_LEVELS.get(wanted, logging.INFO))
    if wanted not in _LEVELS:
        log.warning("CYBERUN_LOG must be one of %s, not %r; info is taken", ", ".join(_LEVELS), wanted[:20])
