"""Files that are damaged or hostile end with one line: the file, the problem, what helps."""

from __future__ import annotations

from pathlib import Path

import pytest

from attnlab.text_files import DamagedFileError, read_json, read_table, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{key}: &{key} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, key in zip("abcdefgh", "bcdefghi", strict=True)
)


def refused(read: object, path: Path, content: bytes, *more: object) -> str:
    path.write_bytes(content)
    with pytest.raises(DamagedFileError) as caught:
        read(path, "attnlab evaluate RUN", *more)  # type: ignore[operator]
    line = str(caught.value)
    assert line.startswith(f"{path}: damaged (")
    assert line.endswith("); try: attnlab evaluate RUN")
    assert "\n" not in line
    return line.removeprefix(f"{path}: damaged (").removesuffix("); try: attnlab evaluate RUN")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"\xff\xfe", "no text: byte 0 is not UTF-8"),
        (b'{"a": 1', "Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": NaN}', "NaN is not a number of JSON"),
        (b"[1]", "Input should be a valid dictionary"),
        (b'{"a": "x"}', "a: Input should be a valid integer, unable to parse string as an integer"),
    ],
)
def test_json(content: bytes, problem: str, tmp_path: Path) -> None:
    assert refused(read_json, tmp_path / "a.json", content, dict[str, int]) == problem


def test_json_is_handed_back_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": 1}')
    content = read_json(path, "nothing", dict[str, float])
    assert content == {"a": 1}
    assert isinstance(content["a"], int)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"- a\n- b\n", "no mapping of keys to values"),
        (b"word", "no mapping of keys to values"),
        (b"\0\0", "unacceptable character #x0000"),
        (b"a: 1\na: 2\n", "line 2: found duplicate key a"),
        (b"\tname: x", "line 1: found character '\\t' that cannot start any token"),
        (b"a: &a [*a]", "more than 100,000 values, with those that aliases repeat"),
        (BOMB.encode(), "more than 100,000 values, with those that aliases repeat"),
        (b"a: " + b"[" * 5000 + b"]" * 5000, "nested too deep"),
        (b"a: " + b"x" * (1 << 21), "2,097,155 bytes, which is more than 1,048,576"),
        (
            b"a: !!python/object/apply:os.system ['true']",
            "line 1: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
    ],
    ids=["list", "word", "nul", "twice", "tab", "itself", "bomb", "deep", "large", "object"],
)
def test_yaml(content: bytes, problem: str, tmp_path: Path) -> None:
    assert refused(read_yaml, tmp_path / "a.yaml", content).startswith(problem)


def test_aliases_of_yaml_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("one: &x [1e-3]\ntwo: *x\n")
    assert read_yaml(path, "nothing") == {"one": [0.001], "two": [0.001]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"a,b\n1,2\n3", "breaks off in line 3"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 cells, not 2"),
        (b'a,b\n1,"2\n', "unexpected end of data"),
        (b"a,b\n1,\xff\n", "no text: byte 6 is not UTF-8"),
    ],
)
def test_table(content: bytes, problem: str, tmp_path: Path) -> None:
    assert refused(read_table, tmp_path / "a.csv", content) == problem


def test_table_that_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a,"b"\n1,"x\n\u2028y"\n')
    assert read_table(path, "nothing") == {"a": ["1"], "b": ["x\n\u2028y"]}
    assert read_table(tmp_path / "none.csv", "nothing") == {}


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DamagedFileError) as caught:
        read_json(tmp_path / "none.json", "ls")
    line = f"{tmp_path}/none.json: cannot be read (No such file or directory); try: ls"
    assert str(caught.value) == line
