"""Pictures and sounds changed in training: what is drawn, what moves along, what stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from attnlab.config.dataset import Augment
from attnlab.data.augment import Augmenter
from attnlab.data.batch import Batch, collate
from attnlab.data.codec import Codec
from attnlab.data.example import Example
from attnlab.data.loader import BatchOrder, Loader
from attnlab.data.target import AttentionTarget, MapLayout
from attnlab.datasets.targets import span_target
from attnlab.errors import UserError
from tests.forms import fitted

STILL = {"turn": 0, "scale": 0, "shear": 0, "shift": 0}


def steps(**given: dict[str, object]) -> dict[str, Augment]:
    return {name: Augment.model_validate({"kind": name, **each}) for name, each in given.items()}


def pictures(count: int = 6) -> list[Example]:
    random = np.random.default_rng(0)
    made = []
    for i in range(count):
        pixels = random.integers(0, 256, (1, 8, 12), dtype=np.uint8)
        weights = random.random((1, 96)).astype(np.float32)
        on = np.ones(1, bool), np.ones(96, bool)
        target = AttentionTarget(weights, *on, kind="soft", points=(weights > 0.9).astype("f4"))
        made.append(Example(str(i), {"image": pixels}, str(i % 2), target, attended="image"))
    return made


def sounds(*lengths: int) -> list[Example]:
    random = np.random.default_rng(0)
    meta = {"sample_rate": 8000, "hop": 80}
    return [
        Example(
            str(i), {"audio": random.normal(size=n).astype("f4")}, "x", attended="audio", meta=meta
        )
        for i, n in enumerate(lengths)
    ]


def batched(examples: list[Example], patch: int = 2) -> tuple[Batch, Codec]:
    codec = fitted(examples).with_layout(MapLayout(patch=(patch, patch)))
    return collate([codec.encode(each, i) for i, each in enumerate(examples)]), codec


def test_mirrored_pictures_have_mirrored_maps() -> None:
    batch, codec = batched(pictures())
    changed = Augmenter(steps(mirror={"chance": 1}), codec, 0)(batch, (0, 1, 0))
    light = batch.inputs["image"].values.float() / 255
    torch.testing.assert_close(changed.inputs["image"].values, light.flip(-1))
    maps = batch.target.weights.view(6, 1, 4, 6)
    torch.testing.assert_close(changed.target.weights.view(6, 1, 4, 6), maps.flip(-1))
    assert batch.target.points is not None and changed.target.points is not None
    points = batch.target.points.view(6, 1, 4, 6)
    torch.testing.assert_close(changed.target.points.view(6, 1, 4, 6), points.flip(-1))
    some = Augmenter(steps(mirror={"chance": 0.5}), codec, 0)(batch, (0, 1, 0))
    same = [torch.allclose(a, b) for a, b in zip(some.inputs["image"].values, light, strict=True)]
    assert 0 < sum(same) < 6


def test_a_picture_that_is_not_moved_stays_as_it_is_and_a_moved_one_keeps_its_middle() -> None:
    batch, codec = batched(pictures())
    light = batch.inputs["image"].values.float() / 255
    still = Augmenter(steps(affine=STILL), codec, 0)(batch, (0, 1, 0))
    torch.testing.assert_close(still.inputs["image"].values, light, atol=1e-5, rtol=0)
    torch.testing.assert_close(still.target.weights, batch.target.weights, atol=1e-5, rtol=0)
    turned = Augmenter(steps(affine=STILL | {"turn": 180}), codec, 0)(batch, (0, 1, 0))
    assert not torch.allclose(turned.inputs["image"].values, light, atol=0.1)
    assert turned.inputs["image"].values.max() <= 1


def test_what_is_drawn_depends_on_seed_epoch_and_place_alone() -> None:
    batch, codec = batched(pictures())
    given = steps(affine=STILL | {"shift": 0.3}, noise={"amount": 0.1})

    def seen(seed: int, *place: int) -> torch.Tensor:
        return Augmenter(given, codec, seed)(batch, place).inputs["image"].values

    again = seen(0, 1, 2, 0)
    torch.rand(3)
    torch.testing.assert_close(seen(0, 1, 2, 0), again, rtol=0, atol=0)
    for other in ((1, 1, 2, 0), (0, 2, 2, 0), (0, 1, 3, 0), (0, 1, 2, 1)):
        assert not torch.allclose(seen(*other), again)


def test_a_loader_that_goes_on_in_the_middle_changes_the_rest_alike() -> None:
    _, codec = batched(pictures())
    items = [codec.encode(each, i) for i, each in enumerate(pictures())]

    def loader() -> Loader:
        change = Augmenter(steps(noise={"amount": 0.1}), codec, 3)
        return Loader(items, BatchOrder([1] * 6, 2, 1, 0, 0, 1), 0, False, change)

    whole = [batch.inputs["image"].values for batch in loader()]
    rest = loader()
    rest.load_state_dict({"epoch": 0, "skip": 2})
    (last,) = [batch.inputs["image"].values for batch in rest]
    torch.testing.assert_close(last, whole[2], rtol=0, atol=0)


def test_light_changes_brightness_and_contrast_within_bounds() -> None:
    batch, codec = batched(pictures())
    given = steps(light={"brightness": 0.5, "contrast": 0.5})
    values = Augmenter(given, codec, 0)(batch, (0, 1, 0)).inputs["image"].values
    assert values.min() >= 0 and values.max() <= 1
    assert values.mean((1, 2, 3)).std() > 0.05


def test_noise_of_a_sound_is_as_loud_as_asked_and_silence_after_it_stays() -> None:
    batch, codec = batched(sounds(8000, 4000))
    given = steps(mix={"chance": 1, "least_snr": 10, "most_snr": 10})
    before, mask = batch.inputs["audio"]
    after = Augmenter(given, codec, 0)(batch, (0, 1, 0)).inputs["audio"].values
    noise = (after - before).square().sum(1) / mask.sum(1)
    power = before.square().sum(1) / mask.sum(1)
    torch.testing.assert_close(noise / power, torch.full((2,), 0.1), rtol=0.1, atol=0)
    assert not after[~mask].any()
    none = Augmenter(steps(mix={"chance": 0, "least_snr": 0, "most_snr": 0}), codec, 0)
    torch.testing.assert_close(none(batch, (0, 1, 0)).inputs["audio"].values, before)


def test_tempo_moves_a_tone_and_takes_all_of_it_along() -> None:
    batch, codec = batched(sounds(8000, 4000))
    tone = torch.sin(2 * torch.pi * 400 * torch.arange(8000) / 8000)
    mask = batch.inputs["audio"].mask
    batch.inputs["audio"] = batch.inputs["audio"]._replace(values=tone * mask)
    place = (0, 1, 0)
    after, heard = Augmenter(steps(tempo={"most": 0.2}), codec, 0)(batch, place).inputs["audio"]
    assert not after[~heard].any()
    for sound, there, length in zip(after, heard, mask.sum(1), strict=True):
        rate = float(length / there.sum())  # of the tone, and of time
        assert 0.8 <= rate <= 1.2 and abs(rate - 1) > 0.01
        spectrum = torch.fft.rfft(sound[there]).abs()
        tone_after = int(spectrum.argmax()) * 8000 / int(there.sum())
        assert tone_after == pytest.approx(400 * rate, rel=0.01)


def test_gold_times_follow_the_tempo() -> None:
    """Noise is heard where gold says that it is, before and after."""
    examples = []
    for example, (begin, end) in zip(sounds(16000, 8000), ((60, 100), (20, 90)), strict=True):
        audio = np.asarray(example.inputs["audio"])
        audio[: begin * 80], audio[end * 80 :] = 0, 0
        target = span_target([[(begin, end)]], len(audio) // 80)
        examples.append(replace(example, target=target))
    codec = fitted(examples).with_layout(MapLayout(stride=2))
    batch = collate([codec.encode(each, i) for i, each in enumerate(examples)])
    changed = Augmenter(steps(tempo={"most": 0.3}), codec, 0)(batch, (0, 1, 0))
    audio, target = changed.inputs["audio"], changed.target
    assert audio.values.shape[1] != batch.inputs["audio"].values.shape[1]
    for each in (batch, changed):
        values, mask = each.inputs["audio"]
        steps_there = -(-mask.sum(1) // 160)
        assert torch.equal(each.target.key_mask.sum(1), steps_there)
        power = F.pad(values, (0, -values.shape[1] % 160)).unflatten(1, (-1, 160)).square().mean(2)
        heard, marked = power > 0.5, each.target.weights[:, 0] > 0.5
        assert (heard != marked).sum(1).max() <= 2  # a step at either edge
    assert not torch.equal(target.weights.sum((1, 2)), batch.target.weights.sum((1, 2)))


def test_gain_is_one_factor_within_bounds() -> None:
    batch, codec = batched(sounds(8000, 4000))
    before = batch.inputs["audio"].values
    after = Augmenter(steps(gain={"most": 6}), codec, 0)(batch, (0, 1, 0)).inputs["audio"].values
    factor = after[0, 1:5] / before[0, 1:5]
    assert factor.max() - factor.min() < 1e-5 and 0.5 <= factor[0] <= 2


def test_steps_that_do_not_fit_the_data_are_refused() -> None:
    _, codec = batched(pictures())
    with pytest.raises(UserError) as caught:
        Augmenter(steps(gain={"most": 3}), codec, 0)
    assert str(caught.value) == "dataset.augment.gain: 'gain' changes a sound; there is: picture"
    boxes = [
        Example(e.id, e.inputs, np.array([[0, 0, 2, 2, 1]], np.float32), attended="image")
        for e in pictures()
    ]
    with pytest.raises(UserError) as caught:
        Augmenter(steps(mirror={"chance": 1}), batched(boxes)[1], 0)
    assert str(caught.value) == (
        "dataset.augment.mirror: 'mirror' would move the picture away from its answer (boxes); "
        "allowed: light, noise"
    )
