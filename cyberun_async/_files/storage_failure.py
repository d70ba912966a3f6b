"""What goes wrong between here and the storage, before it is an error about a file."""

from cyberun_async._protocol.redaction import redact
from cyberun_async._protocol.secret import Secret, secrets_of_url
from cyberun_async._transport.error_mapping import describe_cause, foreign_failures, is_retryable, shown_cause


class StorageFailure(Exception):
    """The storage did not respond, or its response was interrupted.

    Attributes:
        retryable: Whether a retry may help.

    """

    def __init__(self, reason: str, *, retryable: bool) -> None:
        super().__init__(reason)
        self.retryable = retryable


def storage_failure(url: Secret[str], error: Exception) -> Exception:
    """Give what the layers below raise as a `StorageFailure` that says nothing of the signature, and any other as it is."""
    if not isinstance(error, foreign_failures()):
        return error
    secrets = secrets_of_url(url)
    failure = StorageFailure(redact(describe_cause(error), secrets), retryable=is_retryable(error))
    failure.__cause__ = shown_cause(error, secrets)
    return failure
