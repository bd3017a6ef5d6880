"""The catalogue of derivations: every entry as data. Adding one is one ``Entry`` in a module here."""

from bench.gradients import models
from bench.gradients.catalogue import activations, blocks, composites, dense, likelihoods, losses, spatial, updates
from bench.gradients.entry import Entry

ENTRIES: tuple[Entry, ...] = (
    *blocks.ENTRIES,
    *dense.ENTRIES,
    *activations.ENTRIES,
    *composites.ENTRIES,
    *spatial.ENTRIES,
    *losses.ENTRIES,
    *likelihoods.ENTRIES,
    *updates.ENTRIES,
    *models.ENTRIES,
)
"""In the order of the table."""
