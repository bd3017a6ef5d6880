"""Loader options: typed, closed, and each marked as shaping the store or only its reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from loaders.core.errors import LoaderFaultError, OptionError

Encoding = Literal["raw", "jpeg"]
O = TypeVar("O", bound="LoaderOptions")  # noqa: E741 - the customary letter for options


class LoaderOptions(BaseModel):
    """Base of every loader's options: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def stored(self) -> dict[str, Any]:
        """The options that decide what is on disk; two datasets equal in these share a store."""
        return {name: getattr(self, name) for name in type(self).model_fields if _shapes_store(type(self), name)}

    def keeps_files(self, source: Encoding) -> bool:  # noqa: ARG002
        """Whether the store keeps the files of a source with this encoding rather than their pixels."""
        return False

    def public(self) -> dict[str, Any]:
        """All options as they may stand in a record: no secrets."""
        return self.model_dump(mode="json")

    def private(self) -> list[str]:
        """What must not stand in a record even within an error message: hosts, users, passwords."""
        return []


def store_option(default: Any, **kwargs: Any) -> Any:
    """A field that decides what ``prepare`` writes."""
    return Field(default=default, json_schema_extra={"store": True}, **kwargs)


def read_option(default: Any, **kwargs: Any) -> Any:
    """A field that decides only how a store is read."""
    return Field(default=default, json_schema_extra={"store": False}, **kwargs)


class DecodingOptions(LoaderOptions):
    """Options of a format that keeps what must be decoded or cropped."""

    threads: int = read_option(0, ge=0, le=1024, description="decoding threads; 0: one per core")
    scaled: bool = read_option(
        False, description="decode JPEG images of many sizes only as fine as a crop needs: quicker, other pixels"
    )

    @property
    def library(self) -> Literal["fast", "pil"]:
        """What decodes images on the host."""
        return "fast"


class EncodingOptions(DecodingOptions):
    """Options of a format that keeps pixels, or the source's own files."""

    encoding: Encoding = store_option("raw", description="raw: decoded pixels; jpeg: the source's own JPEG bytes")

    def keeps_files(self, source: Encoding) -> bool:  # noqa: ARG002
        """As ``encoding`` says."""
        return self.encoding == "jpeg"


def parse_options(model: type[O], given: Mapping[str, Any], loader: str) -> O:
    """Build options from text or typed values.

    Raises:
        OptionError: unknown name or bad value, with what is allowed.
    """
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "options"
        known = ", ".join(sorted(model.model_fields)) or "none"
        if first["type"] == "extra_forbidden":
            raise OptionError(f"loader {loader} has no option {name!r}; it has: {known}") from None
        message = first["msg"].removeprefix("Value error, ")
        if not first["loc"]:
            raise OptionError(f"loader {loader}: {message}") from None
        raise OptionError(f"option {name!r} of loader {loader}: {message[0].lower()}{message[1:]}") from None


def _shapes_store(model: type[LoaderOptions], name: str) -> bool:
    extra = model.model_fields[name].json_schema_extra
    if not isinstance(extra, dict) or "store" not in extra:
        raise LoaderFaultError(f"{model.__qualname__}.{name} must be declared with store_option or read_option")
    return bool(extra["store"])
