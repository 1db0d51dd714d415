"""What does not go together, across groups. Each rule yields the mistakes it finds."""

from __future__ import annotations

from collections.abc import Iterator

from attnlab.config import combinations
from attnlab.config.dataset_files import Files
from attnlab.config.decoding import Beam
from attnlab.config.model import Convolutional, HuggingFace, Recurrent, Transformer
from attnlab.config.schema import Config
from attnlab.config.task import Generate, Locate, Rank
from attnlab.errors import Mistake


def broken_rules(config: Config) -> Iterator[Mistake]:
    """Mistakes that no single field shows."""
    for rule in (
        _mechanisms,
        _places,
        _rounds,
        _prediction,
        _co_attention,
        _every_place,
        _one_answer,
        _packed,
        _convolved,
        _backbone,
        _coverage,
        _one_vocabulary,
        _length,
        _devices,
        _presets,
    ):
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
        roles = {"causal"} if config.task.causal else roles
        yield from combinations.usable_for(config.attention, "attention", roles)
        return
    generates = config.task.kind == "generate" and model.decoder_layers > 0
    generates = generates or config.task.causal
    own = ({"self"} if model.encoder_layers else set()) | ({"causal"} if generates else set())
    if model.self_attention is None:
        yield from combinations.usable_for(config.attention, "attention", own or {"self"})
    else:
        where = "model.self_attention"
        yield from combinations.usable_for(model.self_attention, where, own or {"self"})
        yield from combinations.usable_for(config.attention, "attention", {"cross"})


def _rounds(config: Config) -> Iterator[Mistake]:
    """Queries that tell one another what they found stand in no order, and in no picture."""
    if not isinstance(config.task, Locate) or config.task.rounds == 1:
        return
    for part in combinations.PARTS:
        chosen = getattr(config.attention, part)
        if combinations.form(chosen) in ("recurrent", "picture"):
            problem = (
                f"'{chosen.kind}' does not serve queries that tell one another what they found"
            )
            yield Mistake(f"attention.{part}", problem, "try: task.rounds=1")


def _prediction(config: Config) -> Iterator[Mistake]:
    answered = ("generate", "classify", "rank")
    if config.model.prediction is not None and config.task.kind not in answered:
        problem = f"task '{config.task.kind}' answers from the input's own states"
        yield Mistake("model.prediction", problem, f"allowed with: {', '.join(answered)}")
    if config.model.prediction is not None and config.task.looks > 1:
        problem = "each look depends on what those before it found, which nothing can predict"
        yield Mistake("task.hops", problem, "try: task.hops=1, or model.prediction=null")


def _co_attention(config: Config) -> Iterator[Mistake]:
    """Every state of an input asks at once, in no order that a mechanism could go by."""
    if config.model.co_attention and combinations.is_recurrent(config.attention):
        problem = f"'{config.attention.name}' goes query by query: not in co-attention"
        yield Mistake("attention", problem, "try: model.co_attention=0")
    if config.model.co_attention and config.task.causal:
        problem = "other inputs would attend to later items and hand them back to earlier ones"
        hint = "with task.learn=every_place try: model.co_attention=0"
        yield Mistake("model.co_attention", problem, hint)


OWN_TO_BACKBONES = {
    "score": "scaled_dot",
    "normalizer": "softmax",
    "structure": "global",
    "position": "none",
    "heads": "multi",
}


def _backbone(config: Config) -> Iterator[Mistake]:
    """A pretrained model attends as it was trained to: the head on top alone is to choose."""
    model = config.model
    if not isinstance(model, HuggingFace) or config.task.kind != "generate":
        return
    if any(getattr(config.attention, part).kind != k for part, k in OWN_TO_BACKBONES.items()):
        problem = f"'{config.attention.name}' does not take the place of the backbone's own"
        yield Mistake("attention", problem, "with task 'generate' try: attention=multihead")
    if model.prediction is not None:
        problem = "the backbone's decoder looks at its encoder, not at a prediction"
        yield Mistake("model.prediction", problem, "try: model.prediction=null")


def _coverage(config: Config) -> Iterator[Mistake]:
    """A search that counts what was looked at needs a map that is made step by step."""
    task = config.task
    if not isinstance(task, Generate) or not isinstance(task.decoding, Beam):
        return
    if task.decoding.coverage_penalty and not task.map.startswith("decoder.cross"):
        problem = f"task.map '{task.map}' is not made step by step"
        hint = "set task.decoding.coverage_penalty=0, or task.map=decoder.cross.-1"
        yield Mistake("task.decoding.coverage_penalty", problem, hint)


def _one_vocabulary(config: Config) -> Iterator[Mistake]:
    """One matrix for all texts takes one vocabulary for all of them, and one width."""
    dataset, model = config.dataset, config.model
    if not isinstance(model, Transformer | Recurrent | Convolutional) or model.tie != "all":
        return
    joint = dataset.tokenizer.joint if isinstance(dataset, Files) else None
    if not joint and not isinstance(config.task, Rank):  # which has items, in and out
        problem = f"'all' needs one vocabulary for all texts; '{dataset.name}' has several"
        yield Mistake(
            "model.tie", problem, "did you mean 'output'? or: dataset.tokenizer.joint=true"
        )
    if isinstance(model, Transformer) or model.encoder_layers or model.embedding_dim == model.dim:
        return
    problem = f"'all' needs one width; without an encoder inputs have that of model.dim={model.dim}"
    yield Mistake("model.tie", problem, f"try: model.embedding_dim={model.dim}")


def _every_place(config: Config) -> Iterator[Mistake]:
    """Where every place of the input is answered, none may know what comes after it."""
    model = config.model
    if not config.task.causal:
        return
    if isinstance(model, Recurrent) and model.encoder_layers and model.bidirectional:
        problem = "a state would know the items that it has to tell"
        hint = "with task.learn=every_place try: model.bidirectional=false"
        yield Mistake("model.bidirectional", problem, hint)
    if isinstance(model, Convolutional) and model.encoder_layers:
        problem = "a state would know the items that it has to tell"
        yield Mistake("model.encoder_layers", problem, "did you mean model=recurrent?")
    if isinstance(model, HuggingFace):
        problem = "its states see later items as well as earlier ones"
        hint = "with task.learn=every_place try: model=transformer"
        yield Mistake("model.kind", problem, hint)


def _one_answer(config: Config) -> Iterator[Mistake]:
    """A map that is predicted or supervised is that of one answer."""
    task, objective = config.task, config.objective
    if not isinstance(task, Rank) or task.learn == "answer":
        return
    if config.model.prediction is not None:
        problem = f"predicts where one answer looks; task.learn={task.learn} has one for each place"
        yield Mistake("model.prediction", problem, "try: task.learn=answer")
    if objective.attention is not None or objective.extra:
        problem = f"losses on maps are those of one answer; task.learn={task.learn} has many"
        yield Mistake("objective", problem, "try: objective=unsupervised, or task.learn=answer")


def _packed(config: Config) -> Iterator[Mistake]:
    model = config.model
    if isinstance(model, Transformer) and model.packed:
        own = model.self_attention
        where = "attention" if own is None else "model.self_attention"
        yield from combinations.packable(own or config.attention, where)


def _convolved(config: Config) -> Iterator[Mistake]:
    """A convolution of the encoder's steps sees what stands beside each, on both sides."""
    model = config.model
    if not isinstance(model, Transformer) or model.kernel is None:
        return
    if config.task.causal:
        problem = "a state would know the items that it has to tell"
        yield Mistake("model.kernel", problem, "with task.learn=every_place try: model.kernel=null")
    if model.packed:
        problem = "would join the examples that stand in one row"
        yield Mistake("model.kernel", problem, "with model.packed=true try: model.kernel=null")


def _length(config: Config) -> Iterator[Mistake]:
    if config.trainer.max_epochs < 0 and config.trainer.max_steps < 0:
        yield Mistake("trainer.max_epochs", "no end: max_epochs and max_steps are both -1")


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
