"""Where the clusters are and as whom the portal comes to them: clusters.toml, which the centre writes."""

import base64
import binascii
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.schedulers import Scheduler
from jobs.schedulers.slurm import Slurm
from jobs.spec import ClusterError
from jobs.ssh import LoginNode

SCHEDULERS: Mapping[str, Callable[[], Scheduler]] = {"slurm": Slurm}


class ConfigError(ClusterError):
    """clusters.toml can't be used; the sentence says what to write."""


@dataclass(frozen=True)
class Site:
    """What is known of a cluster beforehand."""

    name: str
    scheduler: Scheduler
    username_prefix: str  # every POSIX user of the portal's begins so
    collector: str
    admin: str
    root_account: str  # the account below which the admin may make others; "": the scheduler's own root
    ca_key_file: Path = field(repr=False)
    login_nodes: tuple[LoginNode, ...]
    fencer: str = ""  # keeps budgets in the scheduler; "": the site lets nobody do that
    logins_at_once: int = 8  # by one worker, when it sends the jobs of many people


def read_clusters(path: Path) -> dict[str, Site]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"Can't read the clusters file {path} ({error.strerror}). Set CLUSTERS_FILE to a readable file."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML: {error}.") from None
    tables = document.get("clusters")
    if not isinstance(tables, dict):
        raise ConfigError(f"{path} names no cluster. Add a table [clusters.NAME].")
    return {name: _cluster(name, table, path) for name, table in tables.items()}


def _cluster(name: str, table: Any, path: Path) -> Site:
    where = f"{path}, [clusters.{name}]"
    scheduler = _text(table, "scheduler", where)
    if scheduler not in SCHEDULERS:
        raise ConfigError(f"{where}: scheduler must be one of {', '.join(SCHEDULERS)}.")
    nodes = table.get("login_nodes")
    if not isinstance(nodes, list) or not nodes:
        raise ConfigError(
            f"{where}: add at least one [[clusters.{name}.login_nodes]] with host, port, host_key."
        )
    return Site(
        name=name,
        scheduler=SCHEDULERS[scheduler](),
        username_prefix=_text(table, "username_prefix", where),
        collector=_text(table, "collector", where),
        admin=_text(table, "admin", where),
        fencer=_text(table, "fencer", where) if "fencer" in table else "",
        ca_key_file=Path(_text(table, "ca_key_file", where)),
        logins_at_once=_count(table, "logins_at_once", Site.logins_at_once, where),
        login_nodes=tuple(_login_node(node, where) for node in nodes),
        root_account=_text(table, "root_account", where) if "root_account" in table else "",
    )


def _login_node(table: Any, where: str) -> LoginNode:
    where = f"{where}.login_nodes"
    key = _text(table, "host_key", where)
    try:
        kind, encoded = key.split()[:2]
        base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise ConfigError(
            f'{where}: host_key must look like "ssh-ed25519 AAAA…", as ssh-keyscan prints it.'
        ) from None
    port = table.get("port", 22)
    if not isinstance(port, int) or not 0 < port < 65536:
        raise ConfigError(f"{where}: port must be a number from 1 to 65535.")
    return LoginNode(_text(table, "host", where), port, f"{kind} {encoded}")


def _count(table: Any, key: str, usual: int, where: str) -> int:
    value = table.get(key, usual)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 100:
        raise ConfigError(f"{where}: {key} must be a number from 1 to 100.")
    return value


def _text(table: Any, key: str, where: str) -> str:
    value = table.get(key) if isinstance(table, dict) else None
    if not isinstance(value, str) or not value:
        raise ConfigError(f'{where}: add {key} = "…".')
    return value
