"""Every way to damage a consistent deployment, and the difference that an audit must report."""

from tests.support.damage import (
    commands,
    epochs,
    index,
    log,
    marks,
    replies,
    store,
    sync_log,
    sync_store,
)
from tests.support.damage.tools import BETWEEN_EPOCHS, DAMAGES, Damage, Expected, Pick

__all__ = [
    "BETWEEN_EPOCHS",
    "DAMAGES",
    "Damage",
    "Expected",
    "Pick",
    "commands",
    "epochs",
    "index",
    "log",
    "marks",
    "replies",
    "store",
    "sync_log",
    "sync_store",
]
