"""Where `login` keeps keys: one file for each profile, which only its owner can read. (config folder, XDG, credentials)"""

import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cyberun_async import ConfigurationError
from cyberun_async._protocol.secret import Key
from cyberun_async._settings import from_environment

DEFAULT = "default"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Profile:
    """A key, and the service that it is for."""

    name: str
    path: Path
    base_url: str
    key: Key = field(repr=False)


def config_folder() -> Path:
    """Give the folder for this program's settings by the custom of the system.

    Raises:
        ConfigurationError: The user has no home folder, as in some containers.

    """
    try:
        return _config_folder()
    except RuntimeError:
        raise ConfigurationError("there is no home folder for the key: set HOME") from None


def _config_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming") / "cyberun-async"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "cyberun-async"
    # A path that is not absolute is to be passed over: https://specifications.freedesktop.org/basedir-spec/latest/
    chosen = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(chosen) if Path(chosen).is_absolute() else Path.home() / ".config") / "cyberun-async"


def profile_name(given: str | None) -> str:
    """Give the name of the profile that is meant.

    Raises:
        ConfigurationError: It cannot be the name of a file everywhere.

    """
    name = given if given is not None else from_environment("CYBERUN_PROFILE") or DEFAULT
    if not _NAME.fullmatch(name):
        raise ConfigurationError("the name of a profile has up to 64 letters, digits, dots, hyphens and underscores")
    return name


def profile_path(name: str) -> Path:
    """Give the file of a profile."""
    return config_folder() / "profiles" / f"{name}.json"


def find_profile(name: str) -> Profile | None:
    """Read a profile; `None` where there is none.

    Raises:
        ConfigurationError: Its file cannot be read, is damaged, or others can read it.

    """
    try:
        path = profile_path(name)
    except ConfigurationError:
        return None
    try:
        with path.open(encoding="utf-8") as file:
            is_open_to_others = sys.platform != "win32" and bool(stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077)
            fields = json.load(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        fields = None
    if is_open_to_others:
        raise ConfigurationError(f"other users can open {path}, which holds a key: chmod 600 it")
    if not isinstance(fields, dict) or not all(isinstance(fields.get(name), str) for name in ("api_key", "base_url")):
        raise ConfigurationError(f"{path} is damaged: remove it, and run cyberun-async login again")
    return Profile(name, path, fields["base_url"], Key(fields["api_key"]))


@contextmanager
def new_profile(path: Path) -> Iterator[Callable[[str, Key], None]]:
    """Make a file ready for a key, and give what puts the key there; without a key there is no file.

    It is made before there is a key: one that has no place to go would stay valid, and nobody would know it.

    Raises:
        ConfigurationError: It cannot be made.

    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None

    def keep(base_url: str, key: Key) -> None:
        file.write(json.dumps({"base_url": base_url, "api_key": key.reveal()}))
        file.flush()
        os.fsync(file.fileno())
        # Windows renames and removes no file that is open.
        file.close()
        temporary.replace(path)

    file = os.fdopen(descriptor, "w", encoding="utf-8")
    try:
        yield keep
    finally:
        # What could not be written is not tried again.
        with suppress(OSError):
            file.close()
        with suppress(FileNotFoundError):
            temporary.unlink()
