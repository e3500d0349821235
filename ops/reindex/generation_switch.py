"""The change from one generation of the index to the next. `docs/search.md` has the steps.

Each step is one request, or may be repeated. A command that was killed leaves the old generation
searched, or the new one, and the next command continues from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from elasticsearch import Elasticsearch
from msgspec.structs import replace

from backends.elasticsearch.generations import (
    GenerationState,
    StoredState,
    indices_of,
    read_generation,
    searched_indices,
    write_generation,
)
from backends.elasticsearch.index import clear_failures
from backends.processes.polling import poll_until
from schemas.errors import ServerUnavailable
from schemas.settings import Settings

SWITCH_SECONDS: Final = 10
"""The server drops a change of the alias that has waited for longer."""

_PAUSE_SECONDS: Final = 0.5
_BLOCK: Final = "index.blocks.write"


class GenerationSwitch:
    """The steps of one `im reindex`.

    Every method raises `ServerUnavailable` if Elasticsearch does not answer, and
    `ConfigurationError` if it refuses the credentials or another `im reindex` has begun.

    Args:
        client: A client.
        settings: The deployment.
    """

    def __init__(self, client: Elasticsearch, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._read = StoredState(GenerationState(), None)
        self.number = 0
        """The generation that this command builds."""

    def finish_interrupted(self) -> bool:
        """Completes a switch that another command did not complete after its step 5.

        Returns:
            Whether there was one. The index is then built, and there is nothing else to do.
        """
        self._read = read_generation(self._client, self._settings)
        searched = searched_indices(self._client, self._settings)
        later = [number for number in searched if number > self._read.state.current]
        if not later:
            return False
        self.number = max(later)
        self.settle()
        return True

    def begin(self) -> None:
        """Step 1: takes a new number, and removes the remains of commands that were killed."""
        state = self._read.state
        self.number = state.last + 1
        self._write(GenerationState(current=state.current, last=self.number))
        self._unblock_indices()
        self.delete_others()

    @contextmanager
    def old_is_blocked(self) -> Iterator[None]:
        """Step 3: from here on, no sink writes to the old generation or creates an index.

        The server returns when all writes that it had accepted are complete. The block ends if
        the body fails.
        """
        state = self._read.state
        self._write(replace(state, switching=True))
        try:
            names = sorted(indices_of(self._client, self._settings).get(state.current, {}))
            if names:
                with clear_failures(self._settings):
                    self._client.indices.add_block(index=",".join(names), block="write")
            yield
        except BaseException:
            self._unblock()
            raise

    def search_new(self) -> None:
        """Step 5: the alias names the new generation instead of the old one, in one request."""
        alias = self._settings.index_alias
        new = sorted(indices_of(self._client, self._settings).get(self.number, {}))
        searched = searched_indices(self._client, self._settings)
        old = [name for names in searched.values() for name in names]
        with clear_failures(self._settings):
            self._client.indices.refresh(index=",".join(new))
        try:
            with clear_failures(self._settings):
                self._client.indices.update_aliases(
                    actions=[
                        *({"remove": {"index": name, "alias": alias}} for name in old),
                        *({"add": {"index": name, "alias": alias}} for name in new),
                    ],
                    master_timeout=f"{SWITCH_SECONDS}s",
                )
        except ServerUnavailable:
            # The request may have been carried out, or may be carried out soon. If the old indices
            # took writes after that, no search would find these messages.
            if not poll_until(self._is_new_searched, 2 * SWITCH_SECONDS, pause=_PAUSE_SECONDS):
                self._unblock()
                raise

    def _is_new_searched(self) -> bool:
        try:
            return self.number in searched_indices(self._client, self._settings)
        except ServerUnavailable:
            return False

    def _unblock(self) -> None:
        self._unblock_indices()
        self._write(replace(self._read.state, switching=False))

    def settle(self) -> None:
        """Step 6: from now on the sinks write to the new generation."""
        last = max(self._read.state.last, self.number)
        self._write(GenerationState(current=self.number, last=last))

    def delete_others(self) -> None:
        """Step 7: deletes the indices of all generations except the current one."""
        current = self._read.state.current
        names = [
            name
            for number, of_one in indices_of(self._client, self._settings).items()
            if number not in {current, self.number}
            for name in of_one
        ]
        if names:
            with clear_failures(self._settings):
                self._client.indices.delete(index=",".join(sorted(names)))

    def _unblock_indices(self) -> None:
        current = self._read.state.current
        names = sorted(indices_of(self._client, self._settings).get(current, {}))
        if names:
            with clear_failures(self._settings):
                self._client.indices.put_settings(index=",".join(names), settings={_BLOCK: None})

    def _write(self, state: GenerationState) -> None:
        self._read = write_generation(self._client, self._settings, state, self._read)
