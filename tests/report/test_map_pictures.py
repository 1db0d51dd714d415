"""Pictures of maps whose keys are long, such as sentences and titles, or many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnlab.report.map_pictures import MOST_KEYS, draw_map
from tests.report.reported import reported


def test_of_many_long_keys_those_with_the_most_weight_are_shown_in_their_order() -> None:
    keys = [f"a film with a name that is long, part {number:03}" for number in range(90)]
    weights = np.random.default_rng(0).dirichlet(np.ones(90))
    gold = np.eye(90)[int(weights.argmax())]
    example = replace(
        reported("baskets", count=1).examples[0],
        **{"keys": keys, "map": [weights.tolist()], "gold_map": [gold.tolist()]},
        **{"gold": "this", "prediction": "that"},
    )
    figure = draw_map(example)
    (axes,) = figure.axes
    named = [label.get_text() for label in axes.get_yticklabels()]
    assert named == [keys[key] for key in sorted(np.argsort(-weights)[:MOST_KEYS])]
    written = [text.get_text() for text in axes.texts]
    assert written == [f"{weights[keys.index(name)]:.2f}" for name in named]
    assert len(axes.patches) == 1, "gold is framed"
    share = np.sort(weights)[-MOST_KEYS:].sum()
    title = f"gold this\nanswer that\n{MOST_KEYS} of 90 keys, with {share:.0%} of the weight"
    assert figure.get_suptitle() == title


def test_few_are_all_shown() -> None:
    keys = [f"a sentence that is rather long, number {number}" for number in range(4)]
    example = replace(
        reported("baskets", count=1).examples[0],
        **{"keys": keys, "map": [[0.1, 0.2, 0.3, 0.4]], "gold_map": [[0, 0, 0, 1]]},
        **{"gold": "this", "prediction": "that"},
    )
    (axes,) = draw_map(example).axes
    assert [text.get_text() for text in axes.texts] == ["0.10", "0.20", "0.30", "0.40"]


def test_a_large_matrix_stands_on_one_page_without_names_of_its_units() -> None:
    shape = (20, 3000)
    example = replace(
        reported("baskets", count=1).examples[0],
        **{"keys": list("ab") * 1500, "queries": list("abcde") * 4, "gold": "ab" * 1500},
        **{"map": np.full(shape, 1 / 3000).tolist(), "gold_map": np.zeros(shape).tolist()},
        **{"id": "test-0", "rows_shown": "the last 20 of 3,000"},
    )
    figure = draw_map(example)
    (axes,) = figure.axes
    width, height = figure.get_size_inches()
    assert width <= 12 and height <= 8
    assert axes.get_title(loc="left") == "test-0: the last 20 of 3,000 rows, 3,000 keys"
    assert not {"a", "b"} & {label.get_text() for label in axes.get_xticklabels()}
    assert axes.images[0].get_clim()[1] == 1 / 3000, "the darkest is the largest weight"
