"""Input files on their way to storage."""

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class PresignedUpload:
    """A place in storage that one file may be sent to.

    Source: https://docs.cyberun.cloud/api-reference/file/request-a-presigned-upload-url

    Attributes:
        file_key: The value to give for a `file` parameter; opaque.
        upload_url: A signed link for one PUT of the file's bytes, without a key; never shown.
        upload_headers: To be sent with that PUT exactly as they are, since they are signed; never shown.

    """

    file_key: str
    upload_url: str = attrs.field(repr=False)
    upload_headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
