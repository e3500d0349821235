"""No Kafka client is made without TLS and credentials."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from pydantic import SecretStr

from backends.kafka.clients import common_config, consumer_config, producer_config
from backends.kafka.kafka_security import security_config
from schemas.settings import Settings
from sinks.base.consumer import sink_consumer_config
from stream_processors.commit.producer_settings import transactional_config

ROOT: Final = Path(__file__).parents[3]
CLIENTS: Final = {"Producer", "Consumer", "AdminClient"}
CONFIGS: Final = {
    "common_config", "producer_config", "consumer_config", "sink_consumer_config",
    "transactional_config",
}  # fmt: skip
"""The functions that return the settings of a client; all include `security_config`."""

WITHOUT_SETTINGS: Final = {
    "devstack/kafka.py": 1,  # asks the server that the module itself started
    "backends/kafka/kafka_security.py": 1,  # uses `security_config` directly
}
SKIPPED: Final = {"tests", ".venv", "benchmarks"}
OF_FAUST: Final = "stream_processors/faust_app"


class Construction(NamedTuple):
    """A call that makes a Kafka client, the function around it, and the module."""

    path: str
    call: ast.Call
    function: ast.AST
    module: ast.Module


def sources() -> Iterator[Path]:
    """The modules of the product."""
    for path in sorted(ROOT.rglob("*.py")):
        if not SKIPPED & set(path.relative_to(ROOT).parts):
            yield path


def constructions() -> Iterator[Construction]:
    """Every call of the constructor of a client of confluent-kafka."""
    for path in sources():
        tree = ast.parse(path.read_text())
        name = path.relative_to(ROOT).as_posix()
        if not _imported(tree) & CLIENTS:
            continue
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from (
                    Construction(name, call, function, tree)
                    for call in _own_calls(function)
                    if isinstance(call.func, ast.Name) and call.func.id in CLIENTS
                )


def _imported(tree: ast.Module) -> set[str]:
    """The names that a module imports from confluent-kafka."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("confluent_kafka")
        for alias in node.names
    }


def _own_calls(function: ast.AST) -> Iterator[ast.Call]:
    """The calls in a function, without those in functions within it."""
    for child in ast.iter_child_nodes(function):
        if isinstance(child, ast.Call):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _own_calls(child)


def is_secured(expression: ast.AST, function: ast.AST, module: ast.Module) -> bool:
    """Whether an expression contains the settings of `CONFIGS`.

    Directly, by a local name, or by a function of the module that returns them.
    """
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in CONFIGS or _returns_security(node.func.id, module):
                return True
        elif isinstance(node, ast.Name) and any(
            is_secured(value, function, module) for value in _assigned(node.id, function)
        ):
            return True
    return False


def _returns_security(name: str, module: ast.Module) -> bool:
    return any(
        is_secured(returned.value, made, module)
        for made in module.body
        if isinstance(made, ast.FunctionDef) and made.name == name
        for returned in ast.walk(made)
        if isinstance(returned, ast.Return) and returned.value is not None
    )


def _assigned(name: str, function: ast.AST) -> list[ast.expr]:
    return [
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        and [target.id for target in node.targets if isinstance(target, ast.Name)] == [name]
    ]


FOUND: Final = list(constructions())


@pytest.mark.parametrize("made", FOUND, ids=[f"{each.path}:{each.call.lineno}" for each in FOUND])
def test_a_client_gets_the_security_of_the_deployment(made: Construction) -> None:
    """Each construction takes its settings from a function that includes the security."""
    if made.path not in WITHOUT_SETTINGS:
        assert is_secured(made.call.args[0], made.function, made.module)


def test_all_constructions_are_found() -> None:
    """The search finds as many constructions as the text has, so none is overlooked."""
    found = dict.fromkeys(WITHOUT_SETTINGS, 0)
    for made in FOUND:
        found[made.path] = found.get(made.path, 0) + 1
    written = {}
    for path in sources():
        tree = ast.parse(path.read_text())
        called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = [getattr(func, "id", getattr(func, "attr", "")) for func in called]
        if path.parts[-2] == "faust_app" or not (count := sum(name in CLIENTS for name in names)):
            continue
        written[path.relative_to(ROOT).as_posix()] = count
    worker = f"{OF_FAUST}/worker_app.py"
    assert found.pop(worker) == 1
    assert found == written
    assert {path: found[path] for path in WITHOUT_SETTINGS} == WITHOUT_SETTINGS


def test_faust_makes_the_only_other_client() -> None:
    """Faust alone makes clients of aiokafka, and gets the credentials of the deployment."""
    for path in sources():
        assert "AIOKafkaConsumer(" not in path.read_text()
        assert "AIOKafkaProducer(" not in path.read_text()
    worker = ast.parse(ROOT.joinpath(OF_FAUST, "worker_app.py").read_text())
    apps = [
        node
        for node in ast.walk(worker)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "HoldingApp"
    ]
    assert [
        ast.unparse(keyword.value)
        for app in apps
        for keyword in app.keywords
        if keyword.arg == "broker_credentials"
    ] == ["broker_credentials(settings)"]


def test_nothing_else_sets_the_security_of_a_client() -> None:
    """The names of these settings are in one module, so no client overwrites them."""
    names = ('"security.protocol"', '"sasl.', '"ssl.')
    setting = [
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if any(name in path.read_text() for name in names)
    ]
    assert setting == ["backends/kafka/kafka_security.py"]


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_every_config_has_the_security(mechanism: str) -> None:
    """All functions that return settings of a client return those of the security as well."""
    settings = Settings.model_validate(
        {
            "kafka_security_protocol": "SASL_SSL",
            "kafka_sasl_mechanism": mechanism,
            "kafka_user": "im",
            "kafka_password": SecretStr("s3cret"),
        }
    )
    security = security_config(settings)
    assert security == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": "im",
        "sasl.password": "s3cret",
    }
    made: dict[str, dict[str, Any]] = {
        "common_config": common_config(settings),
        "producer_config": producer_config(settings),
        "consumer_config": consumer_config(settings, "group"),
        "sink_consumer_config": sink_consumer_config(settings, "sink-sync"),
        "transactional_config": transactional_config(settings, "group-0"),
    }
    assert made.keys() == CONFIGS
    for config in made.values():
        assert security.items() <= config.items()


def test_clients_of_the_stores_are_made_in_one_place_each() -> None:
    """Sessions of Cassandra and clients of Elasticsearch get their credentials where all do."""
    made = {
        path.relative_to(ROOT).as_posix(): {
            node.func.id: [ast.unparse(each.value) for each in node.keywords if each.arg is None]
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"Cluster", "Elasticsearch", "AsyncElasticsearch"}
        }
        for path in sources()
    }
    assert {path: calls for path, calls in made.items() if calls} == {
        "backends/cassandra/session.py": {"Cluster": ["security_options(settings)"]},
        "backends/elasticsearch/index.py": {
            "Elasticsearch": ["client_options(settings, timeout)"]
        },
        "gateway/store/elastic_index.py": {
            "AsyncElasticsearch": ["client_options(settings, SEARCH_SECONDS)"]
        },
    }
