"""Accelerators to emulate: a speed, given as a number or by the name of a profile, and where it comes from."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.render.whole import write_whole
from bench.shipped import ACCELERATORS

OWN = Path("accelerators.toml")
"""Profiles made by `bench profile`, in the working folder; a name there goes before one that is shipped."""


class Accelerator(BaseModel):
    """A device that computes at a constant speed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str
    images_per_s: float = Field(gt=0)
    source: str = ""  # where the speed comes from; empty for one given as a number

    @property
    def words(self) -> str:
        """As it is called in a sentence."""
        pace = f"{self.images_per_s:,.10g} images/s"
        return f"{self.name} ({pace})" if self.source else f"an accelerator of {pace}"


def find_accelerator(value: Any) -> Any:
    """A number, its text or a profile's name as an `Accelerator`; anything else as it is.

    Raises:
        ValueError: not above 0, or there is no such profile.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            known = profiles()
            if value not in known:
                names = ", ".join(sorted(known))
                raise ValueError(f"neither a speed in images/s nor a profile; there are: {names}") from None
            return known[value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value < float("inf"):
            raise ValueError("a speed is a number of images/s above 0")
        return Accelerator(name=f"{value:.10g}", images_per_s=value)
    return value


def profiles() -> dict[str, Accelerator]:
    """All profiles by name.

    Raises:
        ValueError: one of the files is none of profiles.
    """
    return {**_read(ACCELERATORS), **_own()}


def keep(accelerator: Accelerator) -> None:
    """Add a profile to one's own, in place of an earlier one of its name.

    Raises:
        ValueError: the file is none of profiles.
        OSError: it cannot be written.
    """
    known = {**_own(), accelerator.name: accelerator}
    # A JSON string is a TOML one, too.
    texts = (
        f"[{json.dumps(name)}]\nimages_per_s = {each.images_per_s!r}\nsource = {json.dumps(each.source)}\n"
        for name, each in known.items()
    )
    write_whole(OWN, "\n".join(texts))


def _own() -> dict[str, Accelerator]:
    return _read(OWN) if OWN.is_file() else {}


def _read(path: Path) -> dict[str, Accelerator]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: Accelerator(name=name, **values) for name, values in document.items()}
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from None
    except (OSError, ValueError, TypeError) as error:  # TypeError: a value that is no table
        raise ValueError(f"{path} has no profiles that can be read: {error}; mend or remove it") from None
