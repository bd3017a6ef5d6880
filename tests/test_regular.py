"""Only regular files are read."""

import os
import socket
from pathlib import Path

import pytest

from loaders import open_regular, read_regular


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file") == read_regular(tmp_path / "link") == b"abc"
    with open_regular(tmp_path / "file") as file:
        assert not file.closed and os.get_inheritable(file.fileno()) is False


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="not a regular file"):
        read_regular(tmp_path / "pipe")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize("what", ["folder", "nothing", "device"])
def test_what_else_is_no_file_is_told_apart(tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    path = {"folder": tmp_path / "folder", "nothing": tmp_path / "nothing", "device": Path("/dev/zero")}[what]
    wanted = {"folder": "Is a directory", "nothing": "No such file", "device": "not a regular file"}[what]
    with pytest.raises(OSError, match=wanted):
        read_regular(path)


def test_a_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        with pytest.raises(OSError):
            read_regular(tmp_path / "s")
