"""Which file or module a reference means, and what is said where there is none; nothing is imported for it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrfinder.errors import UsageError
from lrfinder.task.reference import check_reference, code_places, digest_of, model_path


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "net.py").write_text("")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "book.ipynb").write_text("{}")
    (tmp_path / "odd:name.py").write_text("")


@pytest.mark.parametrize(
    ("text", "path", "module", "attribute", "title"),
    [
        ("model.py", "model.py", None, None, "model"),
        ("./model.py", "model.py", None, None, "model"),
        ("sub/net.py:small", "sub/net.py", None, "small", "net-small"),
        ("model.py:build_it", "model.py", None, "build_it", "model-build_it"),
        ("package:build", None, "package", "build", "package-build"),
        ("package.inner.deep:build", None, "package.inner.deep", "build", "deep-build"),
        ("json.decoder:JSONDecoder", None, "json.decoder", "JSONDecoder", "decoder-JSONDecoder"),
        ("odd:name.py", "odd:name.py", None, None, "odd:name"),
    ],
)
def test_forms(text: str, path: str | None, module: str | None, attribute: str | None, title: str) -> None:
    found = check_reference(text)
    assert found.path == (None if path is None else Path(path))
    assert (found.module, found.attribute, found.title) == (module, attribute, title)


def test_drive_letters_stay_with_their_path() -> None:
    with pytest.raises(UsageError, match=r"no such file: 'C:\\\\work\\\\net.py'"):
        check_reference(r"C:\work\net.py")
    with pytest.raises(UsageError, match=r"no such file: 'C:\\\\work\\\\net.py'"):
        check_reference(r"C:\work\net.py:small")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("missing.py", "no such file: 'missing.py'", "lrfinder init missing.py"),
        ("missing.py:build", "no such file: 'missing.py'", "lrfinder init"),
        ("model", "no such file: 'model'", "did you mean model.py?"),
        ("sub/net", "no such file: 'sub/net'", "did you mean sub/net.py?"),
        ("a.b", "no such file: 'a.b'", "package.module:name"),
        ("", "is a folder", "name the file"),
        ("sub", "'sub' is a folder, not a model file", "sub/model.py"),
        ("notes.txt", "'notes.txt' is not a Python file", "ends in .py"),
        ("book.ipynb", "'book.ipynb' is not a Python file", "nbconvert"),
        ("model.py:two-words", "'two-words' is not a Python name", "model.py:name"),
        ("model.py:", "'' is not a Python name", "model.py:name"),
        ("no_such_package.inner:build", "no module named 'no_such_package'", "package.module:name"),
        (f"nowhere://{'a' * 5000}", "nowhere", ""),  # longer than a path can be
        ("not a module:build", "neither a file nor a module", "package.module:name"),
    ],
)
def test_refusals(text: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_reference(text)
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)
    assert caught.value.exit_status == 2


def test_checking_imports_no_torch_and_not_the_file() -> None:
    script = (
        "import sys; from lrfinder.task.reference import check_reference; "
        "check_reference('model.py'); check_reference('package.inner:build'); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'model', 'package')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_module_of_namespace_packages_is_found_without_its_parents(tmp_path: Path) -> None:
    """None of them is imported, so that the dotted name of the inner one can't be looked up."""
    for folder in ("outer", "outer/inner"):
        (tmp_path / folder).mkdir()
    (tmp_path / "outer" / "inner" / "net.py").write_text("raise RuntimeError('imported')")
    found = check_reference("outer.inner.net:build")
    assert model_path(found) == tmp_path / "outer" / "inner" / "net.py"
    assert digest_of(found) == hashlib.sha256(b"raise RuntimeError('imported')").hexdigest()
    assert {tmp_path / "outer", tmp_path / "outer" / "inner"} <= set(code_places(found))
    assert digest_of(check_reference("outer.missing:build")) is None


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "zero.py").symlink_to("/dev/zero")
    with (tmp_path / "long.py").open("wb") as file:
        file.truncate(2**34)  # a hole
    for name, what in (
        ("pipe.py", "not a regular file"),
        ("zero.py", "not a regular file"),
        ("long.py", "larger than"),
    ):
        with pytest.raises(UsageError, match=what):
            digest_of(check_reference(name))
