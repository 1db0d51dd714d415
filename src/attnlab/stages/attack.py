"""`attnlab attack RUN`: how many answers survive small changes of the input, and what the map does.

Pictures and sounds: `fgsm` and `pgd` along the gradient, `noise`, `blur` and `crop` without one.
Texts: `typos`, `deletions` and `synonyms`, the words that matter most first. `map` keeps the answer
and moves the map. Beside each stands what as many changes at random do.
"""

from __future__ import annotations

import argparse
import json

from attnlab.errors import UserError, suggest
from attnlab.metrics.figures import defined
from attnlab.stages import trusted_plugins
from attnlab.stages.run import open_run
from attnlab.text_files import write_whole

COMMAND = "attack a run's answers and its map by small changes of the input"
EXAMPLES = """examples:
  attnlab attack RUN                                     what its attended input allows
  attnlab attack RUN --kinds pgd,map --size 0.3 --steps 40 --restarts 5
  attnlab attack RUN --kinds typos,synonyms --share 0.2 --examples 200
"""
ON_VALUES = ("fgsm", "pgd", "map", "noise", "blur", "crop")
ON_TEXTS = ("typos", "deletions", "synonyms")
FILE, PAGE = "attack.json", "attack.html"


def main(arguments: list[str]) -> None:
    """Attack, print a table, and write attack.json and attack.html."""
    parser = argparse.ArgumentParser(
        prog="attnlab attack",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="folder of the run")
    parser.add_argument("--kinds", metavar="A,B", help="attacks; all that fit if left out")
    parser.add_argument("--examples", type=int, default=100, metavar="N", help="of the test split")
    parser.add_argument("--size", type=float, default=0.03, help="largest change of a value")
    parser.add_argument("--steps", type=int, default=20, metavar="N", help="of pgd and map")
    parser.add_argument("--restarts", type=int, default=2, metavar="N", help="of pgd and map")
    parser.add_argument("--share", type=float, default=0.15, help="of the words that may change")
    trusted_plugins.add_option(parser)
    options = parser.parse_args(arguments)
    for name in ("examples", "size", "steps", "share"):
        if getattr(options, name) <= 0:
            raise UserError(f"--{name}: {getattr(options, name)} is not above 0")
    run = open_run(options.run, options.trust)
    run.require_writable()
    from attnlab.report.sections import page
    from attnlab.stages.attacked_split import attacked, report, show
    from attnlab.stages.trained_run import TrainedRun

    trained = TrainedRun(run)
    form = trained.prepared.codec.inputs[trained.prepared.codec.attended].form
    outcomes = attacked(trained, kinds(options.kinds, form), options)
    plain = {"examples": options.examples, "attacks": [each.plain() for each in outcomes]}
    write_whole(run.folder / FILE, json.dumps(defined(plain), indent=2, allow_nan=False) + "\n")
    text = page(f"{run.config.name} under attack", str(run.folder), report(outcomes))
    write_whole(run.folder / PAGE, text)
    show(run.config.name, outcomes)
    for name in (FILE, PAGE):
        print(f"{name:<14}{run.folder / name}")


def kinds(chosen: str | None, form: str) -> list[str]:
    """The attacks that are chosen, or all that an input of this form allows.

    Raises:
        UserError: one is unknown, or does not fit.
    """
    fitting = {"picture": ON_VALUES, "sound": ON_VALUES, "text": ON_TEXTS}
    allowed = fitting.get(form, ())
    if not allowed:
        raise UserError(
            f"attack: an input of form '{form}' has no attack; it has to be a text, a picture or "
            "a sound"
        )
    names = chosen.split(",") if chosen else allowed
    for name in names:
        if name not in (*ON_VALUES, *ON_TEXTS):
            raise UserError(f"--kinds: no '{name}'; {suggest(name, allowed)}")
        if name not in allowed:
            raise UserError(f"--kinds: '{name}' does not fit a {form}; try: {','.join(allowed)}")
    return list(names)
