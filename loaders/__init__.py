"""Storage formats for image classification data, behind one batch-first PyTorch ``Dataset``."""

from loaders.base import ImageDataset
from loaders.batch import Batch, BatchRequest, Sample, collate
from loaders.errors import (
    BackendError,
    DecodeError,
    LoaderError,
    LoaderFaultError,
    OptionError,
    StoreError,
    UnavailableError,
)
from loaders.library import Batches, make_loader, open_dataset, prepare
from loaders.manifest import StoreInfo
from loaders.options import DecodingOptions, LoaderOptions, encoding_option, read_option, store_option
from loaders.registry import load, loader_names
from loaders.split import Block, DatasetInfo, Split, SplitInfo
from loaders.store import Written
from loaders.streamed import StreamedSplit

__all__ = [
    "BackendError",
    "Batch",
    "BatchRequest",
    "Batches",
    "Block",
    "DatasetInfo",
    "DecodeError",
    "DecodingOptions",
    "ImageDataset",
    "LoaderError",
    "LoaderFaultError",
    "LoaderOptions",
    "OptionError",
    "Sample",
    "Split",
    "SplitInfo",
    "StoreError",
    "StoreInfo",
    "StreamedSplit",
    "UnavailableError",
    "Written",
    "collate",
    "encoding_option",
    "load",
    "loader_names",
    "make_loader",
    "open_dataset",
    "prepare",
    "read_option",
    "store_option",
]
