"""Keeping secrets out of the logs of the layers below."""

import logging

from cyberun_async._protocol.hiding import hide


class _Hide(logging.Filter):
    """Cuts whatever looks like a key or a signed link out of a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = hide(record.getMessage()), ()
        return True


_hide = _Hide()


def hide_secrets_in_foreign_logs() -> None:
    """Have httpcore log what a server's headers say without keys and signatures: a redirect may lead to a signed link."""
    for name in ("httpcore.http11", "httpcore.http2"):
        # A logger takes the same filter once.
        logging.getLogger(name).addFilter(_hide)
