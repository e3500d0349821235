"""`nodetool` for the Cassandra of a stack: the servers' folder has its classes, but no script."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from devstack.artifacts import CASSANDRA
from devstack.java import find_java
from devstack.stack import Stack

JMX_OPTION: Final = "-Dcassandra.jmx.local.port"
"""A Java option of Cassandra: its management port on the loopback interface."""

_OPENED: Final = ("java.base/jdk.internal.ref", "java.base/sun.nio.ch", "java.base/java.nio")
"""Packages of Java that the tool uses."""


def nodetool_folder(stack: Stack, folder: Path) -> Path:
    """A folder for PATH with a script `nodetool` for the node of a stack.

    Args:
        stack: A stack whose Cassandra has `JMX_OPTION`.
        folder: Where to make the folder.
    """
    found = re.search(rf"{re.escape(JMX_OPTION)}=(\d+)", stack.settings.java_options)
    assert found is not None, f"Cassandra has no {JMX_OPTION}"
    installed = stack.settings.artifacts / f"{CASSANDRA.name}-{CASSANDRA.version}"
    scripts = folder / "scripts"
    scripts.mkdir()
    script = scripts / "nodetool"
    opened = " ".join(
        f"--add-exports {each}=ALL-UNNAMED --add-opens {each}=ALL-UNNAMED" for each in _OPENED
    )
    script.write_text(
        f"#!/bin/sh\nexec '{find_java()}' -XX:TieredStopAtLevel=1 {opened} -Duser.home='{folder}'"
        f" -Dcassandra.logdir='{folder}' -cp '{installed}/lib/*'"
        f' org.apache.cassandra.tools.NodeTool -p {found[1]} "$@"\n'
    )
    script.chmod(0o755)
    return scripts
