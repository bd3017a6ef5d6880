"""Loader options: typed, and each declared to shape the store or only its reading; unknown ones are errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, ValidationError

from loaders.core.errors import LoaderFaultError, OptionError
from loaders.core.payloads import Kind

Encoding = Literal["raw", "jpeg"]
O = TypeVar("O", bound="LoaderOptions")  # noqa: E741 - the customary letter for options


class LoaderOptions(BaseModel, frozen=True, extra="forbid"):
    """Base of every loader's options: immutable, and an unknown key is an error."""

    def stored(self) -> dict[str, Any]:
        """The store options: datasets that are equal in these share a store."""
        values = {}
        for name, field in type(self).model_fields.items():
            if not isinstance(field.json_schema_extra, dict):
                raise LoaderFaultError(
                    f"{type(self).__qualname__}.{name} must be declared with store_option or read_option"
                )
            if field.json_schema_extra["store"]:
                values[name] = getattr(self, name)
        return values

    def keeps_files(self, source: Encoding) -> bool:  # noqa: ARG002
        """Whether the store keeps the files of a source with this encoding rather than pixels."""
        return False

    def public(self) -> dict[str, Any]:
        """All options as a record may contain them: no secrets."""
        return self.model_dump(mode="json")

    def private(self) -> list[str]:
        """Texts that a record must not contain even in an error message: hosts, users, passwords."""
        return []


def store_option(default: Any, **kwargs: Any) -> Any:
    """A field that decides what ``prepare`` writes."""
    return Field(default=default, json_schema_extra={"store": True}, **kwargs)


def read_option(default: Any, **kwargs: Any) -> Any:
    """A field that decides only how a store is read."""
    return Field(default=default, json_schema_extra={"store": False}, **kwargs)


class DecodingOptions(LoaderOptions):
    """Options of a format whose samples are decoded or cropped."""

    threads: int = read_option(0, ge=0, le=1024, description="decoding threads; 0: one per core")
    scaled: bool = read_option(
        False, description="decode JPEG images of many sizes only as fine as a crop needs: quicker, other pixels"
    )

    @property
    def library(self) -> Literal["fast", "pil"]:
        """The library that decodes images on the host."""
        return "fast"


class EncodingOptions(DecodingOptions):
    """Options of a format that stores pixels or the source's own files."""

    encoding: Encoding = store_option("raw", description="raw: decoded pixels; jpeg: the source's own JPEG bytes")

    def keeps_files(self, source: Encoding) -> bool:  # noqa: ARG002
        """Whether ``encoding`` is jpeg."""
        return self.encoding == "jpeg"

    @property
    def kind(self) -> Kind:
        """What is stored of each image of a split of one size."""
        return Kind.JPEG if self.encoding == "jpeg" else Kind.PIXELS


def parse_options(model: type[O], values: Mapping[str, Any], loader: str) -> O:
    """Build options from text or typed values.

    Raises:
        OptionError: unknown name or bad value, with what is allowed.
    """
    try:
        return model.model_validate(dict(values))
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
