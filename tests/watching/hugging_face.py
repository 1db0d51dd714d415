"""Small random models of transformers, and what they are fed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as hf
from torch import nn

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
}
LENGTH, VOCABULARY = 7, 50


def bert() -> nn.Module:
    return hf.BertModel(hf.BertConfig(vocab_size=VOCABULARY, **SMALL))


def gpt2() -> nn.Module:
    config = hf.GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=4, n_positions=64)
    return hf.GPT2LMHeadModel(config)


def llama() -> nn.Module:
    config = hf.LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=2, **SMALL)
    return hf.LlamaForCausalLM(config)


def mistral() -> nn.Module:
    config = hf.MistralConfig(
        vocab_size=VOCABULARY, num_key_value_heads=2, sliding_window=4, **SMALL
    )
    return hf.MistralForCausalLM(config)


def t5() -> nn.Module:
    config = hf.T5Config(
        vocab_size=VOCABULARY,
        d_model=16,
        d_kv=4,
        d_ff=32,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
    )
    return hf.T5ForConditionalGeneration(config)


def vit() -> nn.Module:
    return hf.ViTModel(hf.ViTConfig(image_size=16, patch_size=4, **SMALL))


def whisper() -> nn.Module:
    config = hf.WhisperConfig(
        vocab_size=VOCABULARY,
        d_model=16,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_mel_bins=8,
        max_source_positions=12,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    return hf.WhisperForConditionalGeneration(config)


def mask(side: str) -> torch.Tensor:
    """Two examples, of which the second has three units of padding."""
    made = torch.ones(2, LENGTH, dtype=torch.long)
    made[1, : 3 if side == "left" else None] = 0 if side == "left" else 1
    made[1, LENGTH - 3 if side == "right" else LENGTH :] = 0
    return made


def words(side: str) -> dict[str, Any]:
    ids = torch.randint(4, VOCABULARY, (2, LENGTH), generator=torch.Generator().manual_seed(1))
    return {"input_ids": ids, "attention_mask": mask(side)}


def pairs(side: str) -> dict[str, Any]:
    return words(side) | {"decoder_input_ids": words(side)["input_ids"][:, :5]}


def pixels(_: str) -> dict[str, Any]:
    return {"pixel_values": torch.randn(2, 3, 16, 16)}


def sounds(side: str) -> dict[str, Any]:
    return {
        "input_features": torch.randn(2, 8, 24),
        "decoder_input_ids": words(side)["input_ids"][:, :5],
    }


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[str], dict[str, Any]]]] = {
    "bert": (bert, words),
    "gpt2": (gpt2, words),
    "llama": (llama, words),
    "mistral": (mistral, words),
    "t5": (t5, pairs),
    "vit": (vit, pixels),
    "whisper": (whisper, sounds),
}


def build(name: str) -> Any:
    """A model in evaluation mode, with larger weights than usual, so that maps are not flat."""
    torch.manual_seed(0)
    model = MODELS[name][0]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(3)
    return model


def inputs(name: str, side: str = "right") -> dict[str, Any]:
    torch.manual_seed(2)
    return MODELS[name][1](side)


def eager_maps(model: Any, **given: Any) -> list[torch.Tensor]:
    """What `output_attentions=True` gives, in the order of the sites."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        made = model(**given, output_attentions=True)
    model.set_attn_implementation(before)
    if "encoder_attentions" not in made:
        return list(made.attentions)
    both = zip(made.decoder_attentions, made.cross_attentions, strict=True)
    return [*made.encoder_attentions, *(each for layer in both for each in layer)]
