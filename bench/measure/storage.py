"""What a folder lies on: its file system, and what kind of device that is."""

from __future__ import annotations

import os
import re
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
DEVICES = Path("/sys/dev/block")


def storage_of(folder: Path, mounts: Path = MOUNTS, devices: Path = DEVICES) -> dict[str, str | None]:
    """File system and device under a folder, without naming either's place.

    Returns:
        ``filesystem``: "ext4", "tmpfs", …; ``device``: "memory", "network", "ssd", "disk", "virtual disk" or ``None``
        where the system does not tell.
    """
    filesystem = _filesystem(folder.resolve(), mounts)
    if filesystem in ("tmpfs", "ramfs"):
        return {"filesystem": filesystem, "device": "memory"}
    if filesystem and re.match(r"nfs|cifs|smb|9p|ceph|lustre|fuse\.sshfs|gpfs|beegfs", filesystem):
        return {"filesystem": filesystem, "device": "network"}
    return {"filesystem": filesystem, "device": _device(folder, devices)}


def _filesystem(folder: Path, mounts: Path) -> str | None:
    """Type of the innermost mount that holds the folder, by the format of proc(5)'s mountinfo."""
    if not mounts.exists():
        return None
    best, kind = "", None
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), before.split()[4])
        if (folder.as_posix() + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, after.split()[0]
    return kind


def _device(folder: Path, devices: Path) -> str | None:
    """From the block device's own description in sysfs; a partition's lies in its parent."""
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    number = existing.stat().st_dev
    block = devices / f"{os.major(number)}:{os.minor(number)}"
    if not block.exists():
        return None
    block = block.resolve()
    disk = block if (block / "queue").exists() else block.parent
    if re.match(r"(vd|xvd|nbd|loop)", disk.name):
        return "virtual disk"
    rotational = disk / "queue" / "rotational"
    if not rotational.exists():
        return None
    return "disk" if rotational.read_text(encoding="ascii").strip() == "1" else "ssd"
