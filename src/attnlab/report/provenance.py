"""How a run was made, as short facts by name."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any

PLACES = ("paths.", "hydra.", "resume=")  # overrides that say where a run is, not what it is


def provenance(config: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, str]:
    """The command, settings, seed, commit, versions, data and date of a run.

    Args:
        config: the run's config as plain values.
        status: its status.json; facts that older runs did not record are left out.
    """
    overrides: Sequence[str] = status.get("overrides", [])
    settings = [override for override in overrides if not override.startswith(PLACES)]
    started = status.get("started")
    facts = {
        "command": shlex.join(["python", "train.py", *overrides]),
        "differs from the defaults": "\n".join(settings) or "nothing",
        "mechanism": mechanism(config["attention"]),
        "seed": str(config["seed"]),
        "commit": status.get("git_commit") or "",
        "data": status.get("data_digest") or "",
        "versions": ", ".join(f"{k} {v}" for k, v in status.get("versions", {}).items()),
        "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(started)) if started else "",
    }
    return {name: fact for name, fact in facts.items() if fact}


def mechanism(attention: Mapping[str, Any]) -> str:
    """The name of a mechanism and its parts: `dot (score dot, normalizer softmax, ...)`."""
    parts = [
        f"{part} {settings['kind']}"
        for part, settings in attention.items()
        if isinstance(settings, dict) and "kind" in settings
    ]
    return f"{attention['name']} ({', '.join(parts)})"
