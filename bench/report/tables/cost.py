"""What a store costs to make and to keep, and after how many epochs it has paid for itself."""

from __future__ import annotations

from bench.render.language import Joined, message
from bench.render.table import Column, Table, Value
from bench.report.breakeven import epochs_until, preparation
from bench.report.groups import NO_MODEL, Cell
from bench.report.metrics import columns
from bench.report.tables import assemble, cells
from bench.report.tables.part import Part

STORE = columns("prepare_s", "store_bytes", "store_allocated_bytes", "bytes_per_image")
BREAK_EVEN = [
    Column("saved_s", message("saved"), "s", message("data stall of the baseline less this one, paired by round"),
           spread="half", better="higher"),
    Column("break_even_epochs", message("break-even"), message("epochs"),
           message("preparation time over the time saved per epoch, with the range by its interval, where a difference "
                   "was found; the baseline's preparation is not subtracted; never where nothing is saved"),
           format=",.1f", spread="limits", better="lower"),
]  # fmt: skip


def cost(part: Part) -> Table | None:
    """A row for each cell whose store is known; None if there is none."""
    stored = [cell for cell in part.cells if any(record.store is not None for record in part.done(cell))]
    once = message("A store that several runs read was prepared once.")
    if part.key.command == "run" and part.key.model != NO_MODEL:
        shown, title = STORE + BREAK_EVEN, message("Preparation, size and break-even")
        about = message(
            "Preparation and size of the stores, and the epochs after which the time saved has paid for the "
            "preparation."
        )
    else:  # what an emulated accelerator waits depends on how fast it is
        shown, title = STORE, message("Preparation and size")
        about = message("Preparation and size of the stores.")
    caption = Joined((about, once))
    return assemble.part_table(part, "cost", title, caption, shown, lambda cell: _cells(part, cell), cells=stored)


def _cells(part: Part, cell: Cell) -> dict[str, Value]:
    """Preparation, saving and break-even."""
    done, base = part.done(cell), part.baseline_of(cell)
    mean, values = preparation(done), {"prepare_s": cells.prepared(done)}
    if base == cell:
        values["break_even_epochs"] = Value(text=assemble.BASELINE)
    elif base is not None:
        saved = cells.difference(part.pooled[base], part.pooled[cell])
        if saved is not None:
            values["saved_s"] = cells.from_interval(saved, cells.ids([*part.done(base), *done]))
            if part.comparisons[cell].verdict in ("no difference found", "too few runs"):
                values["break_even_epochs"] = Value(text=message("no saving found"), runs=values["saved_s"].runs)
            elif mean is not None:
                values["break_even_epochs"] = _epochs(mean.mean, values["saved_s"])
    return values


def _epochs(prepare_s: float, saved: Value) -> Value:
    """Epochs until so much is saved. The limits are those of the largest and of the smallest saving in the interval."""
    low, epochs, high = (epochs_until(prepare_s, saved_s) for saved_s in (saved.high, saved.number, saved.low))
    never = message("never") if epochs is None else ""
    return Value(epochs, low, None if never else high, never, runs=saved.runs)
