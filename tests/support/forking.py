"""Start Python programs as forks of a process that has imported what they need, which takes most of their time.

Of a program that is started again and again nothing else differs from `python program.py`: it is a process of its own, with
arguments, environment, folder and streams of its own, and ends as any other. What is tested as a command, and how fast a
program starts, is for `subprocess`.
"""

from __future__ import annotations

import fcntl
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

SDK = ("cyberun_async._client", "cyberun_async._batch.batch", "anyio._backends._asyncio", "httpcore")
"""What every program needs in the end."""

NUMBER = struct.Struct("i")


class ForkedProcess:
    """A program that was started; what it has in common with `subprocess.Popen` is the same.

    Attributes:
        pid: Its process.
        returncode: How it ended, once that was asked for.

    """

    def __init__(self, connection: socket.socket, outputs: tuple[IO[str], ...]) -> None:
        """Learn its process."""
        self._connection = connection
        self._outputs = outputs
        self.returncode: int | None = None
        self.pid = self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()

    def poll(self) -> int | None:
        """Give the exit code, if it has ended."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and give the exit code."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = self._read()
            self._connection.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and give what it wrote to stdout and stderr, which have to be captured."""
        self.wait(timeout)
        out, err = self._outputs
        for output in self._outputs:
            output.seek(0)
        with out, err:
            return out.read(), err.read()

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _read(self) -> int:
        number: int
        (number,) = NUMBER.unpack(self._connection.recv(NUMBER.size))
        return number


class ForkServer:
    """A Python that has imported the SDK and other modules, and forks itself for each program."""

    def __init__(self, *modules: str) -> None:
        """Start it."""
        self._control, theirs = socket.socketpair()
        self._process = subprocess.Popen([sys.executable, __file__, *SDK, *modules], stdin=theirs)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        self._process.wait()

    def start(
        self,
        *arguments: str | Path,
        env: Mapping[str, str],
        cwd: str | Path,
        streams: tuple[int, int, int] | None = None,
        start_new_session: bool = False,
    ) -> ForkedProcess:
        """Start a program by what would stand behind `python`: a path, or `-m` and a module, and arguments.

        Its stdin, stdout and stderr are `streams`; without them, it has no input, and its outputs are captured. In a
        session of its own, the terminal that is its stdin is the one whose Ctrl-C reaches it, as with a login.
        """
        connection, theirs = socket.socketpair()
        order = {"arguments": [*map(str, arguments)], "env": dict(env), "cwd": str(cwd), "session": start_new_session}
        with theirs, ExitStack() as stack:
            outputs: tuple[IO[str], ...] = ()
            if streams is None:
                outputs = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115 - read at the end
                nothing = stack.enter_context(Path(os.devnull).open())
                streams = (nothing.fileno(), outputs[0].fileno(), outputs[1].fileno())
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
            socket.send_fds(connection, [b"."], list(streams))
            connection.sendall(json.dumps(order).encode() + b"\n")
            return ForkedProcess(connection, outputs)


def become_program() -> None:
    """Fork for each connection that comes in, watch over the program in that process, and return as the program.

    The one who watches reports the process and how it ended: only a parent gets to know that, and the test is none.
    """
    control = socket.socket(fileno=0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # So that nobody has to wait for those who watch.
    while descriptors := socket.recv_fds(control, 1, 1)[1]:
        if os.fork() == 0:
            break
        os.close(descriptors[0])
    else:
        sys.exit()
    connection = socket.socket(fileno=descriptors[0])
    streams = socket.recv_fds(connection, 1, 3)[1]
    order = json.loads(connection.makefile().readline())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = os.fork()
    if program:
        for stream in streams:
            os.close(stream)
        connection.sendall(NUMBER.pack(program))
        connection.sendall(NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(program, 0)[1])))
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    control.detach()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    connection.close()
    if order["session"]:
        os.setsid()
        if os.isatty(0):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = order["arguments"]


def main() -> None:
    """Import what was asked for, and be one program in each fork."""
    for module in sys.argv[1:]:
        import_module(module)
    become_program()
    if sys.argv[0] == "-m":
        del sys.argv[0]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
