"""What `--upload` sends to a cluster: the files that git tracks, as they are in the working tree, and nothing else."""

from __future__ import annotations

import os
import shlex
import subprocess
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from lrfinder.errors import UsageError, fault_of_name
from lrfinder.formatting import format_bytes, format_count
from lrfinder.store import Source
from lrfinder.task.checkpoint.files import checkpoint_files
from lrfinder.task.reference import Reference, check_reference, model_path

MOST_BYTES = 500 * 2**20  # of all files: what Ray's documentation allows for a working_dir
_NAMED = 3  # files that a message names

_ELSEWHERE = "leave --upload out, and keep the folder on a file system that every node has"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """The tracked files of the repository at `root`, and the `folder` in it in which the command was given.

    `source` names the model file, and a checkpoint of the repository, as they are called in that folder of the copy.
    """

    root: Path
    folder: str
    files: tuple[str, ...]  # with slashes, from the root
    size: int  # bytes, of all
    left_out: tuple[str, ...]  # tracked, but nothing that can be sent
    source: Source

    @classmethod
    def of(cls, source: Source) -> Self:
        """Look at the repository of the model file.

        Raises UsageError if there is none, if git doesn't track the model file or its checkpoint, if the command is
        given outside of the repository, and if there is more than Ray takes.
        """
        found = check_reference(source.reference)
        path = model_path(found)
        if path is None:
            raise UsageError(
                f"--upload sends the repository of a model file, and {source.reference} has none",
                hint="leave --upload out",
            )
        path = _with_real_folder(path)
        root = Path(_git(path.parent, "rev-parse", "--show-toplevel").rstrip("\n"))
        folder = Path.cwd().resolve()
        if not folder.is_relative_to(root):
            raise UsageError(
                f"--upload: trials run in the folder of the command, and {folder} isn't in the repository {root}",
                hint=f"cd {shlex.quote(str(root))}",
            )
        listed = _git(root, "ls-files", "-z", "--cached", "--recurse-submodules").split("\0")
        files, left_out = _sendable(root, [name for name in dict.fromkeys(listed) if name])  # thrice in a conflict
        upload = cls(
            root=root,
            folder=str(folder.relative_to(root)),
            files=files,
            size=sum((root / name).stat().st_size for name in files),
            left_out=left_out,
            source=source,
        )
        upload._check(path)
        return replace(upload, source=upload._named_there(found, path))

    def __str__(self) -> str:
        text = (
            f"uploading {format_count(len(self.files), 'file')}, {format_bytes(self.size)}: those that git tracks in "
            f"{self.root}, as they are in the working tree, with changes that aren't committed"
        )
        if not self.left_out:
            return text
        return f"{text}; left out, since links to what isn't tracked can't be sent: {_some(self.left_out)}"

    def write(self, archive: Path) -> None:
        """Write all into a zip archive."""
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as opened:
            if self.folder != ".":  # it may have no tracked file
                opened.mkdir(self.folder)
            for name in self.files:
                opened.write(self.root / name, name)

    def _check(self, model: Path) -> None:
        self._check_tracked("the model file", model)
        if self.source.start_from is not None:
            for file in map(_with_real_folder, checkpoint_files(self.source.start_from).all):
                if file.is_relative_to(self.root):
                    self._check_tracked("the checkpoint", file, or_else=", or keep it where every node has it, outside")
        if self.size > MOST_BYTES:
            largest = max(self.files, key=lambda name: (self.root / name).stat().st_size)
            raise UsageError(
                f"--upload: {format_count(len(self.files), 'file')} that git tracks in {self.root} have "
                f"{format_bytes(self.size)}, and Ray takes at most {format_bytes(MOST_BYTES)}; the largest is "
                f"{largest}, {format_bytes((self.root / largest).stat().st_size)}",
                hint=_ELSEWHERE,
            )

    def _check_tracked(self, what: str, file: Path, *, or_else: str = "") -> None:
        if not file.is_relative_to(self.root) or file.relative_to(self.root).as_posix() not in self.files:
            raise UsageError(
                f"--upload sends only what git tracks, and {what} {file} isn't", hint=f"git add {file}{or_else}"
            )

    def _named_there(self, found: Reference, path: Path) -> Source:
        reference, start = self.source.reference, self.source.start_from
        if found.path is not None:
            reference = self._there(path) + (f":{found.attribute}" if found.attribute else "")
        return replace(self.source, reference=reference, start_from=None if start is None else self._there(Path(start)))

    def _there(self, path: Path) -> str:
        """Return what a path is called in the folder of the command, if it is sent; else the whole path."""
        path = _with_real_folder(path)
        return os.path.relpath(path, self.root / self.folder) if path.is_relative_to(self.root) else str(path)


def _with_real_folder(path: Path) -> Path:
    """Return a path whose folder is no link, as git names it; the file itself may be one."""
    path = path.absolute()
    return path.parent.resolve() / path.name


def _git(folder: Path, *arguments: str) -> str:
    """Return what git says; a hook's variables, which name its own repository, are not for this one."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or "CONFIG" in name}
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are ours
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
            capture_output=True,
            check=False,
            env={**others, "LC_ALL": "C"},
        )
    except OSError as error:
        raise UsageError(f"--upload asks git what it tracks, and git can't be run: {error}", hint=_ELSEWHERE) from None
    if done.returncode:
        said = os.fsdecode(done.stderr).strip().partition("\n")[0]
        raise UsageError(
            f"--upload: {folder} is no git checkout: {said}", hint=f"git init, and git add; or {_ELSEWHERE}"
        )
    return os.fsdecode(done.stdout)


def _sendable(root: Path, tracked: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which of the tracked names are files whose content is tracked, too, and which lead elsewhere.

    A link, or a file in a folder that has become one, may lead to what git doesn't track.
    """
    known = {name for name in tracked if not fault_of_name(name)}
    files, left_out = [], []
    for name in tracked:
        real = os.path.realpath(root / name)
        within = os.path.relpath(real, root).replace(os.sep, "/")
        if not os.path.lexists(root / name):  # deleted in the working tree
            continue
        if name in known and within in known and Path(real).is_file():
            files.append(name)
        else:
            left_out.append(name)
    return tuple(files), tuple(left_out)


def _some(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
