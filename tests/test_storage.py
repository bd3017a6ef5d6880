"""File system and device of a folder, here and as other machines describe theirs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.measure.storage import storage_of

MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:40 / {mount} rw,relatime shared:5 - {kind} source rw
41 27 0:41 / {mount}else rw,relatime - xfs source rw
"""


@pytest.mark.parametrize(
    ("kind", "device"),
    [("tmpfs", "memory"), ("nfs4", "network"), ("fuse.sshfs", "network"), ("9p", "network")],
)
def test_the_innermost_mount_counts(tmp_path: Path, kind: str, device: str) -> None:
    folder = tmp_path / "a folder" / "stores"
    folder.mkdir(parents=True)
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(mount=str(tmp_path / "a folder").replace(" ", "\\040"), kind=kind))
    assert storage_of(folder, mounts) == {"filesystem": kind, "device": device}
    assert storage_of(tmp_path, mounts)["filesystem"] == "ext4"


@pytest.mark.parametrize(
    ("name", "rotational", "device"),
    [("sda", "1", "disk"), ("nvme0n1", "0", "ssd"), ("vda", "1", "virtual disk"), ("md0", None, None)],
)
@pytest.mark.parametrize("partition", [False, True])
def test_the_device_is_what_sysfs_says(
    tmp_path: Path, name: str, rotational: str | None, device: str | None, partition: bool
) -> None:
    disk = tmp_path / "block" / name
    (disk / "queue").mkdir(parents=True)
    (disk / "part1").mkdir()
    if rotational is not None:
        (disk / "queue" / "rotational").write_text(rotational + "\n")
    number = tmp_path.stat().st_dev
    devices = tmp_path / "dev"
    devices.mkdir()
    (devices / f"{os.major(number)}:{os.minor(number)}").symlink_to(disk / "part1" if partition else disk)
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(mount="/nowhere", kind="xfs"))
    assert storage_of(tmp_path, mounts, devices) == {"filesystem": "ext4", "device": device}


def test_where_nothing_is_told_nothing_is_said(tmp_path: Path) -> None:
    found = storage_of(tmp_path, tmp_path / "none", tmp_path / "nowhere")
    assert found == {"filesystem": None, "device": None}


def test_a_folder_that_is_not_there_yet_lies_where_it_will_be(tmp_path: Path) -> None:
    assert storage_of(tmp_path / "not" / "yet") == storage_of(tmp_path)
