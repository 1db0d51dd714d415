"""Loggers side by side, each read back with its own package's reader."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from attnlab.config.compose import load
from attnlab.config.schema import Config  # noqa: F401 - opens the choices of every slot
from attnlab.config.trainer import Logging
from attnlab.errors import ConfigError, UserError
from attnlab.training.loggers import LoggedRun, TensorBoard, connected
from tests.runs import train_small
from tests.training import test_wandb_run as wandb_logs

tensorboard = pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
STEPS = ("train", "val")  # tables of figures over training


def settings(*overrides: str) -> Logging:
    return load(overrides)[0].logger


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all runs of these tests are: MLflow's database takes seconds to be made."""
    folder = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_DATA_DIR", str(folder / "staged"))
        yield folder


@pytest.fixture(scope="module")
def run(home: Path) -> Path:
    """A real run that three loggers show."""
    words = ["logger=[wandb,tensorboard,mlflow]", f"paths.run={home / 'run'}"]
    few = ["logger.maps_examples=2", "logger.tags=[first,small]", "trainer.validate_every=0.5"]
    train_small(home, *words, *few, "logger.project=dates-project")
    return home / "run"


def mlflow_client(home: Path) -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{home / 'runs' / 'mlflow.db'}")


@pytest.fixture(scope="module")
def events(run: Path) -> Any:
    """What TensorBoard reads."""
    return read_events(run)


def read_events(run: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loaded = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0, "scalars": 0})
    return loaded.Reload()


@pytest.fixture(scope="module")
def tracked(run: Path, home: Path) -> tuple[Any, Any]:
    """MLflow's client, and what it says of the run."""
    client = mlflow_client(home)
    return client, client.get_run((run / "checkpoints" / "mlflow_id.txt").read_text().strip())


def over_training(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every figure of training and validation, as the run's own files have it."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for table in STEPS:
        with (run / "history" / f"{table}.csv").open() as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                for name, value in row.items():
                    curves.setdefault(f"{table}/{name}", []).append((step, float(value)))
    return curves


def closing(run: Path) -> dict[str, float]:
    """Figures of the test split under the names that loggers show."""
    metrics = json.loads((run / "metrics.json").read_text())
    return {
        f"test/{group}/{name}": value
        for group in ("answer", "attention", "trust")
        for name, value in metrics[group].items()
    }


def test_tensorboard_has_every_figure(run: Path, events: Any) -> None:
    expected = over_training(run)
    assert expected.keys() > {"train/loss", "val/exact_match", "val/attention/mass_on_gold"}
    for name, points in expected.items():
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in found] == [step for step, _ in points]
        assert [v for _, v in found] == pytest.approx([v for _, v in points], rel=1e-4, abs=1e-6)
    for name, value in closing(run).items():
        assert events.Scalars(name)[-1].value == pytest.approx(value, rel=1e-4)


def test_mlflow_has_every_figure(run: Path, tracked: tuple[Any, Any]) -> None:
    client, known = tracked
    for name, points in over_training(run).items():
        found = sorted(
            (m.step, m.value) for m in client.get_metric_history(known.info.run_id, name)
        )
        assert [step for step, _ in found] == [step for step, _ in points]
        assert [v for _, v in found] == pytest.approx([v for _, v in points], rel=1e-4, abs=1e-6)
    for name, value in closing(run).items():
        assert known.data.metrics[name] == pytest.approx(value)


def test_wandb_shows_the_same_beside_them(run: Path, events: Any) -> None:
    [log] = wandb_logs.logs(run)
    ends = wandb_logs.summary(log)
    assert {name for name in ends if name.startswith(("test/", "controls/"))} == {
        tag for tag in events.Tags()["scalars"] if tag.startswith(("test/", "controls/"))
    }
    pictures = {
        key.removesuffix("._type")
        for row in wandb_logs.history(log)
        for key in row
        if key.startswith(("maps/", "panels/", "val/maps/")) and key.endswith("._type")
    }
    assert pictures == set(events.Tags()["images"])


def test_tensorboard_has_maps_as_pictures(run: Path, events: Any) -> None:
    frames = [json.loads(p.read_text()) for p in sorted((run / "history" / "maps").iterdir())]
    assert len(frames) == 2
    for id_ in frames[0]["maps"]:
        shown = events.Images(f"val/maps/{id_}")
        assert [image.step for image in shown] == [frame["step"] for frame in frames]
        assert shown[0].encoded_image_string != shown[1].encoded_image_string
    for path in (run / "maps").glob("*.png"):
        [image] = events.Images(f"maps/{path.stem}")
        assert image.width > 100


def test_mlflow_has_maps_as_pictures(run: Path, tracked: tuple[Any, Any]) -> None:
    client, known = tracked
    id_ = known.info.run_id
    maps = {Path(each.path).name for each in client.list_artifacts(id_, "maps")}
    assert maps == {path.name for path in (run / "maps").glob("*.png")}
    kept = [each.path for each in client.list_artifacts(id_, "images")]
    for path in (run / "history" / "maps").iterdir():
        frame = json.loads(path.read_text())
        for example in frame["maps"]:
            assert any(example in name and f"step+{frame['step']}+" in name for name in kept), kept


def test_nothing_lies_elsewhere(run: Path, home: Path) -> None:
    assert {path.name for path in home.iterdir()} <= {"run", "runs", "prepared", "staged"}
    assert {path.name for path in (home / "runs").iterdir()} == {"mlflow.db", "mlflow"}


def test_config_and_tags_by_flat_keys(run: Path, events: Any, tracked: tuple[Any, Any]) -> None:
    _, known = tracked
    assert known.data.params["model.dim"] == "16"
    assert known.data.params["attention.name"] == "additive"
    assert {"first", "small"} <= known.data.tags.keys()
    assert known.info.status == "FINISHED"
    plugin = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    config = HParamsPluginData.FromString(plugin).session_start_info.hparams
    assert config["model.dim"].number_value == 16
    assert config["tags"].string_value.startswith("first, small, dates, recurrent, additive")


def test_a_resumed_run_is_shown_once(home: Path, tmp_path: Path) -> None:
    """Points from the step on at which it goes on are those of the resumed run."""
    words = ["logger=[tensorboard,mlflow]", f"paths.runs={home / 'runs'}", "logger.project=resumed"]
    for start, value in ((0, 1.0), (2, 5.0)):
        with connected(settings(*words), tmp_path, "name", {"seed": 0}) as loggers:
            for logger in loggers:
                logger.forget_from(start)
                for step in range(start, 4):
                    logger.log_metrics({"val/loss": value + step}, step)
    found = [(e.step, e.value) for e in read_events(tmp_path).Scalars("val/loss")]
    assert found == [(0, 1.0), (1, 2.0), (2, 7.0), (3, 8.0)]
    client = mlflow_client(home)
    [known] = client.search_runs([client.get_experiment_by_name("resumed").experiment_id])
    assert known.data.metrics["val/loss"] == 8.0


def test_a_failed_run_says_so(home: Path, tmp_path: Path) -> None:
    logging = settings("logger=mlflow", f"paths.runs={home / 'runs'}")
    with pytest.raises(KeyboardInterrupt), connected(logging, tmp_path, "name", {}) as loggers:
        logger: Any = loggers[0]
        raise KeyboardInterrupt
    assert logger.client.get_run(logger.id).info.status == "FAILED"


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "trackio"])
def test_a_missing_package_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))  # put back afterwards
    for module in [m for m in sys.modules if m.split(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)  # cannot be imported
    with (
        pytest.raises(UserError) as caught,
        connected(settings(f"logger={name}"), tmp_path, "n", {}),
    ):
        pass
    assert str(caught.value) == (
        f"logger={name}: needs {name}; try: pip install 'attnlab[{name}]', or logger=files"
    )


def test_an_unknown_logger_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"no option 'tensorbord'; did you mean 'tensorboard'"):
        settings("logger=[wandb,tensorbord]")
    with pytest.raises(ConfigError, match=r"logger\.loggers\.own\.kind: unknown kind 'mlfow'; did"):
        settings("+logger.loggers.own={kind: mlfow}")


@pytest.mark.parametrize("rank", ["LOCAL_RANK", "RANK", "NODE_RANK", "SLURM_PROCID"])
def test_other_processes_of_a_run_stay_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str
) -> None:
    monkeypatch.setenv(rank, "1")
    both = settings("logger=[wandb,tensorboard]")
    with connected(both, tmp_path, "name", {}) as loggers:
        assert loggers == []
    assert not any(tmp_path.iterdir())


def test_one_that_cannot_start_ends_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []
    monkeypatch.setattr(TensorBoard, "finish", lambda self, failed: ended.append(failed))
    words = ["logger=[tensorboard,mlflow]", "logger.loggers.mlflow.uri=nosuch://place"]
    with pytest.raises(UserError, match=r"logger\.loggers\.mlflow\.uri: nosuch://place"):  # noqa: SIM117
        with connected(settings(*words), tmp_path, "name", {}):
            pass
    assert ended == [True]


def test_trackio_keeps_figures_and_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trackio", reason="the extra 'trackio' is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    from PIL import Image
    from trackio.sqlite_storage import SQLiteStorage

    picture = tmp_path / "map.png"
    Image.new("RGB", (20, 10)).save(picture)
    words = ["logger=trackio", f"logger.loggers.trackio.folder={tmp_path / 'store'}"]
    with connected(settings(*words), tmp_path, "name", {"config": {"seed": 3}}) as [logger]:
        logger.log_metrics({"val/loss": 0.5}, 7)
        logger.log_pictures({"val/maps/a": picture}, 7)
        logger.log_summary({"test/answer/loss": 0.25})
    name = LoggedRun(tmp_path, "", "", (), {}).remembered("trackio", str)
    rows = SQLiteStorage.get_logs("attnlab", name)
    assert [(row["step"], row["val/loss"]) for row in rows if "val/loss" in row] == [(7, 0.5)]
    assert any("val/maps/a" in row for row in rows)
    assert any(row.get("test/answer/loss") == 0.25 for row in rows)
