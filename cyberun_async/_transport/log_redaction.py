"""Keeping the key and other secrets out of the logs of the layers below: httpx, httpcore, h11. (redact, DEBUG)"""

import logging
import re

from cyberun_async._protocol.redaction import redact

_WITH_HEADERS = ("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks")
"""Loggers of what a server's headers say, where a redirect may lead to a signed link, and of how a proxy is asked."""

_OF_HEADER_BLOCKS = ("hpack.hpack", "hpack.table")
"""Loggers of little but blocks of headers, ours among them, in the coding that hpack itself is there to undo."""

_PROXY_PASSWORD = re.compile(r"\bauth=\(.*")


def _rewrite(record: logging.LogRecord) -> bool:
    """Cut every key in use, what looks like one, presigned URLs and a proxy's password out of a record."""
    record.msg, record.args = _PROXY_PASSWORD.sub("auth=[hidden]", redact(record.getMessage())), ()
    return True


def _drop(_: logging.LogRecord) -> bool:
    """Leave a record out."""
    return False


def redact_foreign_logs() -> None:
    """Have the layers below log nothing that a key, a signature or a proxy's password could be read from."""
    for names, each in ((_WITH_HEADERS, _rewrite), (_OF_HEADER_BLOCKS, _drop)):
        for name in names:
            # A logger takes the same filter once.
            logging.getLogger(name).addFilter(each)
