"""What stands beside an example in its batch does not change how it is read."""

from __future__ import annotations

import pytest
import torch

from attnlab.attention.taps import Tap, sites
from attnlab.data.batch import Padded, collate
from attnlab.data.inputs import Sound
from attnlab.errors import ConfigError
from attnlab.models.embedders import LogMel, mel_filters
from attnlab.models.embedders_config import Blanks
from attnlab.models.encoders import encoded_together
from attnlab.models.memory import Memory
from attnlab.models.recurrent import reversed_positions
from tests.models.building import asked_about, built, small_config, sounds, texts

NONE = Blanks(count=0, frames=1, bands=1)
ENCODERS = {
    "lstm": ["model=recurrent", "model.encoder_layers=2"],
    "gru": ["model=recurrent", "model.cell=gru"],
    "one way": ["model=recurrent", "model.bidirectional=false"],
    "none": ["model=convolutional"],
    "convolutional": ["model=convolutional", "model.encoder_layers=2"],
    "transformer": ["model=transformer", "attention=multihead"],
    "sparse": ["model=transformer", "attention=entmax"],
    "linear": ["model=transformer", "attention=linear"],
    "conformer": ["model=transformer", "attention=multihead", "model.kernel=5"],
    "normalised after": ["model=transformer", "attention=multihead", "model.norm=after"],
}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_padding_changes_nothing(encoder: str) -> None:
    examples = texts([2, 2, 2], [3, 9, 5])
    model, batch, codec = built(small_config(*ENCODERS[encoder]), examples)
    with torch.no_grad():
        together = model.reader(batch)
        for i, example in enumerate(examples):
            alone = model.reader(collate([codec.encode(example, 0)]))
            length = len(example.inputs["text"])  # type: ignore[arg-type]
            states = together.memory.values[i : i + 1, :length]
            torch.testing.assert_close(states, alone.memory.values, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(
                together.query_seed[i : i + 1], alone.query_seed, atol=1e-5, rtol=1e-4
            )


@pytest.mark.parametrize("encoder", ["gru", "transformer", "conformer"])
@pytest.mark.parametrize("strides", ["[1,1]", "[2,1]", "[2,2]"])
def test_padding_changes_nothing_of_a_sound(encoder: str, strides: str) -> None:
    config = small_config(*ENCODERS[encoder], f"model.audio.strides={strides}")
    examples = sounds([1600, 960, 1237])
    made, batch, codec = built(config, examples)
    with torch.no_grad():
        memory = made.reader(batch).memory
        for i, example in enumerate(examples):
            item = codec.encode(example, 0)
            alone = made.reader(collate([item])).memory
            assert alone.values.shape[1] == item.keys == int(memory.mask[i].sum())
            states = memory.values[i : i + 1, : item.keys]
            torch.testing.assert_close(states, alone.values, atol=1e-4, rtol=1e-4)


def test_a_conformer_sees_its_neighbours_by_convolution_and_all_others_by_attention() -> None:
    """Without attention a change reaches as far as the kernels of both layers do."""
    nowhere = ["attention=window", "attention.structure.left=0", "attention.structure.right=0"]
    config = small_config("model=transformer", *nowhere, "model.kernel=3", "model.encoder_layers=2")
    encoder = built(config, texts([2], [3]))[0].reader.encoder
    states = torch.randn(1, 9, 16, requires_grad=True)
    read = encoder(Memory(states, torch.ones(1, 9, dtype=torch.bool)))
    (read.values[0, 4] * torch.randn(16)).sum().backward()
    assert states.grad is not None
    assert states.grad[0].abs().sum(-1).gt(0).tolist() == [2 <= place <= 6 for place in range(9)]


def test_spectrum_shows_each_tone_in_its_band_and_frame() -> None:
    """Half a second of 440 Hz, then half a second of 1800 Hz."""
    embedder = LogMel(
        Sound(8000, 80), 8, bands=40, window=3, channels=[8], strides=[1], blanks=NONE
    )
    seconds = torch.arange(8000) / 8000
    tone = torch.where(seconds < 0.5, 440.0, 1800.0)
    spectrum = embedder.spectrum(torch.sin(2 * torch.pi * tone * seconds)[None])[
        0
    ]  # frames x bands
    assert spectrum.shape == (100, 40)
    mel = 2595 * torch.log10(1 + torch.tensor([440.0, 1800.0, 4000.0]) / 700)
    expected = mel[:2] / mel[2] * 41 - 1  # the band whose middle is nearest
    loudest = spectrum.argmax(-1).float()
    assert (loudest[1:49] - expected[0]).abs().max() <= 1
    assert (loudest[51:99] - expected[1]).abs().max() <= 1


@pytest.mark.parametrize(("bands", "window", "rate"), [(20, 512, 16000), (40, 1200, 8000)])
def test_mel_filters_are_those_of_transformers(bands: int, window: int, rate: int) -> None:
    """Where every triangle is wider than the distance of two frequencies."""
    audio = pytest.importorskip("transformers.audio_utils")
    expected = audio.mel_filter_bank(window // 2 + 1, bands, 0, rate / 2, rate, mel_scale="htk")
    ours = mel_filters(bands, window, rate)  # frequencies x bands
    torch.testing.assert_close(ours, torch.from_numpy(expected).float(), atol=1e-4, rtol=1e-4)


def test_no_mel_filter_is_empty() -> None:
    """With more bands than frequencies, triangles are one frequency wide at least."""
    filters = mel_filters(80, 160, 8000)
    assert filters.shape == (81, 80)
    assert (filters.sum(0) > 0).all()


def test_mask_of_a_sound_hides_silence_that_padding_added() -> None:
    embedder = LogMel(
        Sound(4000, 80), 8, bands=20, window=2, channels=[8], strides=[2], blanks=NONE
    )
    samples = torch.randn(2, 800)
    mask = torch.arange(800) < torch.tensor([[800], [330]])
    memory = embedder(Padded(samples * mask, mask))
    assert memory.mask.sum(1).tolist() == [5, 3]  # ten frames, and five begun, two to a step


def test_reversed_positions_mirrors_within_the_length() -> None:
    mask = torch.arange(5) < torch.tensor([[5], [3], [0]])
    expected = [[4, 3, 2, 1, 0], [2, 1, 0, 3, 4], [0, 1, 2, 3, 4]]
    assert reversed_positions(mask).tolist() == expected


def test_several_inputs_are_encoded_without_padding_in_between() -> None:
    """An encoder that numbers what it reads: real keys of both parts come first, in order."""

    def number(memory: Memory) -> Memory:
        places = torch.arange(memory.mask.shape[1])[None, :, None]
        return memory._replace(values=places.expand(len(memory.mask), -1, 1).float())

    one = Memory(torch.zeros(2, 3, 1), torch.arange(3) < torch.tensor([[3], [1]]))
    other = Memory(torch.zeros(2, 2, 1), torch.arange(2) < torch.tensor([[1], [2]]))
    first, second = encoded_together(number, [one, other])  # type: ignore[arg-type]
    assert first.values[0, :, 0].tolist() == [0, 1, 2]
    assert second.values[0, 0, 0] == 3
    assert first.values[1, 0, 0] == 0
    assert second.values[1, :, 0].tolist() == [1, 2]


def test_in_co_attention_each_input_looks_at_the_other() -> None:
    config = small_config(
        "task=classify", "model=transformer", "attention=multihead", "model.co_attention=2"
    )
    examples = asked_about()
    model, batch, _ = built(config, examples)
    with Tap(model, "image.cross.1") as seen, Tap(model, "question.cross.1") as asked:
        model(batch)
    cells, words = 36, 4
    assert seen.weights().shape[-2:] == (cells, words)
    assert asked.weights().shape[-2:] == (words, cells)
    assert not seen.weights()[0, ..., 3:].any(), "the shorter question's padding"
    names = set(sites(model))
    assert {"image.self.0", "question.self.0", "pooling"} < names
    assert not any(name.startswith("encoder.") for name in names)


def test_states_may_be_normalised_after_each_block() -> None:
    """Then what leaves the encoder has a mean of zero, though no norm stands behind its layers."""
    config = small_config("model=transformer", "model.norm=after", "task=generate")
    model, batch, _ = built(config, texts([2, 3], [4, 6]))
    states = model.reader(batch).memory.values  # type: ignore[union-attr, operator]
    torch.testing.assert_close(states.mean(-1), torch.zeros(2, 6), atol=1e-5, rtol=0)
    names = dict(model.named_parameters())
    assert "decoder.norm.weight" not in names and "decoder.layers.0.norms.2.weight" in names
    assert model(batch).shape[0] == 2


def test_a_conformer_is_normalised_before_its_blocks() -> None:
    with pytest.raises(ConfigError, match=r"try model\.norm=before"):
        small_config("model=transformer", "model.norm=after", "model.kernel=3")
