"""`make bench`: the benchmarks of the sequencer, one after the other, on a Kafka of their own.

IM_KAFKA_BOOTSTRAP names another one.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from benchmarks import delay, neighbours, sequencer
from tests.support.servers import addresses, private_folder, private_stack

_VARIABLE: Final = "IM_KAFKA_BOOTSTRAP"


@contextmanager
def kafka() -> Iterator[None]:
    """A fresh broker on a free port, or the one that the environment names."""
    if _VARIABLE in os.environ:
        yield
        return
    with private_folder() as home:
        shutil.rmtree(home / "data", ignore_errors=True)
        stack = private_stack(home, ["kafka"])
        stack.up()
        os.environ[_VARIABLE] = addresses(stack)["kafka_bootstrap"]
        try:
            yield
        finally:
            stack.down()


with kafka():
    delay.main()  # first: the others leave gigabytes behind that the disk still has to take
    neighbours.main()
    sequencer.main()
