"""Every way to damage a consistent deployment, and what an audit has to say to it."""

from tests.support.damage import index, log, marks, store, sync_log, sync_store
from tests.support.damage.tools import DAMAGES, Damage, Expected, Pick

__all__ = [
    "DAMAGES",
    "Damage",
    "Expected",
    "Pick",
    "index",
    "log",
    "marks",
    "store",
    "sync_log",
    "sync_store",
]
