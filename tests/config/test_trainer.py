"""What goes with texts that processes share."""

from __future__ import annotations

import pytest

from attnlab.config.compose import load
from attnlab.errors import ConfigError

SHARED = ["trainer=ddp_sim", "trainer.sequence_parallel=true", "objective.terms.attention=null"]
RECURRENT = ["~experiment", "dataset=induction", "task=language_model", "model=recurrent"]


def test_a_language_model_can_share_texts() -> None:
    config, _ = load(["experiment=induction", *SHARED, "attention=window"])
    assert config.trainer.sequence_parallel


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["trainer=cpu"], "not with strategy 'single'; try: trainer.strategy=ddp"),
        (["trainer.strategy=fsdp"], "not with strategy 'fsdp'; try: trainer.strategy=ddp"),
        (["trainer.compile=true"], "not with trainer.compile"),
        (["experiment=reviews"], "task 'classify' cannot share texts"),
        (
            [*RECURRENT, "model.bidirectional=false", "task.map=decoder.self.0"],
            "in model 'recurrent' positions meet outside of self-attention; try: model=transf",
        ),
        (["model.kernel=3"], "in model 'transformer' positions meet outside of self-attention"),
        (
            ["attention=hierarchical"],
            "structure 'hierarchical' needs all positions in one process; try: attention/struct",
        ),
        (
            ["objective/terms=r_drop"],
            "term 'r_drop' needs whole texts; set objective.terms.r_drop=null",
        ),
        (["attention=reinforce"], "the reward of a text is not there where processes share it"),
    ],
)
def test_what_cannot_is_refused(overrides: list[str], problem: str) -> None:
    named = any("experiment" in override for override in overrides)
    experiment = [] if named else ["experiment=induction"]
    with pytest.raises(ConfigError) as error:
        load([*experiment, *SHARED, *overrides])
    assert problem in str(error.value)
