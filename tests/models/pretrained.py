"""Tiny models of each family, with random weights, as `save_pretrained` writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

TEXTS = [
    "the food was warm and the waiter was friendly",
    "a cold soup, an unfriendly waiter, never again",
    "my aunt says that the cake was dry",
    "friendliness does not warm a soup",
]
SMALL = {"vocab_size": 120, "pad_token_id": 0}


def bert(folder: Path, kind: str = "Bert", **more: Any) -> Path:
    """An encoder that cuts words by WordPiece, between [CLS] and [SEP]."""
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    if kind == "DistilBert":
        sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    else:
        sizes |= {"intermediate_size": 32}
    settings = SMALL | sizes | {"max_position_embeddings": 40} | more
    config = getattr(transformers, f"{kind}Config")(**settings)
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=80, special_tokens=special)
    )  # type: ignore[call-arg]
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, ends)
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special, strict=True))
    return _saved(folder, getattr(transformers, f"{kind}Model"), config, tokenizer, names)


def roberta(folder: Path) -> Path:
    """An encoder that cuts bytes, and counts positions from behind the number of padding."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.RobertaConfig(
        vocab_size=400, **sizes, intermediate_size=32, max_position_embeddings=42, pad_token_id=1
    )
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    return _saved(folder, transformers.RobertaModel, config, _bytes(), names)


def t5(folder: Path) -> Path:
    """Encoder and decoder with relative positions; pieces of a unigram model."""
    config = transformers.T5Config(
        **SMALL, d_model=16, d_kv=6, d_ff=32, num_layers=2, num_decoder_layers=2, num_heads=2,
        decoder_start_token_id=0, eos_token_id=1,
    )  # fmt: skip
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=special, unk_token="<unk>")  # type: ignore[call-arg]
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    names = dict(zip(("pad_token", "eos_token", "unk_token"), special, strict=True))
    return _saved(folder, transformers.T5ForConditionalGeneration, config, tokenizer, names)


def bart(folder: Path, kind: str = "Bart") -> Path:
    """Encoder and decoder with learned positions; its decoder begins with the end mark."""
    config = getattr(transformers, f"{kind}Config")(
        vocab_size=400, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, pad_token_id=1,
        max_position_embeddings=40, decoder_start_token_id=2, eos_token_id=2, bos_token_id=0,
        scale_embedding=True, encoder_layerdrop=0.5,
    )  # fmt: skip
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    model = "MarianMTModel" if kind == "Marian" else f"{kind}ForConditionalGeneration"
    return _saved(folder, getattr(transformers, model), config, _bytes(), names)


def _bytes() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,  # type: ignore[call-arg]
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    ends = [("<s>", 0), ("</s>", 2)]
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", None, ends)
    return tokenizer


def _saved(
    folder: Path, model: Any, config: Any, tokenizer: Tokenizer, names: dict[str, str]
) -> Path:
    torch.manual_seed(0)
    made = model(config).eval()
    with torch.no_grad():  # so large that attention is far from uniform
        for name, parameter in made.named_parameters():
            if parameter.dim() > 1 and "embed" not in name:
                parameter.mul_(4)
    made.save_pretrained(folder)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.save_pretrained(folder)
    return folder
