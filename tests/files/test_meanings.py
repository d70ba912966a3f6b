"""What headers and names mean, by tables."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from support.tables import table

from cyberun_async._files.checksums import Checksum, checksum_of
from cyberun_async._files.resume import (
    NOTHING,
    Delivery,
    Have,
    range_headers,
    read_delivery,
    read_version,
    size_in_error,
    strong_etag,
    write_version,
)
from cyberun_async._files.storage_errors import read_storage_error
from cyberun_async._protocol.content_types import content_type_of, is_accepted

MD5 = "5d41402abc4b2a76b9719d911017c592"
SHA = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
SHA_HEX = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@table(
    ("headers", "expected"),
    [
        pytest.param({}, None, id="none"),
        pytest.param({"etag": f'"{MD5}"'}, Checksum("md5", MD5), id="ETag of S3"),
        pytest.param({"etag": MD5.upper()}, Checksum("md5", MD5), id="ETag of Swift"),
        pytest.param({"etag": f'"{MD5}-3"'}, None, id="uploaded in parts"),
        pytest.param({"etag": f'W/"{MD5}"'}, None, id="weak"),
        pytest.param({"etag": '"67361b4a-400"'}, None, id="ETag of nginx"),
        pytest.param({"etag": f'"{MD5}"', "x-amz-server-side-encryption": "aws:kms"}, None, id="encrypted by a key"),
        pytest.param(
            {"etag": f'"{MD5}"', "x-amz-server-side-encryption": "AES256"}, Checksum("md5", MD5), id="encrypted by S3"
        ),
        pytest.param(
            {"x-goog-hash": "md5=XUFAKrxLKna5cZ2REBfFkg==", "x-goog-stored-content-encoding": "gzip"},
            None,
            id="of the stored gzip",
        ),
        pytest.param({"etag": f'"{MD5}"', "x-goog-stored-content-encoding": "gzip"}, None, id="tag of the stored gzip"),
        pytest.param(
            {"etag": f'"{MD5}"', "x-goog-stored-content-encoding": "gzip", "content-encoding": "gzip"},
            Checksum("md5", MD5),
            id="of the gzip as it is stored",
        ),
        pytest.param(
            {"etag": f'"{MD5}"', "x-goog-stored-content-encoding": "identity"},
            Checksum("md5", MD5),
            id="stored plainly",
        ),
        pytest.param({"x-amz-checksum-crc32": "NhCmhg=="}, Checksum("crc32", "3610a686"), id="crc32"),
        pytest.param(
            {"etag": f'"{MD5}"', "x-amz-server-side-encryption-customer-algorithm": "AES256"}, None, id="by the user"
        ),
        pytest.param({"etag": f'"{MD5}"', "x-amz-checksum-sha256": SHA}, Checksum("sha256", SHA_HEX), id="sha256"),
        pytest.param({"x-amz-checksum-sha256": f"{SHA}-2"}, None, id="sha256 of parts"),
        pytest.param({"x-amz-checksum-sha256": "AAAA"}, None, id="sha256 that is too short"),
        pytest.param({"repr-digest": f"md5=:AA==:, sha-256=:{SHA}:"}, Checksum("sha256", SHA_HEX), id="Repr-Digest"),
        pytest.param(
            {"x-goog-hash": "crc32c=mnG7TA==, md5=XUFAKrxLKna5cZ2REBfFkg=="}, Checksum("md5", MD5), id="x-goog-hash"
        ),
    ],
)
def test_checksum(headers: dict[str, str], expected: Checksum | None) -> None:
    """A checksum is believed only where it is one of the whole file."""
    assert checksum_of(headers) == expected


HAVE = Have(10, '"v"')
V = {"etag": '"v"'}
OTHER_SHA = "A" * 43 + "="
SURE, UNSURE = Checksum("sha256", SHA_HEX), Checksum("md5", MD5, is_sure=False)


def of(what: Checksum | int) -> Have:
    """Give `HAVE` with what is known of the whole file."""
    return Have(10, '"v"', what) if isinstance(what, int) else Have(10, '"v"', checksum=what)


ALL = Have(10, '"v"', 10, SURE)


@table(
    ("status", "headers", "have", "expected"),
    [
        pytest.param(200, {"content-length": "20"}, NOTHING, (0, 20), id="whole"),
        pytest.param(200, {"content-length": "20"}, HAVE, (0, 20), id="whole to a range"),
        pytest.param(200, {}, NOTHING, (0, None), id="no length"),
        pytest.param(200, {"content-length": "x"}, NOTHING, (0, None), id="nonsense for a length"),
        pytest.param(200, {"content-length": "9" * 5000}, NOTHING, (0, None), id="a length of 5,000 digits"),
        pytest.param(206, {"content-range": "bytes 10-19/20", **V}, HAVE, (10, 20), id="the rest"),
        pytest.param(206, {"content-range": "bytes 10-19/20"}, HAVE, None, id="untagged"),
        pytest.param(206, {"content-range": "bytes 10-19/20", "etag": "W/x"}, HAVE, None, id="weakly tagged"),
        pytest.param(206, {"content-range": "bytes 10-19/20"}, of(SURE), (10, 20), id="untagged, with a checksum"),
        pytest.param(206, {"content-range": "bytes 10-19/20"}, of(UNSURE), (10, 20), id="untagged, with an MD5"),
        pytest.param(
            206,
            {"content-range": "bytes 10-19/20", **V, "x-amz-checksum-sha256": OTHER_SHA},
            of(SURE),
            None,
            id="another sum",
        ),
        pytest.param(206, {"content-range": "bytes 10-19/*", **V}, HAVE, None, id="the rest of who knows how much"),
        pytest.param(206, {"content-range": "bytes 10-19/*", **V}, of(20), (10, 20), id="the rest of a known size"),
        pytest.param(206, {"content-range": "bytes 10-18/19", **V}, of(20), None, id="another size"),
        pytest.param(206, {"content-range": "bytes 9-9/10", **V}, of(10), (10, 10), id="the last byte again"),
        pytest.param(206, {"content-range": "bytes 9-9/10", **V}, HAVE, None, id="the last byte, unasked for"),
        pytest.param(206, {"content-range": "bytes 9-9/10"}, ALL, None, id="the last byte of who knows which version"),
        pytest.param(206, {"content-range": "bytes 10-19/20", "etag": '"w"'}, HAVE, None, id="another version"),
        pytest.param(206, {"content-range": "bytes 9-19/20", **V}, HAVE, None, id="another range"),
        pytest.param(206, {"content-range": "bytes 10-19/20", "content-encoding": "gzip", **V}, HAVE, None, id="gzip"),
        pytest.param(206, {"content-range": "bytes 10-9/20", **V}, HAVE, None, id="an end before the beginning"),
        pytest.param(206, {"content-range": "bytes 10-20/20", **V}, HAVE, None, id="an end after the file"),
        pytest.param(206, {"content-range": "bytes */20", **V}, HAVE, None, id="no range in a 206"),
        pytest.param(206, {"content-range": "10-19/20", **V}, HAVE, None, id="another unit"),
        pytest.param(206, {"content-range": f"bytes 10-{'9' * 5000}/*", **V}, HAVE, None, id="5,000 digits"),
        pytest.param(206, V, HAVE, None, id="no range"),
        pytest.param(416, {"content-range": "bytes */10", **V}, HAVE, (10, 10), id="nothing is missing"),
        pytest.param(416, {"content-range": "bytes */10"}, HAVE, None, id="416 of who knows which version"),
        pytest.param(416, {"content-range": "bytes */10"}, of(SURE), None, id="416 of the last version, maybe"),
        pytest.param(416, {"content-range": "bytes */10", **V}, of(20), None, id="416 of another size"),
        pytest.param(416, {"content-range": "bytes */9", **V}, HAVE, None, id="too much is there"),
        pytest.param(416, V, HAVE, None, id="416 without a size"),
        pytest.param(416, {"content-range": "bytes */0"}, NOTHING, (0, 0), id="empty"),
        pytest.param(403, {"content-length": "20"}, NOTHING, None, id="refused"),
        pytest.param(204, {}, NOTHING, None, id="no content"),
    ],
)
def test_delivery(status: int, headers: dict[str, str], have: Have, expected: tuple[int, int | None] | None) -> None:
    """An answer brings bytes that belong to a place, or nothing that can be used."""
    delivery = read_delivery(status, headers, have)
    assert (delivery and (delivery.start, delivery.total)) == expected


@table(
    ("have", "expected"),
    [
        pytest.param(NOTHING, {}, id="nothing"),
        pytest.param(Have(0, '"v"'), {}, id="no bytes"),
        pytest.param(Have(10, None), {}, id="no version"),
        pytest.param(HAVE, {"Range": "bytes=10-", "If-Range": '"v"'}, id="both"),
        pytest.param(of(20), {"Range": "bytes=10-", "If-Range": '"v"'}, id="a part"),
        pytest.param(of(10), {"Range": "bytes=9-", "If-Range": '"v"'}, id="all"),
    ],
)
def test_range_headers(have: Have, expected: dict[str, str]) -> None:
    """A part is asked for only of the version that is there."""
    assert range_headers(have) == expected


@table(
    ("text", "seconds"),
    [
        pytest.param("Sat, 01 Feb 2025 10:00:00 GMT", 1738404000.0, id="HTTP"),
        pytest.param("Sat, 01 Feb 2025 10:00:00 -0000", 1738404000.0, id="no zone"),
        pytest.param("Sat, 01 Feb 2025 10:00:00 +0100", 1738400400.0, id="another zone"),
        pytest.param("Sat, 01 Feb 2025 10:00:00 +99999999", None, id="an impossible zone"),
        pytest.param("Sat, 01 Feb 99999999999 10:00:00 GMT", None, id="an impossible year"),
        pytest.param("Sat", None, id="no time"),
        pytest.param("", None, id="nothing"),
        pytest.param("\x00", None, id="NUL"),
    ],
)
def test_modified(text: str, seconds: float | None) -> None:
    """A time is one in UTC unless it says otherwise, and what is none is as if it were not there."""
    delivery = read_delivery(200, {"last-modified": text}, NOTHING)
    assert delivery is not None
    assert delivery.modified == seconds


@table("etag", ["", 'W/"v"', '"é"', '"\ud800"', '"\x00"', '"a\nb"', f'"{"x" * 1000}"'], ids=lambda tag: repr(tag)[:20])
def test_tags_that_cannot_be_sent_back(etag: str) -> None:
    """A tag that cannot be sent back, or is weak, is as if it were not there."""
    assert strong_etag({"etag": etag}) is None


def test_version_beside_a_temporary_file() -> None:
    """What is written beside a temporary file is read again, checksum and size included."""
    for have in (HAVE, of(20), of(SURE), of(UNSURE)):
        read = read_version(write_version(have, "here"), 10, "here")
        assert read == have
        assert not (read.checksum and read.checksum.is_sure) or have is not UNSURE


@table(
    ("text", "size"),
    [
        pytest.param(b"", 10, id="empty"),
        pytest.param(b"\x00" * 70, 10, id="NULs"),
        pytest.param(b"\xff\xfe", 10, id="no UTF-8"),
        pytest.param(b'"v"', 10, id="a tag alone"),
        pytest.param(b"[" * 100_000, 10, id="nested"),
        pytest.param(b'{"etag": "' + b'"v"' + b'"}', 10, id="half"),
        pytest.param(write_version(Have(0, "\x00\x00"), "here"), 10, id="a tag of NULs"),
        pytest.param(write_version(Have(0, None), "here"), 10, id="no tag"),
        pytest.param(write_version(of(9), "here"), 10, id="more than the whole"),
        pytest.param(write_version(of(20), "another boot"), 10, id="from before a power cut"),
        pytest.param(write_version(of(Checksum("md5", "x")), "another boot"), 10, id="with a checksum that is none"),
    ],
)
def test_nothing_to_resume(text: bytes, size: int) -> None:
    """What is left of another version, of a power cut or of anything else is not resumed."""
    assert read_version(text, size, "here") == NOTHING


def test_resumed_after_a_power_cut() -> None:
    """What was written before the machine started last is resumed only where a checksum will be compared."""
    assert read_version(write_version(of(SURE), "another boot"), 10, "here") == of(SURE)


def test_size_in_refusal() -> None:
    """S3 says the size of a file in the body of a 416."""
    assert size_in_error(b"<Error><ActualObjectSize>12</ActualObjectSize></Error>") == 12
    assert size_in_error(b"<Error/>") is None


@table(
    ("name", "expected"),
    [
        ("a.PNG", "image/png"),
        ("a.tar.gz", "application/gzip"),
        (".png", "application/octet-stream"),
        ("a", "application/octet-stream"),
    ],
)
def test_content_type(name: str, expected: str) -> None:
    """A name stands for a type by its extension."""
    assert content_type_of(name) == expected


@table(
    ("accept", "name", "accepted"),
    [
        pytest.param([], "a.gif", True, id="no list"),
        pytest.param(["image/png"], "a.png", True, id="type"),
        pytest.param(["IMAGE/PNG"], "a.png", True, id="type in capitals"),
        pytest.param(["image/*"], "a.png", True, id="kind"),
        pytest.param(["image/*"], "a.mp4", False, id="another kind"),
        pytest.param(["*/*"], "a.mp4", True, id="everything"),
        pytest.param(["*"], "a.mp4", True, id="everything, in short"),
        pytest.param([".jpg"], "a.jpeg", True, id="the same type by another extension"),
        pytest.param([".jpg"], "a.JPG", True, id="extension"),
        pytest.param(["jpg, png"], "a.png", True, id="several in one, without dots"),
        pytest.param([".ply"], "a.ply", True, id="an extension without a type"),
        pytest.param([".ply"], "a.xyz", False, id="another extension"),
        pytest.param(["image/png"], "file", True, id="no name to go by"),
    ],
)
def test_accept(accept: list[str], name: str, accepted: bool) -> None:
    """A parameter accepts files by type, by kind and by extension."""
    assert is_accepted(accept, name, content_type_of(name)) == accepted


@table(
    ("status", "body", "expected"),
    [
        pytest.param(
            403, b"<Code>A</Code><Message>b &amp; c</Message>", "rejected the presigned URL (403: A, b & c)", id="S3"
        ),
        pytest.param(
            403, b"<StringToSign>secret</StringToSign>", "rejected the presigned URL (403)", id="what it signs"
        ),
        pytest.param(418, b"\xff\xfe", "the storage refused (418)", id="no text"),
        pytest.param(302, b"", "redirects to another place, which is not followed (302)", id="redirect"),
    ],
)
def test_refusal(status: int, body: bytes, expected: str) -> None:
    """Of a refusal's body, only what is documented as its code and message is told."""
    reason = read_storage_error(status, {}, body).reason
    assert reason.endswith(expected)
    assert "secret" not in reason


@table(
    ("modified", "moment"),
    [
        pytest.param(None, None, id="not said"),
        pytest.param(0.0, datetime(1970, 1, 1, tzinfo=timezone.utc), id="the first second"),
        pytest.param(1e20, None, id="after the last year"),
        pytest.param(float("nan"), None, id="no number"),
    ],
)
def test_when_a_file_was_stored(modified: float | None, moment: datetime | None) -> None:
    """A moment that no calendar has is as if it had not been said."""
    delivery = Delivery(start=0, end=None, total=None, etag=None, checksum=None, modified=modified)
    assert delivery.stored_at == moment


@table(
    ("passing", "statuses"),
    [
        pytest.param(True, [408, 425, 429, 500, 502, 503, 504, 507, 520, 522, 524, 530], id="retried"),
        pytest.param(False, [302, 400, 401, 403, 404, 405, 410, 412, 413, 416, 501, 505], id="final"),
    ],
)
def test_passing(passing: bool, statuses: list[int]) -> None:
    """A storage, too, stands behind proxies and networks with numbers of their own."""
    assert {read_storage_error(status, {}, b"").is_transient for status in statuses} == {passing}
