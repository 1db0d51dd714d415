"""What does not go together, across groups. Each rule yields the mistakes it finds."""

from __future__ import annotations

from collections.abc import Iterator

from attnlab.config import combinations
from attnlab.config.dataset_files import Files
from attnlab.config.model import Transformer
from attnlab.config.schema import Config
from attnlab.errors import Mistake


def broken_rules(config: Config) -> Iterator[Mistake]:
    """Mistakes that no single field shows."""
    for rule in (_mechanisms, _places, _prediction, _length, _tags, _devices, _presets):
        yield from rule(config)


def _mechanisms(config: Config) -> Iterator[Mistake]:
    yield from combinations.mistakes(config.attention, "attention")
    if isinstance(config.model, Transformer) and config.model.self_attention is not None:
        yield from combinations.mistakes(config.model.self_attention, "model.self_attention")
    if config.model.prediction is not None:
        yield from combinations.mistakes(config.model.prediction, "model.prediction")


def _places(config: Config) -> Iterator[Mistake]:
    """Mechanisms where the model cannot use them."""
    model = config.model
    if not isinstance(model, Transformer):
        roles = {"self" if config.task.kind == "tag" else "cross"}
        yield from combinations.usable_for(config.attention, "attention", roles)
        return
    generates = config.task.kind == "generate" and model.decoder_layers > 0
    own = ({"self"} if model.encoder_layers else set()) | ({"causal"} if generates else set())
    if model.self_attention is None:
        yield from combinations.usable_for(config.attention, "attention", own or {"self"})
    else:
        where = "model.self_attention"
        yield from combinations.usable_for(model.self_attention, where, own or {"self"})
        yield from combinations.usable_for(config.attention, "attention", {"cross"})


def _prediction(config: Config) -> Iterator[Mistake]:
    answered = ("generate", "classify", "rank")
    if config.model.prediction is not None and config.task.kind not in answered:
        problem = f"task '{config.task.kind}' answers from the input's own states"
        yield Mistake("model.prediction", problem, f"allowed with: {', '.join(answered)}")


def _length(config: Config) -> Iterator[Mistake]:
    if config.trainer.max_epochs < 0 and config.trainer.max_steps < 0:
        yield Mistake("trainer.max_epochs", "no end: max_epochs and max_steps are both -1")


def _tags(config: Config) -> Iterator[Mistake]:
    """Tags belong to words; pieces of words have none."""
    dataset = config.dataset
    if (
        config.task.kind == "tag"
        and isinstance(dataset, Files)
        and dataset.tokenizer.kind != "words"
    ):
        problem = f"'{dataset.tokenizer.kind}' cuts words, and task 'tag' has a tag for each word"
        yield Mistake("dataset.tokenizer", problem, "try: dataset/tokenizer=words")


def _devices(config: Config) -> Iterator[Mistake]:
    trainer = config.trainer
    several = trainer.devices * trainer.num_nodes > 1
    if several and trainer.strategy == "single":
        hint = "did you mean 'ddp'? allowed: ddp, fsdp"
        yield Mistake("trainer.strategy", "'single' serves one device", hint)
    if trainer.precision == "16-mixed" and trainer.accelerator == "cpu":
        hint = "did you mean 'bf16-mixed'? allowed on CPU: 32-true, bf16-mixed"
        yield Mistake("trainer.precision", "16-mixed is some 60 times slower on a CPU", hint)
    if trainer.ema and trainer.strategy == "fsdp":
        yield Mistake("trainer.ema", "not with strategy fsdp", "set trainer.ema=null")


def _presets(config: Config) -> Iterator[Mistake]:
    if config.trainer.fast_dev_run and config.trainer.overfit_batches:
        yield Mistake("trainer.overfit_batches", "not with fast_dev_run", "choose one of the two")
