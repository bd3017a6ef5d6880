"""Reads a store: the dataset, the order of an epoch, worker processes and threads ahead."""

from loaders.core.batch import register_collation

register_collation()
