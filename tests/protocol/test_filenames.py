"""Names for downloaded files: harmless everywhere, apart everywhere, the same every time."""

import string
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.tables import table

from cyberun_async._protocol.filenames import (
    MAX_BYTES,
    name_from_key,
    name_from_output,
    name_from_url,
    safe_name,
    unique_names,
)

WINDOWS_DEVICES = {
    *("CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"),
    *(f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"),
}

HOSTILE = st.lists(
    st.one_of(
        st.text(max_size=8),
        st.text(st.characters(), max_size=8),  # lone surrogates too
        st.sampled_from(["../", "..\\", "C:", "nul", "con", "com¹", ".", " ", "~1", "\u200b", "é"]),
        st.sampled_from([".png", ".tar.gz", "a" * 300, "é" * 100, "e\u0301" * 99, "x . " * 60]),
    ),
    max_size=6,
).map("".join)

FILE_SYSTEMS: dict[str, Callable[[str], str]] = {
    "upper case": str.upper,
    "lower case": str.lower,
    "folded": str.casefold,
    "composed": lambda name: unicodedata.normalize("NFC", name),
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "decomposed and folded": lambda name: unicodedata.normalize("NFD", name).casefold(),
}


@table(
    ("wanted", "name"),
    [
        pytest.param("output_00001_.png", "output_00001_.png", id="harmless"),
        pytest.param("my picture (2).png", "my picture (2).png", id="blanks within"),
        pytest.param("картинка-画像.png", "картинка-画像.png", id="other scripts"),
        pytest.param("../../etc/passwd", "_.._etc_passwd", id="climbing"),
        pytest.param("/etc/passwd", "_etc_passwd", id="absolute"),
        pytest.param("C:\\x", "C__x", id="drive"),
        pytest.param("\\\\server\\share", "__server_share", id="share"),
        pytest.param("x.png:hidden", "x.png_hidden", id="alternate stream"),
        pytest.param('a<b>c"d|e?f*g', "a_b_c_d_e_f_g", id="refused by Windows"),
        pytest.param("PROGRA~1", "PROGRA_1", id="short name of another file"),
        pytest.param("nul", "_nul", id="device"),
        pytest.param("con.txt", "_con.txt", id="device with extension"),
        pytest.param("Aux .txt", "_Aux .txt", id="device with a blank"),
        pytest.param("COM1.tar.gz", "_COM1.tar.gz", id="port"),
        pytest.param("lpt².txt", "_lpt².txt", id="port with superscript"),
        pytest.param("nul\u200b", "_nul", id="device in disguise"),
        pytest.param("console.txt", "console.txt", id="starts like a device"),
        pytest.param("a\x00b\x7fc\x1bd", "abcd", id="control characters"),
        pytest.param("two\r\nlines\t.png", "two lines .png", id="line breaks"),
        pytest.param("\u202egnp.exe", "gnp.exe", id="written backwards"),
        pytest.param("a\u200b\u2060\ufeffb\ufe0f", "ab", id="zero width"),
        pytest.param("\u3164\u2800.png", "png", id="invisible letters"),
        pytest.param("a\ud800b", "ab", id="lone surrogate"),
        pytest.param("e\u0301.png", "\u00e9.png", id="decomposed"),
        pytest.param("e\u200d\u0301", "\u00e9", id="kept from composing"),
        pytest.param("\u00a0 .hidden. \u3000", "hidden", id="dots and blanks around"),
        pytest.param("", "file", id="empty"),
        pytest.param(".", "file", id="here"),
        pytest.param("..", "file", id="above"),
        pytest.param(" . . ", "file", id="nothing but dots and blanks"),
    ],
)
def test_safe_name(wanted: str, name: str) -> None:
    """A hostile name becomes the nearest harmless one."""
    assert name == safe_name(wanted)


@table(
    ("wanted", "extension"),
    [
        pytest.param("x" * 300 + ".png", ".png", id="ASCII"),
        pytest.param("画" * 300 + ".png", ".png", id="three bytes a letter"),
        pytest.param("x" * 300 + ".tar.gz", ".tar.gz", id="two extensions"),
        pytest.param("x. " * 100 + ".png", "x.png", id="blanks and dots at the cut"),
        pytest.param("x" * 300, "x", id="no extension"),
        pytest.param("x." + "y" * 300, "y", id="too long for an extension"),
        pytest.param("nul." + "x" * 300 + ".png", ".png", id="device"),
    ],
)
def test_long_names_are_cut(wanted: str, extension: str) -> None:
    """A name that is too long loses the end of its stem and keeps its extension."""
    name = safe_name(wanted)

    assert MAX_BYTES - 4 < len(name.encode()) <= MAX_BYTES
    assert name.endswith(extension)


@given(HOSTILE)
def test_safe_names_are_safe(wanted: str) -> None:
    """Whatever is wanted, the name is one plain component, and a safe name stays as it is."""
    name = safe_name(wanted)

    assert PurePosixPath(name).parts == PureWindowsPath(name).parts == (name,)
    assert name == name.strip(" .")
    assert 0 < len(name.encode()) <= MAX_BYTES
    assert name.isprintable()
    assert not set(name) & set('<>:"/\\|?*~')
    assert name.partition(".")[0].strip().upper() not in WINDOWS_DEVICES
    assert unicodedata.is_normalized("NFC", name)
    assert name == safe_name(name)


@given(st.text(string.ascii_letters + string.digits + "_-", min_size=5, max_size=50))
def test_harmless_names_stay(wanted: str) -> None:
    """An ordinary name is left alone."""
    assert f"{wanted}.png" == safe_name(f"{wanted}.png")


@table(
    ("wanted", "names"),
    [
        pytest.param([], (), id="none"),
        pytest.param(["a.png", "b.png"], ("a.png", "b.png"), id="apart already"),
        pytest.param(["a.png"] * 3, ("a.png", "a-2.png", "a-3.png"), id="the same"),
        pytest.param(["a.png", "A.PNG"], ("a.png", "A-2.PNG"), id="differ in case"),
        pytest.param(["straße", "STRASSE"], ("straße", "STRASSE-2"), id="differ in case, folded"),
        pytest.param(["é.png", "e\u0301.png"], ("é.png", "é-2.png"), id="differ in composition"),
        pytest.param(["a/b", "a:b"], ("a_b", "a_b-2"), id="differ in what is refused"),
        pytest.param(["a.tar.gz"] * 2, ("a.tar.gz", "a-2.tar.gz"), id="two extensions"),
        pytest.param(["a.png", "a.png", "a-2.png"], ("a.png", "a-3.png", "a-2.png"), id="wanted later"),
        pytest.param(["a.png", "A-2.PNG", "a.png"], ("a.png", "A-2.PNG", "a-3.png"), id="wanted"),
        pytest.param(["", "..", "file"], ("file", "file-2", "file-3"), id="nothing left"),
    ],
)
def test_unique_names(wanted: list[str], names: tuple[str, ...]) -> None:
    """The first to want a name gets it, and a later one gets a number that nobody wants."""
    assert names == unique_names(wanted)


@given(
    st.lists(
        st.one_of(HOSTILE, st.text("aA.-2", max_size=5), st.sampled_from(["ß", "SS", "K", "\u212a"])),
        max_size=12,
    )
)
@example(["\u0131", "I", "i", "\u0130"])
@example(["x" * 300 + ".png", "x" * 301 + ".png", "x" * 302 + "y.png"])
def test_unique_names_are_apart(wanted: list[str]) -> None:
    """No two names are one file, whatever a file system takes for the same name."""
    names = unique_names(wanted)

    assert len(wanted) == len(names)
    for system, seen_by in FILE_SYSTEMS.items():
        assert len(names) == len({seen_by(name) for name in names}), system
    assert all(name == safe_name(name) for name in names)
    assert names == unique_names(wanted)


@given(st.lists(HOSTILE, min_size=1, max_size=8))
def test_the_first_gets_the_name(wanted: list[str]) -> None:
    """What else is wanted afterwards changes no name that was its own."""
    assert safe_name(wanted[0]) == unique_names(wanted)[0]


def test_many_equal_names_take_little_time() -> None:
    """Ten thousand outputs of one name are numbered in one pass."""
    names = unique_names(["image.png"] * 10_000)

    assert names[-1] == "image-10000.png"


@table(
    ("key", "name"),
    [
        pytest.param("tasks/019c65a0/output_00001_.png", "output_00001_.png", id="documented"),
        pytest.param("image.png", "image.png", id="one segment"),
        pytest.param("outputs\\a\\image.png", "image.png", id="written on Windows"),
        pytest.param("outputs/a//", "a", id="slash at the end"),
        pytest.param("a%20b?.png", "a%20b?.png", id="no URL"),
        pytest.param("", "", id="empty"),
    ],
)
def test_name_from_key(key: str, name: str) -> None:
    """The last segment of a storage key is the name that the file was stored under."""
    assert name == name_from_key(key)


@table(
    ("url", "name"),
    [
        pytest.param("https://s3/outputs/a/image.png?X-Amz-Expires=1", "image.png", id="presigned"),
        pytest.param("https://s3/image.png?next=/a/b.png#/c.png", "image.png", id="slashes after"),
        pytest.param("https://s3/image.png#top?x", "image.png", id="fragment"),
        pytest.param("https://s3/two%20words+%C3%A9.png", "two words+é.png", id="encoded"),
        pytest.param("https://s3/a%2Fimage.png", "image.png", id="encoded slash"),
        pytest.param("https://s3/..%5C..%5Cimage.png", "image.png", id="encoded backslash"),
        pytest.param("https://s3/%252e%252e%252fx", "%2e%2e%2fx", id="encoded twice"),
        pytest.param("https://s3/%ff.png", "\ufffd.png", id="no UTF-8"),
        pytest.param("/outputs/image.png?x", "image.png", id="no host"),
        pytest.param("https://[broken/image.png", "image.png", id="broken host"),
        pytest.param("https://s3.example.com", "", id="no path"),
        pytest.param("https://s3?X-Amz-Signature=a/b", "", id="query only"),
        pytest.param("", "", id="empty"),
    ],
)
def test_name_from_url(url: str, name: str) -> None:
    """The last segment of the path is the name; neither host nor query are part of it."""
    assert name == name_from_url(url)


@given(st.text(min_size=1))
def test_no_signature_gets_into_a_name(query: str) -> None:
    """A name holds nothing of what signs its URL."""
    assert name_from_url(f"https://s3/outputs/image.png?{query}") == "image.png"


@table(
    ("output_key", "stored_as", "name"),
    [
        pytest.param("9.images.0", "image.png", "9.images.0.png", id="documented"),
        pytest.param("9.images.0", "scene.tar.gz", "9.images.0.tar.gz", id="two extensions"),
        pytest.param("9.images.0", "image", "9.images.0", id="no extension"),
        pytest.param("9.images.0", "", "9.images.0", id="no name"),
        pytest.param("preview.PNG", "image.png", "preview.PNG", id="has it already"),
    ],
)
def test_name_from_output(output_key: str, stored_as: str, name: str) -> None:
    """An output is named by its key, with the extension that says what is in the file."""
    assert name == name_from_output(output_key, stored_as)
