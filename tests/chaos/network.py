"""A network file system with a client for each host: GlusterFS, server and clients on this machine.

Its clients keep what they have read (contents, attributes) for a second and send writes late, as
NFS clients do: what one host has written, another may not see at once, and may see in part.
"""

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.apt import NotInstalledError, program
from tests.conftest import NO_FUSE

_PACKAGE = "glusterfs-server"
_DEVICE = Path("/dev/fuse")
_TIME_LIMIT_S = 30

_SERVER = """
volume posix
    type storage/posix
    option directory {brick}
end-volume
volume locks
    type features/locks
    subvolumes posix
end-volume
volume brick
    type performance/io-threads
    subvolumes locks
end-volume
volume server
    type protocol/server
    option transport-type tcp
    option transport.socket.bind-address 127.0.0.1
    option transport.socket.listen-port {port}
    option auth.addr.brick.allow 127.0.0.1
    subvolumes brick
end-volume
"""
_CLIENT = """
volume remote
    type protocol/client
    option transport-type tcp
    option remote-host 127.0.0.1
    option remote-port {port}
    option remote-subvolume brick
end-volume
volume write-behind
    type performance/write-behind
    subvolumes remote
end-volume
volume open-behind
    type performance/open-behind
    subvolumes write-behind
end-volume
volume quick-read
    type performance/quick-read
    subvolumes open-behind
end-volume
volume md-cache
    type performance/md-cache
    subvolumes quick-read
end-volume
"""
"""The caches of a volume's client as `gluster volume create` sets them up."""


class NoNetworkError(Exception):
    """No network file system can be had here; the message says why."""


@contextmanager
def network_mounts(folder: Path, hosts: int) -> Iterator[list[Path]]:
    """One file system, mounted by so many clients; the system's own configuration is not used.

    Raises:
        NoNetworkError: this is no Linux with FUSE, or not root's, or the programs are missing.
        TimeoutError: it did not come up; the logs are in `folder`.
    """
    if os.geteuid() != 0 or not _DEVICE.exists():
        raise NoNetworkError(NO_FUSE)
    try:
        for name in ("glusterfsd", "glusterfs"):
            program([name], _PACKAGE)
    except NotInstalledError as error:
        raise NoNetworkError(str(error)) from error
    brick, port = folder / "brick", _free_port()
    brick.mkdir(parents=True)
    server, client = folder / "server.vol", folder / "client.vol"
    server.write_text(_SERVER.format(brick=brick, port=port))
    client.write_text(_CLIENT.format(port=port))
    mounts = [folder / f"host-{number}" for number in range(1, hosts + 1)]
    with ExitStack() as stack:
        stack.enter_context(_running("glusterfsd", "-f", server, log=folder / "server.log"))
        _wait_until(lambda: _answers(port), "the server")
        for mount in mounts:
            mount.mkdir()
            log = mount.with_suffix(".log")
            stack.enter_context(_running("glusterfs", "-f", client, mount, log=log))
            stack.callback(subprocess.run, ["umount", "--lazy", str(mount)], check=True)
            _wait_until(mount.is_mount, str(mount))
        yield mounts


@contextmanager
def _running(program: str, *arguments: str | Path, log: Path) -> Iterator[None]:
    words = [program, "--no-daemon", "--log-level", "WARNING", "--log-file", str(log)]
    process = subprocess.Popen([*words, *map(str, arguments)])
    try:
        yield
    finally:
        process.terminate()
        process.wait(_TIME_LIMIT_S)


def _answers(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _wait_until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _TIME_LIMIT_S
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come up")
        time.sleep(0.1)
