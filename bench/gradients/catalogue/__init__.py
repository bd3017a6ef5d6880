"""The catalogue of derivations: every entry as data. Adding one is one ``Entry`` in a module here."""

from bench.gradients import models
from bench.gradients.catalogue import activations, blocks, linear, losses, spatial, updates
from bench.gradients.entry import Entry

ENTRIES: tuple[Entry, ...] = (
    *blocks.ENTRIES,
    *linear.ENTRIES,
    *activations.ENTRIES,
    *linear.COMPOSITES,
    *spatial.ENTRIES,
    *losses.ENTRIES,
    *updates.ENTRIES,
    *models.ENTRIES,
)
"""In the order of the table."""
