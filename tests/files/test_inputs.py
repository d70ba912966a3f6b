"""Files as parameters: a path as text and a data URI are files where `InputFile` says so, and plain text is a key."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.shelf import a_shelf

from cyberun_async import InputFile, InvalidParameters

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("how", ["path", "data URI"])
async def test_a_file_as_text(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`InputFile` makes a file of a path as text, and of a data URI; it is uploaded, and its key takes its place."""
    monkeypatch.chdir(tmp_path)
    Path("cat.png").write_bytes(PNG)
    file = InputFile("cat.png") if how == "path" else InputFile.from_data_uri("data:image/png;base64,iVBORw0KGgo=")
    async with a_shelf() as shelf, shelf.client() as client:
        await client.submit("w", {"image": file})
        (stored,) = shelf.puts.values()
        name = "cat.png" if how == "path" else "file.png"
        assert (stored.data, shelf.presigned[0]["file_name"], shelf.presigned[0]["content_type"]) == (
            PNG,
            name,
            "image/png",
        )
        assert shelf.submitted[0]["parameters"] == {"image": f"inputs/1/{name}"}


async def test_plain_text_stays_a_key() -> None:
    """Text as a parameter is the key of a file that was uploaded before, and nothing is uploaded."""
    async with a_shelf() as shelf, shelf.client() as client:
        await client.submit("w", {"image": "inputs/1/cat.png"})
        assert (shelf.puts, shelf.submitted[0]["parameters"]) == ({}, {"image": "inputs/1/cat.png"})


async def test_a_data_uri_of_another_type() -> None:
    """A file whose type the parameter does not accept is an error before anything is sent."""
    async with a_shelf() as shelf, shelf.client() as client:
        with pytest.raises(InvalidParameters, match="must be one of"):
            await client.submit("w", {"image": InputFile.from_data_uri("data:text/plain,x")})
        assert (shelf.presigned, shelf.submitted) == ([], [])
