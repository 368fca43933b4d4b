"""Finds spaces, benchmarks and methods: one file each, or an entry point of another package."""

import importlib
import pkgutil
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Generic, TypeVar

from surrogates.errors import InputError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """The objects of one type that live in the modules of a package, and in entry points.

    A module of `package` is found by being there: it holds one object of type `type_`, with an attribute
    `name` equal to the file's name (`separator` in place of the underscores). A plugin package offers more by an
    entry point of `group` that has the object's name and points at the object.

    Args:
        type_: The class of the objects.
        package: Dotted name of the package to look in.
        group: Entry-point group to look in.
        separator: What stands in names where file names have underscores.
    """

    def __init__(self, type_: type[T], package: str, group: str, separator: str = "_") -> None:
        self.type_, self.package, self.group, self.separator = type_, package, group, separator
        self._found: dict[str, T] = {}

    @property
    def kind(self) -> str:
        """What the objects are called, e.g. "method"."""
        return self.type_.__name__.lower()

    def _modules(self) -> dict[str, str]:
        paths = importlib.import_module(self.package).__path__
        stems = [m.name for m in pkgutil.iter_modules(paths)]
        return {stem.replace("_", self.separator): f"{self.package}.{stem}" for stem in stems}

    def _plugins(self) -> dict[str, EntryPoint]:
        return {e.name: e for e in entry_points(group=self.group)}

    def names(self) -> list[str]:
        """Returns all names, sorted."""
        return sorted(self._modules().keys() | self._plugins().keys())

    def get(self, name: str, where: str = "") -> T:
        """Returns the object called `name`.

        Args:
            name: The name.
            where: The file or field that named it, for the error.

        Raises:
            InputError: No such name, or a plugin that does not load.
        """
        if name not in self._found:
            self._found[name] = self._load(name, where)
        return self._found[name]

    def _pick(self, module: ModuleType, name: str) -> T:
        held = (v for v in vars(module).values() if isinstance(v, self.type_))
        return next(v for v in held if getattr(v, "name", None) == name)

    def _load(self, name: str, where: str) -> T:
        if module := self._modules().get(name):
            return self._pick(importlib.import_module(module), name)
        plugin = self._plugins().get(name)
        if plugin is None:
            raise unknown(self.kind, name, self.names(), where)
        try:
            found = plugin.load()
        except Exception as error:
            raise InputError(f"{self.kind} {name!r} of the plugin {plugin.value!r} does not load: {error!r}") from error
        if not isinstance(found, self.type_):
            raise InputError(
                f"the plugin {plugin.value!r} must be a {self.type_.__name__}, it is a {type(found).__name__}"
            )
        return found
