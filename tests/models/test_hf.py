"""Pretrained models: the same states, scores and maps as the library's own, through our probes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor, nn

from attnlab.attention.probes import Probe
from attnlab.attention.taps import Intervention, Tap, sites
from attnlab.config.compose import load
from attnlab.config.schema import Config
from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.pretrained import PretrainedPieces, pretrained_pieces
from attnlab.data.target import AttentionTarget
from attnlab.errors import ConfigError, UserError
from attnlab.explain.methods import explained, maps
from attnlab.explain.subject import Subject
from attnlab.models import backbone
from attnlab.models.backbone import ExternalAttention
from attnlab.objectives.attention import cross_entropy, reachable_gold
from attnlab.stages.prepare import spelling
from attnlab.tasks.generate.head import Generator, shifted
from attnlab.tasks.task import build_model
from attnlab.training.optimizers import parameter_groups
from tests.forms import fitted
from tests.models import pretrained
from tests.models.building import DATASETS

SENTENCES = ["the unfriendly waiter says soup , and a warm cake", "my aunt", "dry friendliness !"]
READERS: dict[str, Callable[[Path], Path]] = {
    "bert": pretrained.bert,
    "distilbert": lambda folder: pretrained.bert(folder, "DistilBert"),
    "electra": lambda folder: pretrained.bert(folder, "Electra", embedding_size=8),
    "roberta": pretrained.roberta,
}
WRITERS: dict[str, Callable[[Path], Path]] = {
    "t5": pretrained.t5,
    "bart": pretrained.bart,
    "marian": lambda folder: pretrained.bart(folder, "Marian"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("backbones")
    return {name: make(place / name) for name, make in {**READERS, **WRITERS}.items()}


def config_of(folder: Path, *overrides: str) -> Config:
    everything = ["~experiment", "model=hf", f"model.name={folder}", "logger=files", *overrides]
    return load([*everything, *DATASETS.get(task_of(overrides), [])])[0]


def task_of(overrides: tuple[str, ...]) -> str:
    tasks = [each.removeprefix("task=") for each in overrides if each.startswith("task=")]
    return tasks[-1] if tasks else "generate"


def built(config: Config, answers: list[Any]) -> tuple[nn.Module, Batch, Codec]:
    pairs = zip(SENTENCES, answers, strict=True)
    examples = [Example(str(i), {"text": s.split()}, answer) for i, (s, answer) in enumerate(pairs)]
    codec = fitted(examples)
    spelled = spelling(config)
    assert spelled is not None
    codec = codec.spelled(*spelled)
    codec = replace(codec, answers=config.task.adapt_answers(codec.answers, codec.inputs))
    torch.manual_seed(0)
    batch = collate([codec.encode(example, i) for i, example in enumerate(examples)])
    return build_model(config, codec).eval(), batch, codec


def classifier(folder: Path, *more: str) -> tuple[nn.Module, Batch, Codec]:
    return built(config_of(folder, "task=classify", *more), ["good", "bad", "bad"])


def writer(folder: Path, *more: str) -> tuple[Generator, Batch, Codec]:
    config = config_of(folder, "task=generate", "attention=multihead", *more)
    model, batch, codec = built(config, [["a", "cake"], ["warm"], ["dry", "soup", "never"]])
    assert isinstance(model, Generator)
    return model, batch, codec


def own_numbers(codec: Codec, batch: Batch) -> dict[str, Tensor]:
    """The batch as the library wants it."""
    pieces = codec.texts["text"]
    assert isinstance(pieces, PretrainedPieces)
    values, mask = batch.inputs["text"]
    return {"input_ids": torch.tensor(pieces.ids)[values], "attention_mask": mask.long()}


def assert_same(found: Tensor, right: Tensor, rows: Tensor) -> None:
    """Maps batch x heads x queries x keys in the real rows (batch x queries)."""
    assert found.shape == right.shape
    torch.testing.assert_close(
        found.transpose(1, 2)[rows], right.transpose(1, 2)[rows], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("family", READERS)
def test_maps_of_an_encoder_are_the_librarys(folders: dict[str, Path], family: str) -> None:
    model, batch, codec = classifier(folders[family])
    own = transformers.AutoModel.from_pretrained(folders[family], attn_implementation="eager")
    right = own.eval()(**own_numbers(codec, batch), output_attentions=True)
    names = [f"encoder.self.{layer}" for layer in range(len(right.attentions))]
    assert [*sites(model)] == [*names, "pooling"]
    with Probe(model, names) as probe, Tap(model, "pooling") as tap:
        model(batch)
    mask = batch.inputs["text"].mask
    for name, map_ in zip(names, right.attentions, strict=True):
        assert_same(probe.maps()[name], map_, mask)
    memory = model.reader(batch).memory  # type: ignore[operator]
    torch.testing.assert_close(memory.values[mask], right.last_hidden_state[mask])
    assert tap.weights()[~mask[:, None, None].expand_as(tap.weights())].max() == 0


@pytest.mark.parametrize("family", WRITERS)
def test_maps_and_scores_of_a_decoder_are_the_librarys(
    folders: dict[str, Path], family: str
) -> None:
    model, batch, codec = writer(folders[family])
    own = transformers.AutoModelForSeq2SeqLM.from_pretrained(
        folders[family], attn_implementation="eager"
    ).eval()
    pieces = codec.answers.vocabulary  # type: ignore[union-attr]
    assert isinstance(pieces, PretrainedPieces)
    numbers = torch.tensor(pieces.ids)
    read = numbers[shifted(batch.answer.values)]
    read[:, 0] = own.config.decoder_start_token_id
    right = own(**own_numbers(codec, batch), decoder_input_ids=read, output_attentions=True)
    kinds = {
        "encoder.self": (right.encoder_attentions, batch.inputs["text"].mask),
        "decoder.self": (right.decoder_attentions, batch.answer.mask),
        "decoder.cross": (right.cross_attentions, batch.answer.mask),
    }
    layers = {
        f"{kind}.{i}": (each, rows) for kind, (m, rows) in kinds.items() for i, each in enumerate(m)
    }
    assert {*sites(model)} == {*layers}
    with Probe(model, list(layers)) as probe:
        scores = model(batch)
    for name, (map_, rows) in layers.items():
        assert_same(probe.maps()[name], map_, rows)
    there = batch.answer.mask
    real = [unit for unit in range(len(pieces)) if unit != 1]  # the begin mark is never written
    torch.testing.assert_close(
        scores[there][:, real], right.logits[there][:, numbers[real]], atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("family", WRITERS)
def test_step_by_step_is_all_at_once(folders: dict[str, Path], family: str) -> None:
    model, batch, _ = writer(folders[family])
    units = shifted(batch.answer.values)
    with torch.no_grad(), Tap(model, "decoder.cross.-1") as tap:
        whole = model(batch)
        maps_at_once = tap.weights()
        tap.clear()
        memory = model.memory(model.reader(batch), 10)
        state = model.decoder.start(memory)
        steps = [model.decoder.step(units[:, i], state) for i in range(2)]
        state = state.select(torch.tensor([2, 0, 1]))  # in another order, and back
        steps.append(model.decoder.step(units[[2, 0, 1], 2], state)[[1, 2, 0]])
    torch.testing.assert_close(torch.stack(steps, 1), whole[:, :3], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        tap.weights()[:, :, :2], maps_at_once[:, :, :2], atol=1e-5, rtol=1e-5
    )


def test_another_map_changes_what_the_backbone_says(folders: dict[str, Path]) -> None:
    model, batch, _ = writer(folders["t5"])
    before = model(batch)
    same = Intervention(model, "decoder.cross.0/head=0", lambda weights, allowed: weights)
    uniform = Intervention(
        model, "decoder.cross.0/head=0", lambda weights, allowed: torch.full_like(weights, 0.1)
    )
    with same:
        torch.testing.assert_close(model(batch), before, atol=1e-4, rtol=1e-4)
    with uniform:
        assert (model(batch) - before).abs().max() > 1e-3


def test_a_loss_on_a_map_trains_the_backbone(folders: dict[str, Path]) -> None:
    model, batch, _ = classifier(folders["bert"])
    with Tap(model, "encoder.self.1/head=0") as tap:
        model(batch)
    log_weights = tap.log_weights()
    gold = torch.zeros_like(log_weights[:, 0])
    gold[:, :, 1] = 1  # all look at the first piece
    log_weights[:, 0].mul(gold).sum().neg().backward()
    name, query = next(
        (n, p) for n, p in model.named_parameters() if "layer.1" in n and "query.weight" in n
    )
    assert query.grad is not None and query.grad.abs().sum() > 0, name


def test_nobody_watches_and_the_forward_stays_fused(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    attention = next(a for a in sites(classifier(folders["bert"])[0]).values())
    assert isinstance(attention, ExternalAttention)
    assert {*attention.kernels.names} == {"sdpa", "flex", "sparse"}
    attention.kernels.forced = "sdpa"
    calls: list[Any] = []
    fused = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda *a, **k: calls.append(a) or fused(*a, **k),
    )
    model, batch, _ = classifier(folders["bert"])
    for each in sites(model).values():
        if isinstance(each, ExternalAttention):
            each.kernels.forced = "sdpa"
    plain = model(batch)
    assert len(calls) == 2, "one for each layer"
    with Probe(model, ["encoder.self.0"]):
        torch.testing.assert_close(model(batch), plain)
    assert len(calls) == 4


METHODS = {"attention": maps.attention, "rollout": maps.rollout, "chefer": maps.chefer}


@pytest.mark.parametrize("method", METHODS)
def test_explanations_reach_through_the_backbone(folders: dict[str, Path], method: str) -> None:
    model, batch, codec = classifier(folders["bert"])
    task = config_of(folders["bert"], "task=classify").task.build(codec)
    keys = batch.inputs["text"].mask
    found = explained(METHODS[method], Subject.of(model, task, batch))
    assert found.shape == (3, 1, keys.shape[1])
    assert found[~keys[:, None]].abs().max() == 0
    assert (found.sum(-1) > 0).all()
    writes, batch, codec = writer(folders["bart"])
    writing = config_of(folders["bart"], "attention=multihead").task.build(codec)
    found = explained(METHODS[method], Subject.of(writes, writing, batch, batch.answer))
    assert found.shape == (*batch.answer.values.shape, batch.inputs["text"].values.shape[1])
    assert found.isfinite().all() and (found.sum(-1)[batch.answer.mask] > 0).all()


@pytest.mark.parametrize("crf", ["true", "false"])
def test_the_first_piece_of_a_word_answers_for_it(folders: dict[str, Path], crf: str) -> None:
    tags = [["O"] * len(sentence.split()) for sentence in SENTENCES]
    tags[0][:2] = ["B-x", "I-x"]
    config = config_of(folders["bert"], "task=tag", "attention=dot", f"task.crf={crf}")
    model, batch, codec = built(config, tags)
    words = [len(each) for each in tags]
    pieces = int(batch.inputs["text"].mask.sum())
    assert pieces > sum(words) + 2 * len(words), "some word is cut"
    task = config.task.build(codec)
    scores = model(batch)
    assert scores.shape[:2] == (3, max(words))
    assert task.losses(scores, batch)[1].tolist() == words
    answers = model.answer(batch)  # type: ignore[operator]
    assert ((answers > 0).sum(1) <= torch.tensor(words)).all()
    metrics = task.metrics()
    task.update_metrics(metrics, batch, scores, answers)
    assert 0 <= metrics[1].compute()["token_accuracy"] <= 1
    with Tap(model, "tagger.self.0") as tap:
        model(batch)
    over_words = batch.over_words(tap.weights()[:, 0])
    assert over_words.shape == (3, max(words), max(words))
    found = explained(maps.rollout, Subject.of(model, task, batch))
    assert found.shape == (3, max(words), batch.inputs["text"].values.shape[1])


def test_gold_passes_to_pieces_and_never_to_marks(folders: dict[str, Path]) -> None:
    codec = classifier(folders["bert"])[2]
    example = Example(
        "0", {"text": SENTENCES[0].split()}, "good", _marked(1, len(SENTENCES[0].split()))
    )
    item = codec.encode(example, 0)
    assert item.target is not None
    groups = codec.groups(example).members
    assert item.target.weights[0].tolist() == [float(1 in group) for group in groups]
    assert item.target.weights.sum() > 1, "the word is in pieces"
    assert item.target.key_mask.tolist() == [bool(group) for group in groups]
    assert not item.target.key_mask[[0, -1]].any()
    log_weights = torch.full((1, 1, 1, item.keys), 1 / item.keys).log()
    gold = reachable_gold(log_weights, collate([item]).target)
    assert cross_entropy(log_weights, gold).isfinite().all()


def _marked(word: int, words: int) -> AttentionTarget:
    weights = np.zeros((1, words), np.float32)
    weights[0, word] = 1
    return AttentionTarget(weights, np.ones(1, bool), np.ones(words, bool))


def test_what_is_frozen_does_not_learn_and_the_rest_learns_at_its_rate(
    folders: dict[str, Path],
) -> None:
    model, _, _ = classifier(folders["bert"], "model.freeze=embeddings", "model.lr_factor=0.1")
    groups = parameter_groups(model, 1.0, 0.01)
    rates = [(g["lr"], g["weight_decay"]) for g in groups]
    assert list(dict.fromkeys(rates)) == [(1, 0.01), (1, 0), (0.1, 0.01), (0.1, 0)]
    learns = {id(p) for group in groups for p in group["params"]}
    frozen = [n for n, p in model.named_parameters() if id(p) not in learns]
    assert frozen and all("word_embeddings" in n or ".embedding." in n for n in frozen)
    model, _, _ = classifier(folders["bert"], "model.freeze=everything")
    assert not any("backbone" in n for n, p in model.named_parameters() if p.requires_grad)
    assert {g["lr"] for g in parameter_groups(model, 1.0, 0.01)} == {1.0}


def test_random_weights_are_a_control(folders: dict[str, Path]) -> None:
    trained, batch, _ = classifier(folders["bert"])
    random, _, _ = classifier(folders["bert"], "model.weights=random")
    assert [p.shape for p in random.parameters()] == [p.shape for p in trained.parameters()]
    assert not torch.allclose(random(batch), trained(batch))


def fails(*overrides: str, folder: Path, answers: list[Any] | None = None) -> str:
    with pytest.raises(UserError) as caught:
        built(config_of(folder, *overrides), answers or ["a", "b", "a"])
    return str(caught.value)


def test_what_cannot_be_is_said_in_a_line(folders: dict[str, Path], tmp_path: Path) -> None:
    texts = [["a"], ["b"], ["c"]]
    said = fails("task=generate", "attention=multihead", folder=folders["bert"], answers=texts)
    assert said == (
        f"model.name: '{folders['bert']}' only reads, and task 'generate' writes; "
        "models with a decoder are T5, BART, Marian, Pegasus and their kind"
    )
    config = config_of(folders["bert"], "task=classify")
    spelled = spelling(config)
    assert spelled is not None
    for inputs, problem in (
        ({"image": np.zeros((1, 4, 4), np.float32)}, "texts, and the data hold an input of form"),
        ({"text": ["a"], "question": ["b"]}, "one text, and the data hold several"),
    ):
        examples = [Example("0", inputs, "good", attended=next(iter(inputs)))]
        with pytest.raises(UserError, match=f"^model.kind: 'hf' reads {problem}.*; try: model="):
            build_model(config, fitted(examples).spelled(*spelled))
    said = fails("task=classify", folder=tmp_path)
    assert said.startswith(
        f"model.name: no tokenizer in '{tmp_path}', neither a folder nor on the hub"
    )
    shared = pretrained.bert(tmp_path / "albert", "Albert", embedding_size=8)
    assert fails("task=classify", folder=shared) == (
        f"model.name: '{shared}' uses one attention in several layers, which have no maps of "
        "their own; models with a module for each layer have"
    )
    with pytest.raises(ConfigError) as caught:
        config_of(folders["t5"], "task=generate", "attention=additive")
    assert str(caught.value).splitlines()[0] == (
        "attention: 'additive' does not take the place of the backbone's own; "
        "try: attention=multihead"
    )
    with pytest.raises(ConfigError) as caught:
        load(["~experiment", "model=hf", "task=classify"])
    assert str(caught.value).splitlines()[0].startswith("model.name: has to be given; a model's id")


@pytest.mark.parametrize(("family", "longest"), [("bert", 40), ("roberta", 40), ("bart", 40)])
def test_too_long_a_text(folders: dict[str, Path], family: str, longest: int) -> None:
    model, _, codec = classifier(folders[family])
    example = Example("0", {"text": ["soup"] * 60}, "good")
    batch = collate([codec.encode(example, 0)])
    units = batch.inputs["text"].values.shape[1]
    with pytest.raises(UserError) as caught:
        model(batch)
    assert str(caught.value) == (
        f"model.name: '{folders[family]}' has positions for {longest} units, and a text has "
        f"{units}; try: dataset.words.longest=N, or a model with relative positions (T5)"
    )


def test_the_name_of_a_run_has_no_folder_in_it(folders: dict[str, Path]) -> None:
    config = config_of(folders["bert"], "task=classify", "dataset=reviews")
    assert config.name == "reviews-bert-additive"
    words = ["model=hf", "model.name=google/tiny", "task=classify", "dataset=reviews"]
    assert load(["~experiment", *words])[0].name == "reviews-tiny-additive"


class Touching:
    """Makes a file where its pickle is loaded as code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 500),
        ("pytorch_model.bin", "pickle"),
        ("pytorch_model.bin", "no weights"),
        ("config.json", b"[]"),
        ("config.json", b"[" * 100_000),
        ("config.json", "code"),
        ("tokenizer.json", b"null"),
        ("tokenizer_config.json", b"[]"),
    ],
)
def test_damaged_or_hostile_folder(
    name: str, content: bytes | str, folders: dict[str, Path], tmp_path: Path, monkeypatch: Any
) -> None:
    folder = Path(shutil.copytree(folders["bert"], tmp_path / "model"))
    ran = tmp_path / "ran"
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
        content = {"pickle": Touching(ran), "no weights": {}}[content]  # type: ignore[index]
        torch.save({"w": content} if content else {}, folder / name)
    elif content == "code":
        plain = json.loads((folder / name).read_text()) | {"model_type": "unheard_of"}
        plain["auto_map"] = {"AutoConfig": "code.C", "AutoModel": "code.M"}
        (folder / name).write_text(json.dumps(plain))
        (folder / "code.py").write_text(f"from pathlib import Path; Path({str(ran)!r}).touch()")
        monkeypatch.setattr("builtins.input", lambda *prompt: "y")
    else:
        (folder / name).write_bytes(content)  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        pretrained_pieces(str(folder), None, "model.name")
        backbone.load(backbone.Source(str(folder), None, "pretrained"))
    assert str(caught.value).startswith("model.name: ")
    assert "\n" not in str(caught.value)
    assert not ran.exists()
