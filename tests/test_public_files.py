"""Workflows, Dockerfile and the pages for contributors name what is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import attnlab
from attnlab.cli import commands
from tests.commands import REPOSITORY

GITHUB = REPOSITORY / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PROJECT = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
PYTHONS = SpecifierSet(re.findall(r'requires-python = "(.+)"', PROJECT)[0])
PAGES = ["CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md", "SECURITY.md"]


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_there_is(workflow: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    for step in steps(workflow):
        assert ("run" in step) != ("uses" in step)
        assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/checkout@v1"))
        words = shlex.split(step.get("run", ""))
        if words[:1] == ["make"]:
            assert set(words[1:]) <= targets
        for path in (word for word in words if word.startswith(("tests/", "docs/"))):
            assert (REPOSITORY / path).exists()
        for version in re.findall(r"3\.\d+", str(step.get("with", {}).get("python-version", ""))):
            assert version in PYTHONS


def test_every_supported_python_is_tested() -> None:
    content = yaml.safe_load((GITHUB / "workflows" / "checks.yml").read_text(encoding="utf-8"))
    matrix = content["jobs"]["tests"]["strategy"]["matrix"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(30) if f"3.{minor}" in PYTHONS]
    assert matrix["os"] == ["ubuntu-latest", "macos-latest"]


def test_forms_of_issues_are_complete() -> None:
    forms = [path for path in (GITHUB / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert len(forms) == 2
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert {"name", "description", "body"} <= form.keys()
        assert all(each["id"] and each["attributes"]["label"] for each in form["body"])


def test_the_image_installs_what_the_project_allows() -> None:
    text = text_of("Dockerfile")
    assert re.findall(r"^ARG PYTHON=(.+)$", text, re.MULTILINE)[0] in PYTHONS
    (torch,) = re.findall(r'pip install "(torch.+?)"', text)
    assert f'"{torch}"' in PROJECT, "the range of pyproject.toml"
    (extras,) = re.findall(r'"/src\[(.+)\]"', text)
    for extra in extras.split(","):
        assert re.search(rf"^{extra} = \[", PROJECT, re.MULTILINE)
    for stage in re.findall(r"^#.* run .*attnlab (\w+)", text, re.MULTILINE):
        assert stage in commands()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)", text_of(page)):
        assert link.startswith("https://") or (REPOSITORY / link).exists(), link


def test_the_changelog_knows_this_version_and_its_commands_exist() -> None:
    text = text_of("CHANGELOG.md")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased" and headings[1] == attnlab.__version__
    for stage in re.findall(r"`attnlab (\w+)", text):
        assert stage in commands()
