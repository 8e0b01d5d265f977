"""The run folder: what a sweep measured, on disk as it is measured, and read back by later commands.

    run.json              settings, setup, seeds, how each repeat ended; replaced atomically
    curve.csv             repeat,step,lr,loss; one line per update, flushed at once, synced once a second
    curve.png             the picture
    recommendation.json   what `recommend` said last

A killed run leaves a complete run.json and a curve.csv whose last line may be torn: both are read.
"""

from lrfinder.store.folder import RunFolder
from lrfinder.store.layout import PICTURE, RECOMMENDATION
from lrfinder.store.load import latest_run, load_run

__all__ = ["PICTURE", "RECOMMENDATION", "RunFolder", "latest_run", "load_run"]
