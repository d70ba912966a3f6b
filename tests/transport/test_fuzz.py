"""Hostile values in every place that a server or a storage can fill.

Whatever they are: only errors of ours, nothing left open, and no key and no signature in anything that hangs on an
error, in a pickle or in a log of any logger at its lowest level.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.sampling import count, seeds
from support.secrecy import everything_about, everything_logged
from support.wire import Wire

from cyberun_async import AsyncClient, CyberunError, OutputFile, Polling, Retries, TaskError, TaskResult, Timeouts

KEY = "Zm9v/YmFy+.cXV4" + "8" * 30
"""A token whose family shows nowhere."""

SIGNATURE = "deadbeef" * 8
LINK = f"https://bucket.test/a.png?X-Amz-Credential=AKIA12345678&X-Amz-Signature={SIGNATURE}"
ROUNDS = 25
"""Uses of the client, in each of which some 25 values are drawn: the soak draws 100,000 on each event loop."""


HOSTILE: list[str] = [
    "", " ", "\t", "\x00", "\x7f", "\ud800", "\udfff x", "é", "\U0001f600", "\u2028", "\ufeff", "a" * 5000, "9" * 5000,
    "0", "-1", "1e999", "NaN", "²", "٣", "0x10", "..", ".", "../../x", "a/b", "CON", "~", "%00", "%ff", "%", "\\", '"',
    "'", "<script>", "{", "]", "null", "a\r\nX-Evil: 1", "a\nb", 'W/"x"', '"x"', '"', "*", "identity", "gzip", "br",
    "chunked", "close", "text/event-stream", "text/event-stream; charset=utf-16", "http://[::1/x", "http://[foo]/x",
    "https://foo..bar/x", "https://xn--/x", "https://h.test:99999/x", "https://h.test:0/", "https://user:pw@h.test/x",
    "https://h.test/\ud800", "//h.test/x", "/x", "ftp://h.test/x", "javascript:x", "https://" + "x" * 300 + "/",
    "https://h.test/" + "x" * 70_000, "https://é.test/", "https://h.test/a b", "http://0/", "https://[fe80::1%25lo]/",
    "Tue, 31 Feb 2025 25:61:61 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "Thu, 01 Jan 1970 00:00:00 -0000", "0001-01-01T00:00:00Z",
    "Fri, 31 Dec 9999 23:59:59 -2359", "Wed, 21 Oct 99999 07:28:00 GMT", "9999-12-31T23:59:59.999999999+23:59", "24:00",
    "bytes 0-0/1", "bytes 0-/", "bytes */*", "bytes 0-" + "9" * 5000 + "/" + "9" * 5000, "bytes 1-0/5", "items 0-1/2",
    "md5=", "sha-256=:x:", "crc32c=AAAAAA==", "completed", "failed", "cancelled", "running", "hibernating",
    KEY, f"Bearer {KEY}", LINK, LINK.replace("&", "&amp;"), f"sig={SIGNATURE}", f"see {LINK} and {KEY}",
]  # fmt: skip

HEADERS = [
    "Content-Type", "Content-Length", "Content-Encoding", "Content-Range", "Content-Disposition", "Transfer-Encoding",
    "ETag", "Last-Modified", "Retry-After", "Location", "Date", "X-Request-ID", "WWW-Authenticate", "Connection", "Accept-Ranges",
    "x-amz-checksum-sha256", "x-amz-checksum-crc32", "Repr-Digest", "Content-MD5", "x-goog-hash", "x-goog-stored-content-encoding",
    "Set-Cookie", "Trailer", "Upgrade", "X",
]  # fmt: skip

FIELDS = [
    "id", "task_id", "task_status", "status", "task_output", "output", "task_error", "error", "error_message", "download_url",
    "download_urls", "expires_at", "completed_at", "created_at", "retry_count", "agent_labels", "storage_key", "s3_key",
    "task_list", "workflow_list", "service_list", "page_meta", "total_count", "per_page", "workflow_slug", "parameters",
    "key", "type", "options", "min", "file_key", "upload_url", "upload_headers", "progress", "message", "webhook_url", "x",
]  # fmt: skip

STATUSES = [*["200"] * 12, "201", "202", "204", "206", "301", "307", "400", "401", "403", "404", "409", "412", "416", "422",
            "429", "500", "503", "101", "600", "999", "99", "abc", "20"]  # fmt: skip


class Hostile:
    """Draws hostile values, and counts them."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.drawn = 0

    def text(self) -> str:
        self.drawn += 1
        text = self.chance.choice(HOSTILE)
        # A signature without its link is known by the name before it alone, so that stays whole.
        if SIGNATURE not in text and self.chance.random() < 0.2:
            at = self.chance.randrange(len(text) + 1)
            text = text[:at] + chr(self.chance.randrange(0x3000)) + text[at:]
        return text

    def value(self, depth: int = 0) -> Any:
        kind = self.chance.randrange(12 if depth < 3 else 8)
        self.drawn += 1
        if kind in {8, 9}:
            return {
                self.chance.choice([*FIELDS, self.text()]): self.value(depth + 1)
                for _ in range(self.chance.randrange(4))
            }
        if kind >= 10:
            return [self.value(depth + 1) for _ in range(self.chance.randrange(3))]
        return [
            self.text(),
            self.text(),
            self.text(),
            None,
            True,
            self.chance.choice([0, -1, 10**400, 2**63]),
            1.5,
            1e308,
        ][kind]

    def object(self, **usual: Any) -> dict[str, Any]:
        """Give an object of an answer in which something is not as usual."""
        fields = dict(usual)
        for name in self.chance.sample([*usual, *usual, *FIELDS], self.chance.randrange(4)):
            fields[name] = self.value()
        return fields

    def body(self, usual: Any) -> bytes:
        written = json.dumps(usual).encode()
        what = self.chance.randrange(12)
        if what == 0:
            self.drawn += 1
            at = self.chance.randrange(len(written) + 1)
            return written[:at] + self.chance.randbytes(3) + written[at + self.chance.randrange(5) :]
        if what == 1:
            return self.text().encode("utf-8", "surrogatepass")
        if what == 2:
            return f"<Error><Code>{self.text()}</Code><Message>{self.text()}</Message></Error>".encode(
                "utf-8", "replace"
            )
        return written if what > 3 else json.dumps(self.value()).encode()

    def answer(self, body: bytes, *usual: str) -> bytes:
        """Write a whole response, in which a header or the status may be anything."""
        lines = [*usual, *[f"{self.chance.choice(HEADERS)}: {self.text()}" for _ in range(self.chance.randrange(3))]]
        if self.chance.random() < 0.9:
            lines.append(f"Content-Length: {len(body)}")
        if self.chance.random() < 0.05:
            body = gzip.compress(body)
            lines.append("Content-Encoding: gzip")
        status = self.chance.choice(STATUSES)
        head = "\r\n".join([f"HTTP/1.1 {status} {self.chance.choice(['OK', self.text()])}", *lines])
        return head.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body


def answering(hostile: Hostile) -> Callable[[bytes], bytes]:
    """Make a server that answers every request of the API and of a storage, each time in another wrong way."""

    def task() -> dict[str, Any]:
        return hostile.object(
            id="t-1", task_status=hostile.chance.choice(["running", "completed", "failed"]), task_error="x"
        )

    def answer(request: bytes) -> bytes:
        line = request.partition(b"\r\n")[0].decode("latin-1")
        if "/events " in line:
            name = hostile.chance.choice(["status", "progress", "completed", "failed", "error", hostile.text()])
            event = f"id: {hostile.text()}\nretry: {hostile.text()}\nevent: {name}\ndata: {json.dumps(task())}\n\n"
            return hostile.answer(event.encode("utf-8", "surrogatepass"), "Content-Type: text/event-stream")
        if "/result " in line:
            urls = {hostile.text(): hostile.chance.choice([LINK, hostile.text()]) for _ in range(2)}
            usual = {
                **task(),
                "task_output": hostile.object(storage_key="a.png"),
                "download_url": LINK,
                "download_urls": urls,
            }
            return hostile.answer(hostile.body(hostile.object(**usual)))
        if "/presign " in line:
            headers = {hostile.chance.choice(HEADERS): hostile.text()}
            return hostile.answer(hostile.body(hostile.object(file_key="k", upload_url=LINK, upload_headers=headers)))
        if "/r/tasks?" in line:
            return hostile.answer(
                hostile.body(
                    hostile.object(task_list=[task() for _ in range(3)], page_meta=hostile.object(total_count=9))
                )
            )
        if "/r/" in line or "/webhooks" in line:
            return hostile.answer(
                hostile.body(
                    hostile.object(**{**task(), "task_id": "t-1", "slug": "w", "parameters": [hostile.object(key="p")]})
                )
            )
        # Only beside the link that it belongs to can a signature be told from any other text.
        said = f"<Error><Code>Denied</Code><Message>{hostile.chance.choice([SIGNATURE if SIGNATURE in line else '', hostile.text()])}</Message></Error>"
        return hostile.answer(hostile.chance.choice([said.encode("utf-8", "replace"), hostile.body(hostile.value())]))

    return answer


Use = Callable[[AsyncClient, Hostile, Path], Awaitable[object]]


async def first_ten(items: Any) -> None:
    number = 0
    async for _ in items:
        number += 1
        if number == 10:
            return


USES: list[Use] = [
    lambda client, *_: client.tasks.get("t-1"),
    lambda client, *_: client.tasks.result("t-1"),
    lambda client, *_: client.tasks.cancel("t-1"),
    lambda client, *_: first_ten(client.tasks.list()),
    lambda client, *_: first_ten(client.workflows.list()),
    lambda client, *_: client.workflows.get("w"),
    lambda client, *_: client.submit("w", {"p": "x"}),
    lambda client, *_: client.submit("w", {"p": "x"}, validate=False),
    lambda client, *_: client.upload(b"data", name="a.png"),
    lambda client, *_: client.containers.get("s"),
    lambda client, *_: client.containers.invoke("s", "GET", "/"),
    lambda client, *_: first_ten(client.agents.list()),
    lambda client, *_: client.webhooks.get("w"),
    lambda client, *_: client.wait_for_result("t-1", timeout=0.02),
    lambda client, hostile, _: client.read_file(OutputFile(key="a", name="a.png", url=hostile.chance.choice([LINK, LINK, hostile.text()]), task_id="t-1")),
    lambda client, hostile, _: client.read_file(OutputFile(key="a", name="a.png", url=LINK, task_id="t-1")),
    lambda client, _, folder: client.download("t-1", folder),
]  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("seed", seeds(sample=2, soak=45))
async def test_hostile_values(seed: int, tmp_path: Path) -> None:
    """Whatever a server says, only errors of ours come of it, and they say nothing of keys and signatures."""
    hostile, rounds = Hostile(seed), count(sample=ROUNDS, soak=4 * ROUNDS)
    wire = Wire(answering(hostile))
    with everything_logged() as logged:
        async with wire.client() as http:
            async with AsyncClient(
                provided, team_id="t", http_client=http, storage_client=http, retries=Retries(budget=0),
                polling=Polling(interval=0.005), timeouts=Timeouts(connect=1, read=1, write=1, call=5, cleanup=1),
            ) as client:  # fmt: skip
                for number in range(rounds):
                    use = hostile.chance.choice(USES)
                    with anyio.fail_after(20):
                        try:
                            await use(client, hostile, tmp_path)
                        except CyberunError as error:
                            if isinstance(error, TaskError):
                                # Its record is the answer that was asked for, with its links, and goes where it is sent.
                                error.result = TaskResult(id="t-1")
                            about = everything_about(error)
                            for secret in (KEY, SIGNATURE):
                                where = next((line for line in about.splitlines() if secret in line), "")
                                assert not where, (number, where[:3000])
        assert wire.open == 0
    for secret in (KEY, SIGNATURE):
        where = next((text for text in logged if secret in text), "")
        assert not where, where[:3000]
    assert hostile.drawn > 10 * rounds


async def provided() -> str:
    """Give the token."""
    return KEY
