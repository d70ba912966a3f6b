"""What headers and names mean, by tables."""

from __future__ import annotations

import pytest

from cyberun_async import Retries
from cyberun_async._protocol.checksums import Checksum, checksum_of
from cyberun_async._protocol.content_types import content_type_of, is_accepted
from cyberun_async._protocol.ranges import NOTHING, Have, range_headers, read_delivery, size_in_refusal
from cyberun_async._protocol.transfers import Patience, read_refusal

MD5 = "5d41402abc4b2a76b9719d911017c592"
SHA = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="
SHA_HEX = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("status", "headers", "have", "expected"),
    [
        pytest.param(200, {"content-length": "20"}, NOTHING, (0, 20), id="whole"),
        pytest.param(200, {"content-length": "20"}, HAVE, (0, 20), id="whole to a range"),
        pytest.param(200, {}, NOTHING, (0, None), id="no length"),
        pytest.param(200, {"content-length": "x"}, NOTHING, (0, None), id="nonsense for a length"),
        pytest.param(206, {"content-range": "bytes 10-19/20", "etag": '"v"'}, HAVE, (10, 20), id="the rest"),
        pytest.param(206, {"content-range": "bytes 10-19/20"}, HAVE, (10, 20), id="the rest, untagged"),
        pytest.param(206, {"content-range": "bytes 10-19/*"}, HAVE, (10, None), id="the rest of who knows how much"),
        pytest.param(206, {"content-range": "bytes 10-19/20", "etag": '"w"'}, HAVE, None, id="another version"),
        pytest.param(206, {"content-range": "bytes 9-19/20"}, HAVE, None, id="another range"),
        pytest.param(206, {"content-range": "10-19/20"}, HAVE, None, id="another unit"),
        pytest.param(206, {}, HAVE, None, id="no range"),
        pytest.param(416, {"content-range": "bytes */10"}, HAVE, (10, 10), id="nothing is missing"),
        pytest.param(416, {"content-range": "bytes */9"}, HAVE, None, id="too much is there"),
        pytest.param(416, {}, HAVE, None, id="416 without a size"),
        pytest.param(416, {"content-range": "bytes */0"}, NOTHING, (0, 0), id="empty"),
        pytest.param(403, {"content-length": "20"}, NOTHING, None, id="refused"),
        pytest.param(204, {}, NOTHING, None, id="no content"),
    ],
)
def test_delivery(status: int, headers: dict[str, str], have: Have, expected: tuple[int, int | None] | None) -> None:
    """An answer brings bytes that belong to a place, or nothing that can be used."""
    delivery = read_delivery(status, headers, have)
    assert (delivery and (delivery.start, delivery.total)) == expected


@pytest.mark.parametrize(
    ("have", "expected"),
    [
        pytest.param(NOTHING, {}, id="nothing"),
        pytest.param(Have(0, '"v"'), {}, id="no bytes"),
        pytest.param(Have(10, None), {}, id="no version"),
        pytest.param(HAVE, {"Range": "bytes=10-", "If-Range": '"v"'}, id="both"),
    ],
)
def test_range_headers(have: Have, expected: dict[str, str]) -> None:
    """A part is asked for only of the version that is there."""
    assert range_headers(have) == expected


def test_size_in_refusal() -> None:
    """S3 says the size of a file in the body of a 416."""
    assert size_in_refusal(b"<Error><ActualObjectSize>12</ActualObjectSize></Error>") == 12
    assert size_in_refusal(b"<Error/>") is None


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        pytest.param(403, b"<Code>A</Code><Message>b &amp; c</Message>", "refused the link (403: A, b & c)", id="S3"),
        pytest.param(403, b"<StringToSign>secret</StringToSign>", "refused the link (403)", id="what it signs"),
        pytest.param(418, b"\xff\xfe", "the storage refused (418)", id="no text"),
        pytest.param(302, b"", "redirects to another place, which is not followed (302)", id="redirect"),
    ],
)
def test_refusal(status: int, body: bytes, expected: str) -> None:
    """Of a refusal's body, only what is documented as its code and message is told."""
    reason = read_refusal(status, {}, body).reason
    assert reason.endswith(expected)
    assert "secret" not in reason


def test_patience() -> None:
    """Delays double up to a bound, end with the budget, and start over when something moves."""
    patience = Patience(Retries(budget=10, initial=1, maximum=4, retry_after=5), 0, jitter=lambda: 1.0)
    assert [patience.delay(0) for _ in range(4)] == [1, 2, 4, 4]
    assert patience.delay(7) is None
    patience.progressed(7)
    assert patience.delay(7, asked=5) == 6
    assert patience.delay(7, asked=6) is None
