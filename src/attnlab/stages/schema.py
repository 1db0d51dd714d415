"""`attnlab schema`: the JSON schema of the config, for editors."""

from __future__ import annotations

import argparse
import json
from typing import Any

from attnlab.config.schema import Config

COMMAND = "print the JSON schema of the config"


def main(arguments: list[str]) -> None:
    """Print the schema."""
    parser = argparse.ArgumentParser(prog="attnlab schema", description=__doc__)
    parser.parse_args(arguments)
    print(json.dumps(schema(), indent=2))


def schema() -> dict[str, Any]:
    """The schema of `python train.py --cfg job`, every kind of every slot included."""
    return Config.model_json_schema()
