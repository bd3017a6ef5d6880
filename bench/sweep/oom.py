"""Whether the system has killed processes for lack of memory: counters that only go up."""

from __future__ import annotations

from pathlib import Path


def oom_kills(root: Path = Path("/")) -> int | None:
    """Kills so far among the processes of this one's control group; of the whole machine where no group tells.

    Args:
        root: where ``proc`` and ``sys`` lie.

    Returns:
        ``None`` where nothing tells.
    """
    for path in (*_group_files(root), root / "proc/vmstat"):
        if (found := _counter(path)) is not None:
            return found
    return None


def _group_files(root: Path) -> list[Path]:
    """Where the kernel counts for this process's group: version 2's hierarchy, then version 1's."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if not controllers:
            folder, name = root / "sys/fs/cgroup", "memory.events"
        elif "memory" in controllers.split(","):
            folder, name = root / "sys/fs/cgroup/memory", "memory.oom_control"
        else:
            continue
        # A container may see its own group as the top of the tree and be told its path outside.
        found += [folder / group.strip("/") / name, folder / name]
    return found


def _counter(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return None
