"""What the documents say holds: their links lead somewhere, and what they show is run.

Each document is read on its own, in a folder of its own that holds a copy of `configs/` as a clone does, and its blocks
are run in their order:

* `console`: lines that begin with `$ `. `lrfinder` runs, and the lines shown below it must be lines of its output; a
  `make` target or a script must exist, and `pip install .` is what the Makefile does.
* `python`: run in one namespace, in which what earlier blocks made is known.
* `yaml`: a whole config, or its `schedule:` line.

`text` is output or a drawing, `toml` is shown to be copied: neither is run.
"""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.zygote import Zygote
from lrfinder.config import parse_schedule
from lrfinder.rules import RULE_NAMES
from lrfinder.schedules import SCHEDULES

ROOT = Path(__file__).parents[1]
FOLDERS = (".github", "configs", "lrfinder", "tests")
DOCUMENTS = sorted(
    [ROOT / "README.md", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))],
    key=lambda path: path.relative_to(ROOT).as_posix(),
)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LANGUAGES = {"console", "python", "yaml", "toml", "text", "make"}
INCONCLUSIVE_TOO = {"verify": {0, 1}}  # 1: the rate was corrected
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def blocks(text: str) -> list[tuple[str, str]]:
    """Return each fenced block's language and content, in order."""
    return re.findall(r"^```(\S*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of a document's headings."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        assert ROOT in found.parents, target
        assert not anchor or anchor in anchors(found), target


def test_the_first_page_links_to_every_other_and_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.encode()) <= 12_288
    for document in DOCUMENTS:
        name = document.relative_to(ROOT).as_posix()
        assert name == "README.md" or f"]({name})" in text, name


def test_the_first_page_shows_two_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "$ make demo\n$ make test\n" in text


def test_every_rule_and_every_shape_is_named_where_it_belongs() -> None:
    for room, names in (("rules", RULE_NAMES), ("schedules", SCHEDULES)):
        text = (ROOT / "lrfinder" / room / "README.md").read_text(encoding="utf-8")
        for name in names:
            assert f"`{name}`" in text, name


@each_document
def test_make_targets_and_files_that_are_named_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"(?:`|^\$ )make ([a-z-]+)", text, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE), target
    for script in re.findall(r"`(?:python )?(tests/[\w/.]+\.py)", text):
        assert (ROOT / script).is_file(), script
    assert {language for language, _ in blocks(text)} <= LANGUAGES


class Reader:
    """Does what a document shows, from its beginning, in a folder of its own."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self._folder, self._zygote = folder, zygote
        self._known: dict[str, object] = {"__name__": "__readme__"}

    def do(self, language: str, content: str) -> None:
        """Run one block."""
        if language == "console":
            for part in re.split(r"^\$ ", content, flags=re.MULTILINE)[1:]:
                line, *shown = part.rstrip("\n").split("\n")
                self._type(line, [text.strip() for text in shown if text.strip()])
        elif language == "python":
            exec(compile(content, "<document>", "exec"), self._known)  # noqa: S102 - our own documents
        elif language == "yaml":
            whole = content if "version:" in content else f"version: 1\noptimizer: {{name: SGD, lr: 0.1}}\n{content}"
            config = parse_schedule(whole, suffix=".yaml", where="document")
            assert config.lrs()[config.schedule.warmup - 1] == config.optimizer.lr
        elif language == "toml":
            tomllib.loads(content)

    def _type(self, line: str, shown: list[str]) -> None:
        line = re.sub(r"  +#.*| \| tail -\d+$", "", line).strip()
        words = line.split()
        if words[0] == "lrfinder":
            status, child = self._zygote.run(*words[1:], cwd=self._folder, timeout=180)
            assert status in INCONCLUSIVE_TOO.get(words[1], {0}), (line, status, child.stderr)
            printed = {text.strip() for text in (child.stdout + child.stderr).split("\n")}
            assert [text for text in shown if text not in printed] == [], (line, child.stdout, child.stderr)
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", MAKEFILE, flags=re.MULTILINE), line
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), line
            text = (ROOT / words[1]).read_text(encoding="utf-8")
            assert all(option in text for option in words if option.startswith("--")), line
        else:
            assert line in {"pip install .", "source .venv/bin/activate", "source .venv-demo/bin/activate"}, line


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that holds `configs/`, and is where Python looks first; modules of it are forgotten at the end."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "model", raising=False)  # another test may have imported a file of that name
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@each_document
def test_what_is_shown_is_run(document: Path, clone: Path, zygote: Zygote, one_thread: None) -> None:
    reader = Reader(clone, zygote)
    for language, content in blocks(document.read_text(encoding="utf-8")):
        reader.do(language, content)
