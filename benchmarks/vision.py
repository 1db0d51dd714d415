"""Vision: digits, detection, segmentation, glimpses and saliency, each beside its controls.

    python -m benchmarks.vision --data ../shared/data               # all; what ran is picked up
    python -m benchmarks.vision --data ../shared/data boxes masks   # some

The runs are kept in runs/benchmarks/vision. `--threads` is of each training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.tables import Figures, Tables, Trained, held, seconds, values

GRID = (
    "task.queries=cells",
    "task.rounds=1",
    "attention=window",
    "attention/heads=one",
    "attention.structure.left=0",
    "attention.structure.right=0",
)
LONGER = ("trainer.max_epochs=18",)
DENSE = (  # about as many parameters as the convolutional network with attention
    "attention=uniform",
    "model/image=patches",
    "~model.image.channels",
    "~model.image.strides",
    "model.image.size=60",
    "model.image.hidden=[36,64]",
)


def table(
    rows: Mapping[str, Figures], columns: Mapping[str, tuple[str, str]], size: bool = False
) -> Iterator[str]:
    """A line for each model; columns are a heading with what metrics.json calls its figure."""
    heads = [*columns, *(["parameters"] if size else []), "seconds"]
    yield f"| model | {' | '.join(heads)} |"
    yield f"|{'---|' * (1 + len(heads))}"
    for name, runs in rows.items():
        if not runs:
            continue
        cells = [values(runs, *path) for path in columns.values()]
        cells += [f"{runs[0]['cost']['parameters']:,}"] if size else []
        yield f"| {name} | {' | '.join([*cells, seconds(runs)])} |"


def boxes(data: str, trained: Trained) -> Iterator[str]:
    """Every digit of a cluttered canvas with its box."""
    queries = trained("boxes", "experiment=canvas_locate", *LONGER, seeds=1)
    rows = {
        "learned queries (as DETR)": queries,
        "a grid, without attention": trained(
            "boxes_grid", "experiment=canvas_locate", *GRID, *LONGER, seeds=1
        ),
        "learned queries, maps not supervised": trained(
            "boxes_alone", "experiment=canvas_locate", "objective=unsupervised", *LONGER, seeds=1
        ),
    }
    columns = {
        "mAP@.5": ("answer", "map50"),
        "mAP@[.5:.95]": ("answer", "map"),
        "IoU": ("answer", "box_iou"),
        "mass on gold": ("attention", "mass_on_gold"),
    }
    yield from table(rows, columns, size=True)
    yield from held("mAP@.5 of learned queries", 0.9, queries, "map50")


def masks(data: str, trained: Trained) -> Iterator[str]:
    """The digit that each pixel belongs to."""
    gated = trained("masks", "experiment=canvas_segment")
    rows = {
        "gated, as Attention U-Net": gated,
        "the same without gates": trained(
            "masks_open", "experiment=canvas_segment", "task.gated=false"
        ),
    }
    columns = {
        "mean IoU": ("answer", "mean_iou"),
        "mean Dice": ("answer", "mean_dice"),
        "pixels right": ("answer", "pixel_accuracy"),
    }
    yield from table(rows, columns, size=True)
    yield from held("Mean IoU with gates", 0.85, gated, "mean_iou")


def digits(data: str, trained: Trained) -> Iterator[str]:
    """Handwritten digits: attention over the network's cells, or their mean."""
    attended = trained("mnist", "experiment=mnist")
    rows = {
        "CNN and attention": attended,
        "the same CNN, mean in place of attention": trained(
            "mnist_mean", "experiment=mnist", "attention=uniform"
        ),
    }
    yield from table(rows, {"accuracy": ("answer", "accuracy")})
    yield from held("Accuracy with attention", 0.994, attended, "accuracy")


def glimpses(data: str, trained: Trained) -> Iterator[str]:
    """Digits somewhere on a larger canvas, among pieces of others."""
    soft, hard = "experiment=cluttered_mnist", "experiment=cluttered_mnist_glimpses"
    once, drawn = trained("cluttered", soft, seeds=1), trained("cluttered_hard", hard, seeds=1)
    rows = {
        "soft attention": once,
        "four soft glimpses": trained("cluttered_hops", soft, "task.hops=4", seeds=1),
        "four hard glimpses (REINFORCE)": drawn,
        "the same CNN, mean in place of attention": trained(
            "cluttered_mean", soft, "attention=uniform"
        ),
        "fully connected": trained("cluttered_dense", soft, *DENSE),
    }
    columns = {
        "accuracy": ("answer", "accuracy"),
        "mass on the digit": ("attention", "mass_on_gold"),
    }
    yield from table(rows, columns, size=True)
    yield from held("Accuracy of soft attention", 0.97, once, "accuracy")
    yield from held("Accuracy of hard glimpses", 0.94, drawn, "accuracy")


def transfer(data: str, trained: Trained) -> Iterator[str]:
    """A teacher that was told where to look, and students that were not."""
    small = ("experiment=canvas_classify", "model.dim=32", "model.image.channels=[16,32]")
    teacher = trained("teacher", "experiment=canvas_classify", seeds=1)
    run = trained.folder("teacher", 0)
    taught = (*small, "objective/terms/attention=transfer", f"objective.teacher={run}")
    over_maps = (*taught, "objective.terms.attention.site=pooling")
    rows = {
        "teacher, maps supervised": teacher,
        "student alone": trained("student", *small, "objective=unsupervised"),
        "student, teacher's maps": trained("student_maps", *over_maps),
        "student, teacher's activations": trained("student_activations", *taught),
    }
    columns = {"accuracy": ("answer", "accuracy"), "mass on gold": ("attention", "mass_on_gold")}
    yield from table(rows, columns, size=True)


def saliency(data: str, trained: Trained) -> Iterator[str]:
    """Where people look, in five folds, beside the mean map of the training pictures."""
    folds = [
        run
        for fold in range(5)
        for run in trained(f"osie_{fold}", "experiment=osie", f"dataset.fold={fold}", seeds=1)
    ]
    names = ("cc", "nss", "kl_divergence", "similarity", "auc_judd")
    yield "| map | CC (target 0.55) | NSS (target 1.5) | KL | SIM | AUC-Judd |"
    yield "|---|---|---|---|---|---|"
    yield _line("centre prior (mean of training maps)", folds, names, "controls", "position")
    yield _line("CNN from scratch", folds, names, "attention")
    yield ""
    yield f"{len(folds)} folds; seconds of training: {seconds(folds)}."


def _line(name: str, folds: Figures, names: Sequence[str], *where: str) -> str:
    return f"| {name} | {' | '.join(values(folds, *where, figure) for figure in names)} |"


TABLES = Tables(
    "vision",
    {
        "boxes": (
            "Detection: digits on a canvas",
            boxes,
            "One seed; 18 epochs of 12,000 pictures; no digit is in two splits.",
        ),
        "masks": ("Segmentation: digits on a canvas", masks, "Eleven classes with the background."),
        "mnist": ("Pictures: MNIST", digits, "All of the test part."),
        "glimpses": (
            "Glimpses: cluttered, translated MNIST",
            glimpses,
            "Canvases of 60 x 60 with four pieces of 8 x 8; no map is supervised; one seed where a "
            "training takes over ten minutes.",
        ),
        "transfer": (
            "Attention transfer: digits on a canvas",
            transfer,
            "A student has a quarter of the teacher's width, and no gold.",
        ),
        "osie": (
            "Saliency: OSIE, five folds",
            saliency,
            "Maps over cells of 4 x 4 pixels of pictures of 160 x 120; one seed, mean (of each).",
        ),
    },
)

if __name__ == "__main__":
    TABLES.main()
