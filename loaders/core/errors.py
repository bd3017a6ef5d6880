"""Errors a user can act on: one sentence that names the mistake and the remedy."""

from __future__ import annotations


class LoaderError(Exception):
    """Anything wrong with a loader, its store or its backend that the user can mend."""


class OptionError(LoaderError):
    """An option that this loader does not have, or a value that it does not take."""


class UnavailableError(LoaderError):
    """The loader cannot run on this machine; the message is the reason."""


class StoreError(LoaderError):
    """A store that is missing, incomplete, damaged, foreign or of another format version."""


class DecodeError(LoaderError):
    """Encoded bytes that are not an image of the expected shape."""


class BackendError(LoaderError):
    """A server that cannot be started, reached or used, or that was lost on the way."""


class LoaderFaultError(LoaderError):
    """A loader that breaks its contract: an exception of its own, batches of another type, other samples."""
