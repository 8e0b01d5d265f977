"""The user's file becomes a module: fresh, importable by workers, and with nothing left where it fails."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lrfinder.errors import ModelFileError, UsageError, user_code_location
from lrfinder.task.source import import_file, import_named, modules_put_back


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_file_is_executed_anew_each_time(write: Callable[..., str], tmp_path: Path) -> None:
    first = import_file(Path(write("value = [1]", "fresh.py")))
    # The same length within the same second: a cached .pyc would pass for current.
    second = import_file(Path(write("value = [2]", "fresh.py")))
    assert (first.value, second.value) == ([1], [2])


def test_the_script_part_does_not_run(write: Callable[..., str]) -> None:
    assert import_file(Path(write('ran = __name__ == "__main__"', "script.py"))).ran is False
    assert import_file(Path(write('ran = __name__ == "__main__"', "__main__.py"))).ran is False


def test_neighbours_import_now_and_later_and_nothing_is_written(write: Callable[..., str], tmp_path: Path) -> None:
    write("WIDTH = 3", "neighbour_now.py", head="")
    write("WIDTH = 4", "neighbour_later.py", head="")
    path = write(
        """
        import neighbour_now
        def later():
            import neighbour_later
            return neighbour_now.WIDTH, neighbour_later.WIDTH
        """,
        head="",
    )
    before = files_in(tmp_path)
    module = import_file(Path(path))
    assert files_in(tmp_path) == before
    assert module.later() == (3, 4)


def test_classes_pickle_and_dataclasses_work(write: Callable[..., str]) -> None:
    text = """
        from __future__ import annotations
        import dataclasses

        @dataclasses.dataclass
        class Point:
            x: int
            kind: dataclasses.KW_ONLY = None
        """
    module = import_file(Path(write(text, "with_dataclass.py", head="")))
    point = module.Point(x=2)
    assert pickle.loads(pickle.dumps(point)) == point
    assert module.__name__ == "with_dataclass"


def test_a_name_that_is_taken_gets_another(write: Callable[..., str]) -> None:
    import json

    module = import_file(Path(write("value = 1", "json.py", head="")))
    assert module.__name__ != "json"
    assert sys.modules["json"] is json
    assert sys.modules[module.__name__] is module
    assert import_file(Path(write("value = 1", "with-dash.py", head=""))).value == 1


def test_spawned_workers_find_the_data_set(write: Callable[..., str], tmp_path: Path) -> None:
    write(
        """
        from torch.utils.data import Dataset

        class Squares(Dataset):
            def __len__(self):
                return 4
            def __getitem__(self, index):
                return torch.tensor(float(index * index)), torch.tensor(0.0)

        def model():
            return nn.Linear(1, 1)

        def train_loader():
            return DataLoader(Squares(), batch_size=2, num_workers=1, multiprocessing_context="spawn")
        """,
        "squares.py",
    )
    script = """
import pickle
from lrfinder.task.load import load_problem
from lrfinder.task.loader import make_loader
from lrfinder.task.source import modules_put_back
from squares import Squares  # the program's own, beside that of the model file
if __name__ == "__main__":
    with modules_put_back():
        problem = load_problem("squares.py")
        print([batch[0].tolist() for batch in make_loader(problem, problem.model())])
    assert isinstance(pickle.loads(pickle.dumps(Squares())), Squares)
"""
    (tmp_path / "run.py").write_text(script)
    done = subprocess.run([sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("[[0.0, 1.0], [4.0, 9.0]]\n", 0), done.stderr


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("import helper_of_broken\n1 / 0", ZeroDivisionError),
        ("def broken(:\n    pass", SyntaxError),
        ("import no_such_package_anywhere", ModuleNotFoundError),
        ("x = 1\n  y = 2", IndentationError),
        ("\0", SyntaxError),
        ("raise KeyboardInterrupt", KeyboardInterrupt),
    ],
)
def test_failures_pass_through_and_leave_nothing(
    write: Callable[..., str], tmp_path: Path, text: str, kind: type[BaseException]
) -> None:
    write("", "helper_of_broken.py", head="")
    path = write(text, "broken.py", head="")
    state = list(sys.path), set(sys.modules), sys.dont_write_bytecode, files_in(tmp_path)
    with pytest.raises(kind) as caught:
        import_file(Path(path))
    assert type(caught.value) is kind
    assert user_code_location(caught.value) == (None if kind is KeyboardInterrupt else "importing broken.py")
    assert (list(sys.path), set(sys.modules), sys.dont_write_bytecode, files_in(tmp_path)) == state


def test_a_failed_second_import_keeps_the_first(write: Callable[..., str]) -> None:
    first = import_file(Path(write("value = 1", "kept.py", head="")))
    with pytest.raises(NameError):
        import_file(Path(write("unknown", "kept.py", head="")))
    assert sys.modules["kept"] is first


def test_what_the_program_has_imported_itself_is_back_afterwards(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, new = write("class Net: pass", "imported.py", head=""), write("class Net: pass", "not_imported.py", head="")
    monkeypatch.syspath_prepend(tmp_path)
    kept = importlib.import_module("imported")
    net, path = kept.Net(), list(sys.path)
    with modules_put_back():
        for _ in range(2):  # a sweep and a verification, say
            made = import_file(Path(own))
            assert isinstance(pickle.loads(pickle.dumps(made.Net())), made.Net)
        import_file(Path(new))
        assert sys.modules["imported"] is made
    assert isinstance(pickle.loads(pickle.dumps(net)), kept.Net)
    assert "not_imported" not in sys.modules
    assert sys.path == path


NEIGHBOURS = {"file": "NAME.py", "package": "NAME/__init__.py", "part": "NAME/part.py"}


@pytest.mark.parametrize("kind", NEIGHBOURS)
@pytest.mark.parametrize("of_program", [True, False])
def test_each_file_gets_its_own_neighbours(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, of_program: bool
) -> None:
    name = f"neighbour_{kind}_{of_program}"
    for folder in ("program", "a", "b"):
        write(f"class Net: place = {folder!r}", f"{folder}/{NEIGHBOURS[kind].replace('NAME', name)}", head="")
    name += ".part" if kind == "part" else ""
    for folder in ("program", "a", "b"):
        write(f"from {name} import Net", f"{folder}/model.py", head="")
    if of_program:
        monkeypatch.syspath_prepend(tmp_path / "program")
        kept = importlib.import_module("model")
        net = kept.Net()
    for folder in ("a", "b", "a"):
        with modules_put_back():
            made = import_file(tmp_path / folder / "model.py")
            assert (made.__name__, made.Net.place) == ("model", folder)
            assert isinstance(pickle.loads(pickle.dumps(made.Net())), made.Net)
    with pytest.raises(ZeroDivisionError), modules_put_back():
        import_file(Path(write(f"import {name}\n1 / 0", "b/fails.py", head="")))
    if of_program:
        assert isinstance(pickle.loads(pickle.dumps(net)), type(net))
        assert sys.modules["model"] is kept
    # Without it, as in a process that does nothing else.
    assert [import_file(tmp_path / folder / "model.py").Net.place for folder in ("b", "a", "b")] == ["b", "a", "b"]


def test_what_the_program_imports_later_is_its_own(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("program", "a"):
        write(f"place = {folder!r}", f"{folder}/imported_late.py", head="")
    monkeypatch.syspath_prepend(tmp_path / "program")
    with modules_put_back():
        assert import_file(Path(write("import imported_late", "a/model.py", head=""))).imported_late.place == "a"
    assert importlib.import_module("imported_late").place == "program"


def test_a_neighbour_that_the_program_shares_is_executed_once(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("", "shared.py", head="")
    monkeypatch.syspath_prepend(tmp_path)
    shared = importlib.import_module("shared")
    with modules_put_back():
        assert import_file(Path(write("import shared", head=""))).shared is shared
    assert sys.modules["shared"] is shared


def test_another_module_than_the_file_s_own_path_leads_to_is_refused(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("program", "library"):
        write("class Net: pass", f"{folder}/layers_of_mine.py", head="")
    monkeypatch.syspath_prepend(tmp_path / "program")
    importlib.import_module("layers_of_mine")
    text = f"import sys\nsys.path.insert(0, {str(tmp_path / 'library')!r})\nfrom layers_of_mine import Net"
    modules = set(sys.modules)
    with pytest.raises(ModelFileError, match=r"model.py imports layers_of_mine, and got .*program"), modules_put_back():
        import_file(Path(write(text, "a/model.py", head="")))
    assert set(sys.modules) == modules
    del sys.modules["layers_of_mine"]
    assert import_file(Path(write(text, "a/model.py", head=""))).Net.__module__ == "layers_of_mine"


def test_tracebacks_show_the_line(write: Callable[..., str]) -> None:
    path = write("value = 1\nvalue.missing\n", "attribute.py", head="")
    with pytest.raises(AttributeError) as caught:
        import_file(Path(path))
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (path, 2)


def test_exit_while_importing_is_the_files_failure(write: Callable[..., str]) -> None:
    path = write("import sys\nsys.exit(0)", "exits.py", head="")
    with pytest.raises(ModelFileError, match=r"ended the program \(exit status 0\) while importing exits.py") as caught:
        import_file(Path(path))
    assert "__main__" in str(caught.value.hint)


def test_named_modules_are_found_in_the_working_folder(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("", "package_here/__init__.py", head="")
    write("value = 5", "package_here/inner.py", head="")
    monkeypatch.chdir(tmp_path)
    before = files_in(tmp_path)
    assert import_named("package_here.inner").value == 5
    assert files_in(tmp_path) == before
    with pytest.raises(UsageError, match=r"no module named 'package_here\.other'"):
        import_named("package_here.other")


def test_a_module_that_misses_another_is_not_a_wrong_reference(
    write: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("import no_such_package_anywhere", "lacking.py", head="")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package_anywhere"):
        import_named("lacking")
