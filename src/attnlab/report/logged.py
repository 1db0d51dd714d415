"""What is kept and logged of a run besides its figures over training."""

from __future__ import annotations

from collections.abc import Iterator

from attnlab.config.schema import Config
from attnlab.report.examples import choose_examples, gold_text
from attnlab.training.data_module import PreparedData
from attnlab.training.history import History, MapRecorder, Recorded


def map_recorder(config: Config, data: PreparedData, history: History) -> Iterator[MapRecorder]:
    """What keeps maps over training, if any are kept; of examples that the first process gets."""
    settings, trainer, codec = config.logger, config.trainer, data.prepared.codec
    if not settings.maps_every or trainer.fast_dev_run:
        return
    items = data.split("val")
    places = range(0, len(items), trainer.devices * trainer.num_nodes)
    golds = [gold_text(items.examples[place], codec) for place in places]
    chosen = [items[places[i]] for i in choose_examples(golds, settings.maps_examples)]
    examples = {i.index: Recorded(items.examples[i.index].id, i.queries, i.keys) for i in chosen}
    yield MapRecorder(history, examples, settings.maps_every)
