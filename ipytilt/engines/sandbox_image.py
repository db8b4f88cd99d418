"""Builds images of the sandbox: from a Dockerfile to a directory tree and what a container of it runs.

Every instruction that changes files gets a key: a digest over the key before it, the instruction and the content it
brings in. Trees are kept by key, so an unchanged image is found without executing anything, and a changed one starts
from the last tree that still fits. Stages nobody asks for are not built. `FROM` an image of this session starts from
its tree, `FROM` anything else means "the programs of this host": an empty tree.

Runs on the thread of the worker that builds. Neighbours: `dockerfile` parses, `sandbox_store` keeps, `sandbox_run`
runs.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace

from ipytilt.core.paths import Matcher
from ipytilt.engines.base import Work
from ipytilt.engines.dockerfile import (
    DockerfileError,
    Instruction,
    arguments_before_from,
    assignments,
    built_as,
    declared_arguments,
    expand,
    from_parts,
    parse,
)
from ipytilt.engines.sandbox_copy import Context, Origin, understand
from ipytilt.engines.sandbox_files import Root, clone_tree, remove_tree, resolve
from ipytilt.engines.sandbox_run import Isolation, StartFailed, View, environment, finish, launch
from ipytilt.engines.sandbox_store import Store
from ipytilt.errors import EngineError, refusal

_FORMAT = "sandbox 1"
_TAIL_LINES = 20
_FOLLOWED = frozenset({"ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "RUN", "SHELL", "WORKDIR"})
_SILENT = frozenset({"EXPOSE", "LABEL", "MAINTAINER"})
_NOTED = {
    "--chown": "files belong to the user of the notebook",
    "USER": "everything runs as the user of the notebook",
    "VOLUME": "the directory is part of the container",
    "HEALTHCHECK": "health is not checked",
    "STOPSIGNAL": "containers are stopped by SIGTERM",
    "ONBUILD": "triggers are not executed",
}
_FLAGS = {
    "FROM": {"platform"},
    "COPY": {"from", "chown", "chmod", "link"},
    "ADD": {"chown", "chmod", "link", "keep-git-dir"},
    "RUN": {"mount", "network"},
}


@dataclass(frozen=True, slots=True)
class Config:
    """What containers of an image run, and with what around it. `cmd` and `entrypoint` are None when never set."""

    env: tuple[tuple[str, str], ...] = ()
    workdir: str = "/"
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None

    def environment(self) -> dict[str, str]:
        """The whole environment of a process."""
        return {**environment(), **dict(self.env)}


@dataclass(frozen=True, slots=True)
class TreeImage:
    """An image: the tree kept under `key` ("" means an empty one) and its configuration, both named by `digest`."""

    key: str = ""
    tree: str = ""
    config: Config = field(default_factory=Config)

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of what the image is, not of how the disk looks."""
        text = json.dumps([_FORMAT, self.key, repr(self.config)])
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to build.

    `where` names the Dockerfile in errors, `args` are the build arguments, `images` what this session has built (by
    reference of the Tiltfile), `context` a directory or "".
    """

    dockerfile: str
    where: str
    context: str
    ignores: Matcher
    args: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    images: Mapping[str, TreeImage] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Action:
    """One change of the tree, not yet done: `perform` works in a folder with a tree that is its own."""

    key: str
    title: str
    perform: Callable[[str], None]
    runs: bool = False


@dataclass(slots=True)
class _Stage:
    """One stage while its instructions are read."""

    name: str
    instructions: list[Instruction]
    base: TreeImage = field(default_factory=TreeImage)
    config: Config = field(default_factory=Config)
    args: dict[str, str] = field(default_factory=dict)
    actions: list[_Action] = field(default_factory=list)
    read: bool = False
    has_cmd: bool = False

    @property
    def key(self) -> str:
        """Of its tree after the last instruction read."""
        return self.actions[-1].key if self.actions else self.base.key

    @property
    def scope(self) -> dict[str, str]:
        """What variables mean: `ENV` hides `ARG`."""
        return {**self.args, **self.config.environment()}


class ImageBuilder:
    """Builds one recipe; used once."""

    def __init__(self, recipe: Recipe, *, store: Store, isolation: Isolation, work: Work) -> None:
        self._recipe = recipe
        self._store = store
        self._isolation = isolation
        self._work = work
        self._stages: list[_Stage] = []
        self._outer_args: dict[str, str] = {}
        self._noted: set[str] = set()

    def build(self) -> TreeImage:
        """The image.

        Raises:
            Rejected: the Dockerfile or the context is wrong, or a command failed; `where` names the line.
        """
        try:
            instructions = parse(self._recipe.dockerfile)
            self._cut_into_stages(instructions)
        except DockerfileError as error:
            raise self._rejected(str(error), error.line) from error
        stage = self._target()
        self._read(stage)
        tree = self._materialize(stage)
        return TreeImage(stage.key, tree, stage.config)

    # ------------------------------------------------------------------------------------------ reading

    def _cut_into_stages(self, instructions: tuple[Instruction, ...]) -> None:
        self._outer_args = arguments_before_from(instructions, self._recipe.args)
        for instruction in instructions:
            if instruction.word not in {*_FOLLOWED, *_SILENT, *_NOTED}:
                raise DockerfileError(f"unknown instruction: {instruction.word}", instruction.line)
            known = _FLAGS.get(instruction.word, set())
            unknown = next((name for name, _ in instruction.flags if name not in known), None)
            if unknown and instruction.word != "HEALTHCHECK":
                text = f"the sandbox does not know --{unknown} of {instruction.word}"
                raise DockerfileError(text, instruction.line)
            if instruction.word == "FROM":
                _, name = from_parts(instruction, self._outer_args)
                self._stages.append(_Stage(name, [instruction]))
            elif self._stages:
                self._stages[-1].instructions.append(instruction)
            elif instruction.word != "ARG":
                raise DockerfileError("no build stage in current context: begin with FROM", instruction.line)
        if not self._stages:
            raise DockerfileError("no build stage: begin with FROM", instructions[-1].line)

    def _target(self) -> _Stage:
        wanted = self._recipe.target
        if not wanted:
            return self._stages[-1]
        stage = self._stage_named(wanted, len(self._stages))
        if stage is None:
            raise self._rejected(f'target stage "{wanted}" could not be found', 0)
        return stage

    def _stage_named(self, name: str, before: int) -> _Stage | None:
        if name.isdigit() and int(name) < before:
            return self._stages[int(name)]
        return next((stage for stage in reversed(self._stages[:before]) if stage.name == name.lower()), None)

    def _read(self, stage: _Stage) -> None:
        """Find out what the stage does, without doing it."""
        if stage.read:
            return
        stage.read = True
        first, *rest = stage.instructions
        named, _ = from_parts(first, self._outer_args)
        stage.base = self._image_named(named, before=self._stages.index(stage))
        stage.config = stage.base.config
        for instruction in rest:
            try:
                self._read_one(stage, instruction)
            except DockerfileError as error:
                raise self._rejected(str(error), error.line or instruction.line) from error

    def _image_named(self, named: str, *, before: int) -> TreeImage:
        """What `FROM` or `--from` means: a stage, an image of this session, or the programs of this host."""
        stage = self._stage_named(named, before)
        if stage is not None:
            self._read(stage)
            return TreeImage(stage.key, self._materialize(stage), stage.config)
        built = built_as(named, {reference: reference for reference in self._recipe.images})
        return self._recipe.images[built] if built else TreeImage()

    def _read_one(self, stage: _Stage, instruction: Instruction) -> None:
        if instruction.word in _NOTED:
            self._note(instruction.word)
            return
        match instruction.word:
            case "ADD" | "COPY":
                self._read_copy(stage, instruction)
            case "ARG":
                self._read_arg(stage, instruction)
            case "CMD" | "ENTRYPOINT":
                self._read_command(stage, instruction)
            case "ENV":
                values = {**dict(stage.config.env), **dict(assignments(instruction.rest, stage.scope))}
                stage.config = replace(stage.config, env=tuple(values.items()))
            case "RUN":
                self._read_run(stage, instruction)
            case "SHELL" if instruction.argv:
                stage.config = replace(stage.config, shell=instruction.argv)
            case "SHELL":
                raise DockerfileError('SHELL requires the arguments to be in JSON form: ["program", "option"]')
            case "WORKDIR":
                self._read_workdir(stage, instruction)

    def _read_arg(self, stage: _Stage, instruction: Instruction) -> None:
        for name, default in declared_arguments(instruction, stage.scope):
            inherited = self._outer_args.get(name) if default is None else default
            value = self._recipe.args.get(name, inherited)
            if value is not None:
                stage.args[name] = value

    def _read_command(self, stage: _Stage, instruction: Instruction) -> None:
        argv = instruction.argv if instruction.argv is not None else (*stage.config.shell, instruction.rest)
        if instruction.word == "CMD":
            stage.has_cmd = True
            stage.config = replace(stage.config, cmd=argv)
        else:  # as for Docker, what the base image would run is no argument of another program
            stage.config = replace(stage.config, entrypoint=argv, cmd=stage.config.cmd if stage.has_cmd else None)

    def _read_workdir(self, stage: _Stage, instruction: Instruction) -> None:
        path = posixpath.normpath(posixpath.join(stage.config.workdir, expand(instruction.rest, stage.scope)))
        stage.config = replace(stage.config, workdir=path)

        def perform(folder: str) -> None:
            tree = os.path.join(folder, "tree")
            with closing(Root(tree)) as root:
                root.make_directory(resolve(path, (tree, "")))

        self._add(stage, instruction, perform, what=path)

    def _add(
        self, stage: _Stage, instruction: Instruction, perform: Callable[[str], None], *, what: str, runs: bool = False
    ) -> None:
        text = json.dumps([_FORMAT, self._isolation.name, stage.key, str(instruction), what])
        key = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]

        def guarded(folder: str) -> None:
            try:
                perform(folder)
            except (OSError, ValueError) as error:
                problem = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
                raise self._rejected(f"{instruction}: {problem}", instruction.line) from error

        stage.actions.append(_Action(key, str(instruction), guarded, runs=runs))

    # ------------------------------------------------------------------------------------------ RUN

    def _read_run(self, stage: _Stage, instruction: Instruction) -> None:
        for name, value in instruction.flags:
            if name == "mount" and "type=cache" not in value and "type=tmpfs" not in value:
                raise DockerfileError(f"the sandbox has no --mount={value}, only caches, which start empty")
            if name == "network" and value not in {"default", "host"}:
                raise DockerfileError(f"the sandbox cannot separate networks: --network={value}")
        config, env = stage.config, stage.scope
        script = instruction.rest
        if instruction.heredocs:
            body = "".join(f"{each.text}{each.name}\n" for each in instruction.heredocs)
            script = instruction.heredocs[0].text if script.startswith("<<") else f"{script}\n{body}"
        argv = instruction.argv if instruction.argv is not None else (*config.shell, script)

        def perform(folder: str) -> None:
            self._run(View(folder), argv, cwd=config.workdir, env=env, instruction=instruction)

        what = json.dumps([argv, config.workdir, sorted({**stage.args, **dict(config.env)}.items())])
        self._add(stage, instruction, perform, what=what, runs=True)

    def _run(
        self, view: View, argv: tuple[str, ...], *, cwd: str, env: Mapping[str, str], instruction: Instruction
    ) -> None:
        tail: deque[str] = deque(maxlen=_TAIL_LINES)

        def on_line(line: str) -> None:
            tail.append(line)
            self._work.log(line)

        try:
            process, _ = launch(self._isolation, view, argv, cwd=cwd, env=env, on_line=on_line)
        except StartFailed as error:
            raise self._rejected(f"{instruction}: {error}", instruction.line) from error
        exit_code = finish(process, self._work)
        self._isolation.tidy(view)
        if exit_code:
            output = "\n".join(tail)
            text = f"{instruction} failed with exit code {exit_code}"
            raise self._rejected(f"{text}:\n{output}" if output else text, instruction.line)

    def _read_copy(self, stage: _Stage, instruction: Instruction) -> None:
        if instruction.flag("chown"):
            self._note("--chown")
        named = expand(instruction.flag("from"), stage.scope)
        origin: Context | Origin = Context(self._recipe.context, self._recipe.ignores)
        if named:
            image = self._image_named(named, before=self._stages.index(stage))
            origin = Origin(named, image.tree, image.key)
        copying = understand(instruction, stage.scope, workdir=stage.config.workdir, origin=origin)
        self._add(stage, instruction, lambda folder: copying.perform(os.path.join(folder, "tree")), what=copying.digest)

    # ------------------------------------------------------------------------------------------ doing

    def _materialize(self, stage: _Stage) -> str:
        """The tree of a stage after its last instruction; "" if nothing was ever put into it."""
        actions = stage.actions
        done, tree = len(actions), None
        while done and (tree := self._store.find(actions[done - 1].key)) is None:
            done -= 1
        tree = tree or stage.base.tree
        for at, action in enumerate(actions[:done], 1):
            self._work.log(f"[{at}/{len(actions)}] {action.title} [cached]")
        while done < len(actions):
            end = next((at + 1 for at in range(done, len(actions)) if actions[at].runs), len(actions))
            tree = self._perform(actions, done, end=end, tree=tree)
            done = end
        return tree

    def _perform(self, actions: list[_Action], begin: int, *, end: int, tree: str) -> str:
        """Do some actions on a copy of a tree and keep it. Only a command may change files in place."""
        folder = self._store.folder("build")
        try:
            os.mkdir(os.path.join(folder, "tree"))
            if tree:
                clone_tree(tree, os.path.join(folder, "tree"), share=not actions[end - 1].runs)
            for at in range(begin, end):
                self._work.check()
                self._work.log(f"[{at + 1}/{len(actions)}] {actions[at].title}")
                actions[at].perform(folder)
            return self._store.keep(actions[end - 1].key, folder)
        finally:
            remove_tree(folder)

    def _note(self, word: str) -> None:
        if word not in self._noted:
            self._noted.add(word)
            self._work.log(f"{word} is not followed in the sandbox: {_NOTED[word]}")

    def _rejected(self, message: str, line: int) -> EngineError:
        where = f"{self._recipe.where}:{line}" if line else self._recipe.where
        return refusal(message, engine="sandbox", where=where)
