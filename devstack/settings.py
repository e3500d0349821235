"""Ports, memory and folders of the development servers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from schemas.environment import EnvironmentSettings
from schemas.settings import Settings


class DevstackSettings(EnvironmentSettings):
    """The three servers of one machine. Every field is the variable ``IM_<FIELD>``.

    Heap sizes have the format of Java's ``-Xmx``. The defaults suffice for a load of some tens of
    millions of records on two cores that also run everything else.

    Raises:
        pydantic.ValidationError: A value is out of its range, or a name is not a setting.
    """

    other_fields: ClassVar[frozenset[str]] = frozenset(Settings.model_fields)

    home: Path = Path(".im")
    """The folder of data, logs and generated configuration."""
    servers_dir: Path | None = None
    """The folder of fetched servers, ``<home>/servers`` by default; stacks can share it."""

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
    """Additional Java options of each server, separated by spaces."""

    @property
    def root(self) -> Path:
        """`home`, absolute."""
        return self.home.absolute()

    @property
    def artifacts(self) -> Path:
        """The folder of fetched servers, absolute."""
        return (self.servers_dir or self.home / "servers").absolute()
