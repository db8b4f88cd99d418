"""Import contracts that import-linter does not have: one door per client, and pure packages.

Owns the two contract types named in ``pyproject.toml``. Both read the graph of direct imports, those inside
functions included, and say nothing about modules that do not exist. ``python -m tools.contracts CONFIG`` checks all
contracts of a configuration file and exits with 1 if one is broken.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from importlinter import Contract, ContractCheck, fields, output
from importlinter.cli import lint_imports

if TYPE_CHECKING:
    from grimp import ImportGraph


class _Direct(Contract):
    """Breaks on each direct import that ``illegal`` names."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002, FBT001 - the base class's signature
        """Return what is broken as ``importer imports imported`` texts with line numbers."""
        broken = [_described(graph, importer, imported) for importer, imported in sorted(self.illegal(graph))]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each broken import."""
        for line in check.metadata["broken"]:
            output.print_error(line)

    def illegal(self, graph: ImportGraph) -> Iterator[tuple[str, str]]:
        """Yield (importer, imported) for each import that breaks the contract."""
        raise NotImplementedError


class Door(_Direct):
    """Only the modules in ``doors`` (and what is below them) may import the ``clients``.

    The package itself as a door means its ``__init__`` alone.
    """

    type_name = "door"
    clients = fields.ListField(subfield=fields.StringField())
    doors = fields.ListField(subfield=fields.StringField())

    def illegal(self, graph: ImportGraph) -> Iterator[tuple[str, str]]:
        """Yield every import of a client from elsewhere."""
        doors = _strings(self.doors)
        packages = [door for door in doors if "." in door]
        for client in _strings(self.clients):
            if client not in graph.modules:
                continue
            for importer in graph.find_modules_that_directly_import(client):
                if importer not in doors and not _within(importer, packages):
                    yield importer, client


class Pure(_Direct):
    """``modules`` import no third party and none of the ``forbidden`` standard modules."""

    type_name = "pure"
    modules = fields.ListField(subfield=fields.StringField())
    forbidden = fields.ListField(subfield=fields.StringField())

    def illegal(self, graph: ImportGraph) -> Iterator[tuple[str, str]]:
        """Yield every import that reaches outside the package, unless it is a harmless standard module."""
        forbidden = frozenset(_strings(self.forbidden))
        for importer in graph.modules:
            if not _within(importer, _strings(self.modules)):
                continue
            root = importer.partition(".")[0]
            for imported in graph.find_modules_directly_imported_by(importer):
                top = imported.partition(".")[0]
                if top != root and (top in forbidden or top not in sys.stdlib_module_names):
                    yield importer, imported


def _strings(field: object) -> list[str]:
    # Fields are descriptors by declaration and plain lists once a contract is read.
    return field if isinstance(field, list) else []


def _within(module: str, packages: list[str]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def _described(graph: ImportGraph, importer: str, imported: str) -> str:
    details = graph.get_import_details(importer=importer, imported=imported)
    lines = ", ".join(str(detail["line_number"]) for detail in details)
    return f"{importer} imports {imported} (line {lines})"


if __name__ == "__main__":
    raise SystemExit(lint_imports(config_filename=sys.argv[1], no_cache=True, no_logo=True))
