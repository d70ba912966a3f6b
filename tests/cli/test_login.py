"""Signing in from a terminal: pairing, where the key is kept, profiles, and giving it back."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cyberun_async.cli import _login, _profiles
from cyberun_async.local import LocalCyberun

if TYPE_CHECKING:
    from conftest import Outcome

    Command = Callable[..., Outcome]

KEY = re.compile(r"[sda]k-[0-9a-f]+")
SHORTEST_INTERVAL = _login._SHORTEST_INTERVAL


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten what a test would only sit out."""
    monkeypatch.setattr(_login, "_SHORTEST_INTERVAL", 0.001)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the command line a home of its own, and no key in the environment."""
    for name in ("XDG_CONFIG_HOME", "APPDATA", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "config"))
    monkeypatch.delenv("CYBERUN_API_KEY", raising=False)
    return _profiles.config_folder()


@pytest.fixture
def unsigned(cyberun: Command, config: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command of somebody who has no key."""
    monkeypatch.delenv("CYBERUN_API_KEY", raising=False)
    return cyberun


@pytest.fixture
def approving(server: LocalCyberun, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Approve each code as soon as it is shown, as a user does in the browser."""
    codes: list[str] = []
    show = _login._show_code

    def approve(pairing: object, *, as_json: bool) -> None:
        show(pairing, as_json=as_json)  # type: ignore[arg-type]
        codes.append(pairing.user_code)  # type: ignore[attr-defined]
        server.confirm_pairing(codes[-1])

    monkeypatch.setattr(_login, "_show_code", approve)
    return codes


def sign_in(unsigned: Command, *arguments: str) -> Outcome:
    shown = unsigned("login", *arguments)
    assert shown.code == 0, shown.err
    return shown


def test_login(unsigned: Command, approving: list[str], config: Path, server: LocalCyberun):
    """It shows address and code, keeps the key where only the owner reads it, and the other commands use it."""
    shown = sign_in(unsigned)
    path = config / "profiles" / "default.json"
    assert f"Open {server.storage.origin}/pair" in shown.err
    assert f"enter the code {approving[0]} within 5 min" in shown.err
    assert shown.out == f"Signed in. The key is in {path}, and every command uses it.\n"
    kept = json.loads(path.read_text())
    assert kept["base_url"] == server.base_url
    assert kept["api_key"].startswith("dk-")
    assert not KEY.search(shown.out + shown.err)
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["default.json"]
    assert unsigned("workflows").code == 0
    assert server.requests[-1].headers["authorization"] == f"Bearer {kept['api_key']}"


def test_login_as_json(unsigned: Command, approving: list[str], config: Path, server: LocalCyberun):
    """A program sees the code to show, and where the key is kept; never the key."""
    shown = sign_in(unsigned, "--json", "--profile", "work")
    pairing, login = shown.lines
    assert pairing == {
        "type": "pairing",
        "user_code": approving[0],
        "verification_uri": f"{server.storage.origin}/pair",
        "expires_in": 300,
    }
    path = config / "profiles" / "work.json"
    assert login == {"type": "login", "profile": "work", "path": str(path), "base_url": server.base_url}


def test_a_key_in_the_environment(
    unsigned: Command, approving: list[str], server: LocalCyberun, monkeypatch: pytest.MonkeyPatch
):
    """Whoever signs in while a variable has a key is told that the variable goes first."""
    monkeypatch.setenv("CYBERUN_API_KEY", server.api_key)
    assert "A key in the environment goes before it" in sign_in(unsigned).err


def test_a_profile_that_cannot_be_read(unsigned: Command, config: Path):
    """What is no file is named."""
    (config / "profiles" / "default.json").mkdir(parents=True)
    shown = unsigned("tasks")
    assert (shown.code, "default.json cannot be read: " in shown.err) == (2, True)


def test_a_key_that_cannot_be_stored(
    unsigned: Command, approving: list[str], config: Path, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch
):
    """Where the disk is full once there is a key, it is revoked, and nothing is left."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_profiles.os, "fsync", full)
    shown = unsigned("login")
    assert (shown.code, "cannot be written (No space left on device), so the key was revoked" in shown.err) == (2, True)
    assert server.requests[-1].operation == "auth.revoke_device"
    assert server.requests[-1].status == 200
    assert not [path for path in config.rglob("*") if path.is_file()]


def test_interval(unsigned: Command, config: Path, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch):
    """It polls at the interval that the service asks for, through failures, until the code is approved."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            server.confirm_pairing(code)

    code = ""
    show = _login._show_code

    def shown(pairing: object, *, as_json: bool) -> None:
        nonlocal code
        code = pairing.user_code  # type: ignore[attr-defined]
        show(pairing, as_json=as_json)  # type: ignore[arg-type]

    monkeypatch.setattr(_login, "_SHORTEST_INTERVAL", SHORTEST_INTERVAL)
    monkeypatch.setattr(_login, "_show_code", shown)
    monkeypatch.setattr(_login.anyio, "sleep", sleep)
    server.faults.status(500, on="pairing.poll", times=1)
    server.faults.status(429, headers={"Retry-After": "999"}, on="pairing.poll", times=1, after=1)
    assert unsigned("login").code == 0
    # The local server's own is shorter than the least that is kept to.
    assert slept == [0.1] * 3


@pytest.mark.parametrize("how", ["expired", "gone"])
def test_expired(unsigned: Command, config: Path, server: LocalCyberun, monkeypatch: pytest.MonkeyPatch, how: str):
    """A code that nobody approves in time is said to have expired, and nothing is kept."""
    if how == "expired":
        monkeypatch.setattr("cyberun_async.local._sign_in.PAIRING_LIFETIME", 0.0)
    else:
        server.faults.status(404, on="pairing.poll")
    shown = unsigned("login")
    assert shown.code == 1
    assert "not signed in: nothing was stored" in shown.err
    assert "the code has expired or was used already: run cyberun-async login again" in shown.err
    assert not list(config.rglob("*.json"))


def test_approved_without_a_key(unsigned: Command, config: Path, server: LocalCyberun):
    """A service that approves and gives no key is not what its pages say."""
    server.faults.malformed('{"status": "approved"}', on="pairing.poll")
    shown = unsigned("login")
    assert (shown.code, "has no raw_key" in shown.err) == (1, True)


@pytest.mark.parametrize("answer", ['{"status": "denied"}', '{"status": "denied", "raw_key": "dk-0123456789"}'])
def test_undocumented_status(unsigned: Command, config: Path, server: LocalCyberun, answer: str):
    """A status that is neither `pending` nor `approved` ends it at once, and is named once."""
    server.faults.malformed(answer, on="pairing.poll")
    shown = unsigned("login")
    assert shown.code == 1
    assert shown.err.count("the service calls the pairing 'denied', which is not documented") == 1
    assert "dk-0123456789" not in shown.out + shown.err
    assert not list(config.rglob("*.json"))


@pytest.mark.parametrize("status", ["pending", " PENDING"])
def test_pending(unsigned: Command, config: Path, server: LocalCyberun, status: str):
    """A pairing that is pending, however that is spelled, is polled again."""
    server.faults.malformed(json.dumps({"status": status}), on="pairing.poll", times=1)
    server.faults.status(404, on="pairing.poll", after=1)
    assert "the code has expired" in unsigned("login").err


def test_signed_in_already(unsigned: Command, approving: list[str]):
    """A profile that has a key is not replaced, since its key would stay valid and be forgotten."""
    sign_in(unsigned)
    shown = unsigned("login")
    assert shown.code == 2
    assert "signed in already: run cyberun-async logout --profile default first" in shown.err
    assert len(approving) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes on Windows")
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root writes everywhere")
def test_no_place_for_the_key_for_others(unsigned: Command, config: Path) -> None:
    """A folder that cannot be written to is found before there is a key."""
    config.mkdir(parents=True, mode=0o500)
    assert "cannot be written" in unsigned("login").err


def test_no_place_for_the_key(unsigned: Command, config: Path, server: LocalCyberun):
    """A place that cannot be written to is found before there is a key."""
    config.parent.mkdir(parents=True)
    config.write_text("a file where the folder should be")
    before = len(server.requests)
    shown = unsigned("login")
    assert (shown.code, "cannot be written" in shown.err) == (2, True)
    assert len(server.requests) == before


def test_logout(unsigned: Command, approving: list[str], config: Path, server: LocalCyberun):
    """The key is revoked, and its file removed; the next command has none."""
    sign_in(unsigned)
    key = json.loads((config / "profiles" / "default.json").read_text())["api_key"]
    shown = unsigned("logout")
    assert (shown.code, shown.out) == (0, "Signed out: the key is revoked and removed.\n")
    assert key in server._accounts._revoked
    assert not list(config.rglob("*.json"))
    assert "there is no API key" in unsigned("workflows").err
    assert "there is no profile default" in unsigned("logout").err


def test_logout_twice(unsigned: Command, approving: list[str], config: Path, server: LocalCyberun):
    """A key that was revoked elsewhere is removed all the same."""
    sign_in(unsigned)
    server.revoke(json.loads((config / "profiles" / "default.json").read_text())["api_key"])
    assert unsigned("logout", "--json").lines == [{"type": "logout", "profile": "default"}]
    assert not list(config.rglob("*.json"))


def test_logout_without_the_service(unsigned: Command, approving: list[str], config: Path, server: LocalCyberun):
    """A key that could not be revoked is kept, and the message says where."""
    sign_in(unsigned)
    server.faults.status(403, on="auth.revoke_device")
    shown = unsigned("logout")
    assert (shown.code, "the key was not revoked, and is still in" in shown.err) == (1, True)
    assert len(list(config.rglob("*.json"))) == 1


def test_profiles(unsigned: Command, approving: list[str], monkeypatch: pytest.MonkeyPatch, server: LocalCyberun):
    """Each profile has a key; `--profile` goes before `CYBERUN_API_KEY`, that before `CYBERUN_PROFILE`, and that before `default`."""
    sign_in(unsigned)
    assert "commands with --profile work use it" in sign_in(unsigned, "--profile", "work").out

    def source(*arguments: str) -> str:
        return str(unsigned("whoami", "--json", *arguments).lines[0]["source"])

    assert source() == "the profile default"
    monkeypatch.setenv("CYBERUN_PROFILE", "work")
    assert source() == "the profile work"
    monkeypatch.setenv("CYBERUN_API_KEY", server.api_key)
    assert source() == "the variable CYBERUN_API_KEY"
    assert source("--profile", "default") == "the profile default"
    monkeypatch.delenv("CYBERUN_API_KEY")
    monkeypatch.setenv("CYBERUN_PROFILE", "gone")
    assert "there is no API key in the profile gone" in unsigned("tasks").err


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x" * 65, "a b", "nul\0"])
def test_names_of_profiles(unsigned: Command, name: str):
    """A name that could lead anywhere is rejected."""
    shown = unsigned("whoami", f"--profile={name}")
    assert (shown.code, "up to 64 letters" in shown.err) == (2, True)


def test_another_service(unsigned: Command, approving: list[str], server: LocalCyberun):
    """A key is never sent to another service than the one that it was made at."""
    sign_in(unsigned)
    before = len(server.requests)
    shown = unsigned("tasks", "--base-url", server.base_url.replace("127.0.0.1", "localhost"))
    assert (shown.code, "is for http://127.0.0.1" in shown.err) == (2, True)
    assert len(server.requests) == before


def test_two_keys(unsigned: Command):
    """A file and a profile are two keys."""
    assert "leave one of them out" in unsigned("tasks", "--profile", "x", "--key-file", "y").err


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", "{}", '{"api_key": 3, "base_url": "https://x"}', '{"api_key": "dk-x"}'], ids=repr
)
def test_damaged(unsigned: Command, config: Path, text: str):
    """A file that is no profile is named, and nothing of it is shown."""
    path = config / "profiles" / "default.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o600)
    shown = unsigned("tasks")
    assert (shown.code, f"{path} is damaged: remove it" in shown.err) == (2, True)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes on Windows")
def test_open_to_others(unsigned: Command, approving: list[str], config: Path):
    """A file that others can read is not used, as with ssh."""
    sign_in(unsigned)
    path = config / "profiles" / "default.json"
    path.chmod(0o644)
    shown = unsigned("tasks")
    assert (shown.code, f"other users can open {path}" in shown.err) == (2, True)


def test_whoami(unsigned: Command, approving: list[str], server: LocalCyberun, monkeypatch: pytest.MonkeyPatch):
    """It says whose the key is, and where it comes from; an integration key is a team's, and is only tried."""
    sign_in(unsigned)
    shown = unsigned("whoami")
    assert shown.out == (f"Ada Lovelace <ada@example.com>\ndevice key from the profile default, at {server.base_url}\n")
    monkeypatch.setenv("CYBERUN_API_KEY", server.api_key)
    shown = unsigned("whoami")
    assert shown.out == (
        "a team's integration key\nintegration key from the variable CYBERUN_API_KEY, at " + server.base_url + "\n"
    )
    monkeypatch.setenv("CYBERUN_API_KEY", server.jwt)
    user = unsigned("whoami", "--json", "--team-id", server.team_id).lines[0]
    assert (user["kind"], user["user"]["email_address"]) == ("user", "ada@example.com")
    monkeypatch.setenv("CYBERUN_API_KEY", "sk-wrong")
    assert unsigned("whoami").code == 1


@pytest.mark.slow
def test_ctrl_c(tmp_path: Path, server: LocalCyberun):
    """Ctrl-C stops waiting for the approval, and nothing is kept."""
    environment = {
        **os.environ,
        "XDG_CONFIG_HOME": str(tmp_path),
        "APPDATA": str(tmp_path),
        "CYBERUN_BASE_URL": server.base_url,
    }
    command = [sys.executable, "-m", "cyberun_async", "login"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Open ")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130
    assert "not signed in: nothing was stored" in rest
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        pytest.param("linux", "xdg/cyberun-async", id="Linux"),
        pytest.param("darwin", "home/Library/Application Support/cyberun-async", id="macOS"),
        pytest.param("win32", "roaming/cyberun-async", id="Windows"),
    ],
)
def test_config_folder(platform: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder is where programs of the system have their settings."""
    monkeypatch.setattr(_profiles.sys, "platform", platform)
    monkeypatch.setattr(_profiles.Path, "home", lambda: tmp_path / "home")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("APPDATA", str(tmp_path / "roaming"))
    assert _profiles.config_folder() == tmp_path / expected
    if platform == "linux":
        monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
        assert _profiles.config_folder() == tmp_path / "home" / ".config" / "cyberun-async"


def test_without_a_home(unsigned: Command, monkeypatch: pytest.MonkeyPatch):
    """A user without a home folder, as in a container, has no profile, and is told where a key has no place."""

    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(_profiles.sys, "platform", "linux")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setattr(_profiles.Path, "home", home)
    assert "there is no API key: run cyberun-async login" in unsigned("tasks").err
    assert "there is no home folder for the key: set HOME" in unsigned("login").err


def test_help_and_version(cyberun: Command):
    """`help`, `help COMMAND` and `-V` do what one expects."""
    cyberun("help")  # What an earlier test could not write is written now.
    assert cyberun("help").out == cyberun("--help").out
    assert cyberun("help", "run").out == cyberun("run", "--help").out
    assert cyberun("-V").out == cyberun("--version").out
    assert 'Unknown command "rnu"' in cyberun("help", "rnu").err
