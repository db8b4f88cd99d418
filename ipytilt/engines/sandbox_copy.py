"""`COPY` and `ADD` of the sandbox: which files they mean, what they amount to, and putting them into a tree.

By Docker's rules: the content of a directory is copied, not the directory; a file keeps its name if the destination is
a directory, ends in a slash or takes several files; a source that is a link is followed, links below it are kept;
`ADD` unpacks local archives. Runs on the thread of the worker that builds; used by `sandbox_image` alone.
"""

from __future__ import annotations

import glob
import json
import os
import posixpath
import re
import tarfile
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

from ipytilt.core.paths import Matcher, is_below
from ipytilt.engines.dockerfile import DockerfileError, Instruction, expand
from ipytilt.engines.sandbox_files import Root, fingerprint, resolve

_REMOTE = re.compile(r"(https?|ftp)://|git@|git://")


@dataclass(frozen=True, slots=True)
class Source:
    """A file or directory of this machine, the name it is copied under, and a digest of what is in it."""

    path: str
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Copying:
    """One instruction, understood: sources, then texts (name and content), go to `place`.

    `to_directory` says that the destination is one even if it is not there yet; `mode` is None to keep modes.
    """

    sources: tuple[Source, ...]
    texts: tuple[tuple[str, str], ...]
    place: str
    to_directory: bool
    unpacks: bool
    mode: int | None
    ignores: Matcher | None

    @property
    def digest(self) -> str:
        """Equal for what has the same effect."""
        names = [(source.name, source.digest) for source in self.sources]
        return json.dumps([names, self.texts, self.place, self.to_directory, self.unpacks, self.mode])

    def perform(self, tree: str) -> None:
        """Do it. Raises OSError naming what cannot be read or written, ValueError for an archive that leads outside."""
        with closing(Root(tree)) as root:
            for source in self.sources:
                if os.path.isdir(source.path):
                    root.put(source.path, resolve(self.place, (tree, "")), ignores=self.ignores, mode=self.mode)
                elif self.unpacks and tarfile.is_tarfile(source.path):
                    _unpack(source.path, root, resolve(self.place, (tree, "")))
                else:
                    root.put(source.path, self._target(tree, source.name), mode=self.mode)
            for name, text in self.texts:
                mode = 0o644 if self.mode is None else self.mode
                root.write(self._target(tree, name), text.encode(), mode=mode)

    def _target(self, tree: str, name: str) -> str:
        place = resolve(self.place, (tree, ""))
        there = tree + place if os.path.lexists(tree + place) else place
        return resolve(posixpath.join(place, name), (tree, "")) if self.to_directory or os.path.isdir(there) else place


def understand(
    instruction: Instruction, scope: Mapping[str, str], *, workdir: str, origin: Context | Origin
) -> Copying:
    """The `Copying` of an instruction; variables are replaced from `scope`, sources looked up in `origin`.

    Raises:
        DockerfileError: it makes no sense, or a source is not there.
    """
    words = [expand(word, scope) for word in instruction.argv or instruction.rest.split()]
    if len(words) < 2:
        raise DockerfileError(f"{instruction.word} requires at least two arguments: where from and where to")
    *wanted, target = words
    texts = [(each.name, expand(each.text, scope) if each.expands else each.text) for each in instruction.heredocs]
    files = [word for word in wanted if not word.startswith("<<")]
    if remote := next(filter(_REMOTE.match, files), None):
        raise DockerfileError(f"the sandbox downloads nothing: {remote}")
    is_directory = target.endswith("/") or posixpath.basename(target) in {".", ".."}
    if len(wanted) > 1 and not is_directory:
        text = f"when using {instruction.word} with more than one source file"
        raise DockerfileError(f"{text}, the destination must be a directory and end with a /")
    sources = tuple(source for word in files for source in origin.find(word))
    return Copying(
        sources=sources,
        texts=tuple(texts),
        place=posixpath.normpath(posixpath.join(workdir, target)),
        to_directory=is_directory or len(sources) > 1,
        unpacks=instruction.word == "ADD",
        mode=_mode(instruction.flag("chmod")),
        ignores=origin.ignores,
    )


@dataclass(frozen=True, slots=True)
class Context:
    """The build context as where files come from; "" has none."""

    directory: str
    ignores: Matcher | None

    def find(self, word: str) -> list[Source]:
        """What a word of the instruction means; at least one source."""
        pattern = posixpath.normpath(word.lstrip("/") or ".")
        if pattern == ".." or pattern.startswith("../"):
            raise DockerfileError(f"{word} lies outside of the build context {self.directory}")
        names = sorted(glob.glob(pattern, root_dir=self.directory, include_hidden=True)) if self.directory else []
        if self.directory and not names and os.path.lexists(os.path.join(self.directory, pattern)):
            names = [pattern]
        sources = [self._source(name) for name in names if not self._is_left_out(name)]
        if not sources:
            left_out = "not found in build context or excluded by .dockerignore"
            raise DockerfileError(f"{word}: {left_out}: {self.directory or 'it is empty'}")
        return sources

    def _source(self, name: str) -> Source:
        path = os.path.join(self.directory, name) if name != "." else self.directory
        if os.path.islink(path):
            path = os.path.realpath(path)
            if not is_below(path, os.path.realpath(self.directory)):
                raise DockerfileError(f"{name} is a link that leads outside of the build context: to {path}")
        return Source(path, posixpath.basename(name), _fingerprint(path, self.ignores))

    def _is_left_out(self, name: str) -> bool:
        path = os.path.join(self.directory, name)
        if self.ignores is None or name == "." or not self.ignores.ignores(path):
            return False
        return not os.path.isdir(path) or self.ignores.can_prune(path)


@dataclass(frozen=True, slots=True)
class Origin:
    """Another image as where files come from: its tree ("" for none), under its key, above the host's files."""

    name: str
    tree: str
    key: str

    @property
    def ignores(self) -> Matcher | None:
        """Nothing is left out of what a build made."""
        return None

    def find(self, word: str) -> list[Source]:
        """What a word of the instruction means; at least one source."""
        roots = (self.tree, "") if self.tree else ("",)
        path = resolve(posixpath.normpath("/" + word), roots)
        for root in roots:
            names = sorted(glob.glob(path.lstrip("/") or ".", root_dir=root or "/", include_hidden=True))
            if names:
                return [self._source(root, f"/{name}") for name in names]
        programs = "" if self.tree else ": the sandbox has no images but those it builds, only the files of this host"
        raise DockerfileError(f"{word}: not found in {self.name}{programs}")

    def _source(self, root: str, path: str) -> Source:
        digest = f"{self.key}:{path}" if root else _fingerprint(path, None)
        return Source(root + path, posixpath.basename(path), digest)


def _fingerprint(path: str, ignores: Matcher | None) -> str:
    try:
        return fingerprint(path, ignores)
    except OSError as error:
        raise DockerfileError(f"cannot read {error.filename}: {error.strerror}") from error


def _mode(text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text, 8)
    except ValueError:
        raise DockerfileError(f"--chmod={text}: expected an octal number such as 755") from None


def _unpack(archive: str, root: Root, path: str) -> None:
    """Unpack beside the tree, where nothing can lead astray, and move in what came out."""
    if not hasattr(tarfile, "tar_filter"):
        raise ValueError("this Python cannot unpack archives safely: use 3.11.4 or newer, or RUN tar")
    with tempfile.TemporaryDirectory(prefix="ipytilt-") as folder, tarfile.open(archive) as tar:
        try:
            tar.extractall(folder, filter="tar")
        except tarfile.TarError as error:
            raise ValueError(f"{archive}: {error}") from error
        root.put(folder, path)
