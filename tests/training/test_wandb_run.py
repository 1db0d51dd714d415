"""W&B offline, read back with W&B's own decoder."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from attnlab.config import compose
from attnlab.config.trainer import Logging
from attnlab.errors import UserError
from attnlab.training.loggers import connected
from tests.commands import REPOSITORY, small_run
from tests.commands import run as run_command
from tests.wandb_logs import contents, history, logs, of_kind, records, summary, table

SECRETS = {
    "WANDB_API_KEY": "0123456789abcdef0123456789abcdef01234567",
    "AWS_SECRET_ACCESS_KEY": "a-key-that-must-not-be-seen",
    "ATTNLAB_TEST_VARIABLE": "a-variable-that-must-not-be-seen",
}


def settings(*overrides: str) -> Logging:
    config, _ = compose.load(["logger=wandb", *overrides])
    return config.logger


def done(command: list[str], folder: Path) -> str:
    """What a command says that ends well, with secrets in its environment."""
    found = run_command(command, folder, SECRETS)
    assert found.returncode == 0, found.stderr
    assert "wandb:" not in found.stdout + found.stderr, "nothing asked, nothing said"
    return found.stdout


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run, with secrets in its environment."""
    folder = tmp_path_factory.mktemp("dashboard")
    maps = f"logger.maps_examples={settings().maps_examples}"
    words = ["logger=wandb", "model=transformer", maps, f"paths.run={folder / 'run'}"]
    done(small_run(folder, *words), folder)
    return folder / "run"


def test_scalars_of_training_and_validation(run: Path) -> None:
    [log] = logs(run)
    rows = history(log)
    training = [row for row in rows if "train/loss" in row]
    validation = [row for row in rows if "val/loss" in row]
    assert len(training) >= 1
    assert len(validation) == 1
    assert all("trainer/global_step" in row for row in training + validation)
    assert {"val/exact_match", "val/attention/mass_on_gold"} <= validation[0].keys()


def test_figures_of_the_test_split_are_those_of_the_file(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    ends = summary(logs(run)[0])
    assert ends["test/answer/exact_match"] == pytest.approx(metrics["answer"]["exact_match"])
    shown = ends["controls/uniform/mass_on_gold"]
    assert shown == pytest.approx(metrics["controls"]["uniform"]["mass_on_gold"])
    key, (low, high) = "test/attention/mass_on_gold", metrics["intervals"]["mass_on_gold"]
    assert (ends[f"{key}/low"], ends[f"{key}/high"]) == pytest.approx((low, high))
    assert low <= ends[key] <= high


def test_every_picture_that_is_logged_is_a_file_of_the_run(run: Path) -> None:
    [log] = logs(run)
    row = next(row for row in history(log) if "panels/plausibility._type" in row)
    pictures = {
        f"{folder}/{path.stem}": path
        for folder in ("maps", "panels")
        for path in (run / folder).glob("*.png")
    }
    assert {f"{key}._type" for key in pictures} <= row.keys()
    shown = json.loads((run / "examples.json").read_text())
    drawn = [example["id"] for example in shown[: settings().maps_examples]]
    assert {f"maps/{name}" for name in drawn} < pictures.keys()
    assert {f"maps/{name}-heads" for name in drawn} < pictures.keys(), "every layer and head"
    assert {"panels/plausibility", "panels/trust"} < pictures.keys()
    for key, path in pictures.items():
        logged = log / "files" / row[f"{key}.path"]
        assert logged.read_bytes() == path.read_bytes()


def test_the_table_of_examples(run: Path) -> None:
    [log] = logs(run)
    row = next(row for row in history(log) if "examples._type" in row)
    columns, rows = table(row, "examples", log)
    assert columns == ["id", "tokens", "prediction", "gold", "right", "map", "mass_on_gold"]
    shown = json.loads((run / "examples.json").read_text())
    assert [line[:5] for line in rows] == [
        [e["id"], " ".join(e["keys"]), e["prediction"], e["gold"], e["prediction"] == e["gold"]]
        for e in shown
    ]
    # Pictures within a table travel in an artifact of their own.
    files = contents("examples", log)
    kept = json.loads(Path(files["examples.table.json"]).read_text())["data"]
    assert [line[0] for line in kept] == [example["id"] for example in shown]
    drawn, others = kept[: settings().maps_examples], kept[settings().maps_examples :]
    for line in drawn:
        picture = Path(files[line[5]["path"]])
        assert run in picture.parents
        assert picture.read_bytes() == (run / "maps" / f"{line[0]}.png").read_bytes()
    assert all(line[5] is None for line in others)


def test_plausibility_and_trust_stand_beside_controls(run: Path) -> None:
    [log] = logs(run)
    row = next(row for row in history(log) if "plausibility._type" in row)
    metrics = json.loads((run / "metrics.json").read_text())
    columns, rows = table(row, "plausibility", log)
    assert columns == ["figure", "of", "value", "low", "high"]
    found = {(line[0], line[1]): line[2:] for line in rows}
    own = metrics["attention"]["mass_on_gold"]
    between = metrics["intervals"]["mass_on_gold"]
    assert found["mass_on_gold", "model"] == pytest.approx([own, *between])
    for control in ("uniform", "position", "oracle"):
        known = metrics["controls"][control]["mass_on_gold"]
        assert found["mass_on_gold", control][0] == pytest.approx(known)
    _, rows = table(row, "trust", log)
    assert {line[0]: line[2] for line in rows} == {
        f"changed by a {name} map": pytest.approx(value) for name, value in metrics["trust"].items()
    }


def test_the_model_is_traced_back_to_its_data(run: Path) -> None:
    """The data are what the run used, the best checkpoint is what it made."""
    [log] = logs(run)
    dataset, model = (
        next(a for a in of_kind("artifact", log) if a["type"] == kind)
        for kind in ("dataset", "model")
    )
    assert dataset["use_after_commit"]
    assert not model.get("use_after_commit")
    [record] = of_kind("run", log)
    digest = record["config"]["update"]["data_digest"]
    assert json.loads(dataset["metadata"])["digest"] == digest
    [entry] = [e for e in model["manifest"]["contents"] if e["path"] == "best.ckpt"]
    assert int(entry["size"]) == (run / "checkpoints" / "best.ckpt").stat().st_size
    assert "best" in model["aliases"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert json.loads(model["metadata"])["answer"] == metrics["answer"]


def test_findings_of_explain_join_the_same_run(run: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(run, tmp_path / "run")
    words = ["examples=6", "methods=[attention]", "trust.permutations=3", "trust.limits=2"]
    few = ["trust.decisions=1", "trust.adversary.steps=3", "steps=4"]
    before = set(logs(copied))
    done([sys.executable, "-m", "attnlab", "explain", str(copied), *words, *few], REPOSITORY)
    [log] = set(logs(copied)) - before
    [record] = of_kind("run", log)
    assert record["run_id"] == (run / "checkpoints" / "wandb_id.txt").read_text().strip()
    row = next(row for row in history(log) if "panels/findings._type" in row)
    logged = log / "files" / row["panels/findings.path"]
    assert logged.read_bytes() == (copied / "panels" / "findings.png").read_bytes()
    row = next(row for row in history(log) if "findings._type" in row)
    columns, rows = table(row, "findings", log)
    tests = json.loads((copied / "trust.json").read_text())["tests"]
    assert columns[-1] == "verdict"
    assert [line[-1] for line in rows] == [test["verdict"] for test in tests]
    [changed] = [t for t in tests if (t["test"], t["figure"]) == ("uniform", "answers changed")]
    assert summary(log)["explain/uniform/answers_changed"] == pytest.approx(changed["value"])


def test_config_and_hashes_are_logged(run: Path) -> None:
    [record] = of_kind("run", logs(run)[0])
    about = record["config"]["update"]
    assert about["attention.name"] == "additive"
    assert about["dataset.train"] == 320
    assert record["run_group"] == record["display_name"] == "dates-transformer-additive"
    assert record["tags"] == ["dates", "transformer", "additive"]
    assert len(about["data_digest"]) == 64
    assert about.keys() >= {"versions.torch", "versions.lightning", "versions.python"}
    assert not [key for key, value in about.items() if isinstance(value, dict) and value]
    assert record["run_id"] == (run / "checkpoints" / "wandb_id.txt").read_text().strip()


def test_neither_secret_nor_environment_nor_machine_is_recorded(run: Path) -> None:
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        for name, value in SECRETS.items():
            assert value.encode() not in content, f"{name} stands in {path}"
    [record] = of_kind("run", logs(run)[0])
    assert not record.get("host")
    kinds = {record["type"] for record in records(logs(run)[0])}
    assert "environment" not in kinds
    assert "stats" not in kinds
    names = {path.name for path in files}
    assert not names & {
        "requirements.txt",
        "wandb-metadata.json",
        "output.log",
        "conda-environment.yaml",
    }


def test_no_log_and_no_artifact_holds_an_absolute_path(run: Path) -> None:
    [log] = logs(run)
    [written] = log.glob("*.wandb")
    for path in (written, run / "checkpoints" / "best.ckpt", *log.glob("files/**/*.json")):
        assert str(run.parent).encode() not in path.read_bytes(), path
    paths = [e["local_path"] for a in of_kind("artifact", log) for e in a["manifest"]["contents"]]
    assert len(paths) > 5
    assert all((run.parent / path).is_file() for path in paths), "as `wandb sync` looks for them"


def test_a_run_that_ends_well_says_so(run: Path) -> None:
    [end] = of_kind("exit", logs(run)[0])
    assert end.get("exit_code", 0) == 0


def test_a_run_that_fails_is_marked_as_failed(tmp_path: Path) -> None:
    """A loss that is no number stops the run."""
    folder = tmp_path / "run"
    broken = ["trainer.optimizer.lr=1.0e30", "trainer.clip_norm=null", "trainer.log_every=1"]
    command = small_run(tmp_path, "logger=wandb", f"paths.run={folder}", *broken)
    failed = run_command(command, tmp_path)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    [end] = of_kind("exit", logs(folder)[0])
    assert end["exit_code"] == 1


def test_maps_over_training_are_pictures_at_their_step(run: Path) -> None:
    [log] = logs(run)
    [kept] = (run / "history" / "maps").iterdir()
    frame = json.loads(kept.read_text())
    row = next(row for row in history(log) if any(key.startswith("val/maps/") for key in row))
    assert row["trainer/global_step"] == frame["step"]
    for id_ in frame["maps"]:
        assert (log / "files" / row[f"val/maps/{id_}.path"]).is_file()


def test_a_resumed_run_is_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    for part in (1, 2):
        with connected(settings(), tmp_path, "name", {"part": part}) as [logger]:
            logger.log_metrics({"train/loss": 1.0 / part}, step=part)
    ids = [record["run_id"] for log in logs(tmp_path) for record in of_kind("run", log)]
    assert ids == 2 * [(tmp_path / "checkpoints" / "wandb_id.txt").read_text().strip()]


def test_each_run_of_a_process_stages_its_files_in_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_DATA_DIR", raising=False)
    for name in ("first", "second"):
        with connected(settings(), tmp_path / name, name, {}):
            assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / name / "wandb")
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "mine"))
    with connected(settings(), tmp_path / "third", "third", {}):
        assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "mine")
    assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / "mine")


def test_a_run_of_a_sweep_has_the_id_that_its_agent_gave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_RUN_ID", "abcd1234")
    with connected(settings(), tmp_path, "dates", {}):
        pass
    monkeypatch.delenv("WANDB_RUN_ID")
    assert (tmp_path / "checkpoints" / "wandb_id.txt").read_text() == "abcd1234\n"
    assert of_kind("run", logs(tmp_path)[-1])[0]["run_id"] == "abcd1234"


def test_the_search_that_the_docs_describe_trains_what_it_says() -> None:
    search = yaml.safe_load((REPOSITORY / "docs" / "wandb_sweep.yaml").read_text())
    given = [
        f"{key}={each.get('values', [each.get('max')])[-1]}"
        for key, each in search["parameters"].items()
    ]
    (first, stage), fixed = search["command"][:2], search["command"][2:-1]
    assert (first, stage, search["command"][-1]) == ("attnlab", "train", "${args_no_hyphens}")
    config, _ = compose.load([*fixed, *given])
    assert (config.attention.name, config.model.dim) == ("multihead", 256)
    assert config.trainer.optimizer.lr == 1e-2
    assert config.logger.loggers["wandb"].mode == "online"  # type: ignore[attr-defined]
    assert search["metric"]["name"] == config.trainer.checkpoints.monitor


def test_steps_that_go_back_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    steps = [1, 2, 10, 5, 3, 10]
    loaded = settings("logger.loggers.wandb.system_metrics=true")
    with connected(loaded, tmp_path, "name", {}) as [logger]:
        stats = logger.wandb.settings.x_disable_stats, logger.wandb.settings.x_disable_machine_info
        assert stats == (False, False), "the load of the machine, where it is asked for"
        for step in steps:
            logger.log_metrics({"train/loss": step / 10}, step=step)
    rows = history(logs(tmp_path)[0])
    assert [row["trainer/global_step"] for row in rows] == steps
    assert [row["train/loss"] for row in rows] == [step / 10 for step in steps]


def test_an_error_is_read_back_as_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))
    with pytest.raises(KeyboardInterrupt), connected(settings(), tmp_path, "name", {}):
        raise KeyboardInterrupt
    [end] = of_kind("exit", logs(tmp_path)[0])
    assert end["exit_code"] == 1


def test_disabled_writes_nothing(tmp_path: Path) -> None:
    with connected(settings("logger.wandb=disabled"), tmp_path, "name", {}) as loggers:
        assert loggers == []
    assert not any(tmp_path.iterdir())


def test_online_without_an_account_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    online = settings("logger.loggers.wandb.mode=online")
    with pytest.raises(UserError, match="wandb login"), connected(online, tmp_path, "name", {}):
        pass
