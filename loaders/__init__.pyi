from .api import Batches, make_loader, open_dataset, prepare
from .core.batch import Batch, BatchRequest, Indices, Sample, collate
from .core.errors import (
    BackendError,
    DecodeError,
    LoaderError,
    LoaderFaultError,
    OptionError,
    StoreError,
    UnavailableError,
)
from .core.format import Candidate, Caps, Format, Reader, Written
from .core.options import (
    DecodingOptions,
    EncodingOptions,
    LoaderOptions,
    parse_options,
    read_option,
    store_option,
)
from .core.payloads import Kind, Payloads, Rows
from .core.regular import open_regular, read_regular
from .formats.gpu_mmap.device import HostAccess, host_access
from .reading.dataset import StoreDataset
from .reading.stream import BatchStream, cut, epoch_order
from .registry import BUILT_IN, UnknownLoaderError, load, loader_names
from .store.checksums import Comparison, checksums_name
from .store.intake import Intake
from .store.journal import sync_filesystem
from .store.manifest import (
    MANIFEST,
    Store,
    StoreInfo,
    check_files,
    is_empty_folder,
    is_other_folder,
    read_manifest,
    read_store,
)
from .store.prepare import prepare_store
from .store.samples import Block, DatasetInfo, Split, SplitInfo, StoredBlock

__all__ = [
    "BUILT_IN",
    "MANIFEST",
    "BackendError",
    "Batch",
    "BatchRequest",
    "BatchStream",
    "Batches",
    "Block",
    "Candidate",
    "Caps",
    "Comparison",
    "DatasetInfo",
    "DecodeError",
    "DecodingOptions",
    "EncodingOptions",
    "Format",
    "HostAccess",
    "Indices",
    "Intake",
    "Kind",
    "LoaderError",
    "LoaderFaultError",
    "LoaderOptions",
    "OptionError",
    "Payloads",
    "Reader",
    "Rows",
    "Sample",
    "Split",
    "SplitInfo",
    "Store",
    "StoreDataset",
    "StoreError",
    "StoreInfo",
    "StoredBlock",
    "UnavailableError",
    "UnknownLoaderError",
    "Written",
    "check_files",
    "checksums_name",
    "collate",
    "cut",
    "epoch_order",
    "host_access",
    "is_empty_folder",
    "is_other_folder",
    "load",
    "loader_names",
    "make_loader",
    "open_dataset",
    "open_regular",
    "parse_options",
    "prepare",
    "prepare_store",
    "read_manifest",
    "read_option",
    "read_regular",
    "read_store",
    "store_option",
    "sync_filesystem",
]
