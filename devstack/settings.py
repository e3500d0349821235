"""Where the development servers listen, what memory they may take, and where they live."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from schemas.environment import EnvironmentSettings
from schemas.settings import Settings


class DevstackSettings(EnvironmentSettings):
    """The three servers of one machine. Every field is the variable ``IM_<FIELD>``.

    Heaps are in the form of Java's ``-Xmx``. They are sized for a whole load of some tens of
    millions of records beside everything else that runs on two cores.

    Raises:
        pydantic.ValidationError: A value is out of its range, or a name is not a setting.
    """

    other_fields: ClassVar[frozenset[str]] = frozenset(Settings.model_fields)

    home: Path = Path(".im")
    """Data, logs and generated configuration are kept below this folder."""
    servers_dir: Path | None = None
    """Where the fetched servers are kept, ``<home>/servers`` unless set; stacks can share it."""

    kafka_port: int = Field(default=9092, ge=1, le=65535)
    kafka_controller_port: int = Field(default=9093, ge=1, le=65535)
    cassandra_port: int = Field(default=9042, ge=1, le=65535)
    cassandra_storage_port: int = Field(default=7000, ge=1, le=65535)
    elasticsearch_port: int = Field(default=9200, ge=1, le=65535)
    elasticsearch_transport_port: int = Field(default=9300, ge=1, le=65535)

    kafka_heap: str = Field(default="1g", pattern=r"^[1-9]\d*[mg]$")
    cassandra_heap: str = Field(default="2g", pattern=r"^[1-9]\d*[mg]$")
    elasticsearch_heap: str = Field(default="768m", pattern=r"^[1-9]\d*[mg]$")
    java_options: str = ""
    """What each server's Java is told beside that, in words separated by spaces."""

    @property
    def root(self) -> Path:
        """`home`, absolute."""
        return self.home.absolute()

    @property
    def artifacts(self) -> Path:
        """The folder of fetched servers, absolute."""
        return (self.servers_dir or self.home / "servers").absolute()
