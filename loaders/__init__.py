"""Storage formats for image classification data, behind one batch-first PyTorch ``Dataset``."""

from loaders.api import Batches, make_loader, open_dataset, prepare
from loaders.core.batch import Batch, BatchRequest, Sample, collate
from loaders.core.errors import (
    BackendError,
    DecodeError,
    LoaderError,
    LoaderFaultError,
    OptionError,
    StoreError,
    UnavailableError,
)
from loaders.core.options import DecodingOptions, LoaderOptions, encoding_option, read_option, store_option
from loaders.reading.dataset import ImageDataset
from loaders.registry import load, loader_names
from loaders.store.intake import StreamedSplit
from loaders.store.manifest import StoreInfo
from loaders.store.samples import Block, DatasetInfo, Split, SplitInfo
from loaders.store.writer import Written

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
