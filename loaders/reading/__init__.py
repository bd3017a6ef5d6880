"""Reads a store: the dataset, the order of an epoch, worker processes and threads ahead."""
