"""Reads pickles of known content without running what a hostile one might ask for."""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

from surrogates.errors import InputError


class _Restricted(pickle.Unpickler):
    allowed: Mapping[tuple[str, str], Callable[..., object]]

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) not in self.allowed:
            raise InputError(f"its pickle asks for {module}.{name}")
        return self.allowed[module, name]


def unpickle(path: Path, allowed: Mapping[tuple[str, str], Callable[..., object]]) -> object:
    """Reads a pickle in which only the globals of an allow-list occur.

    Args:
        path: The pickle.
        allowed: What stands in for each global (module, name) that may occur; nothing is ever imported.

    Raises:
        InputError: The file cannot be read, is no whole pickle, or asks for any other global.
    """
    try:
        with path.open("rb") as file:
            unpickler = _Restricted(file)
            unpickler.allowed = allowed
            return unpickler.load()
    # A damaged pickle can raise nearly anything, from EOFError to UnicodeDecodeError.
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as the data expected there ({error or type(error).__name__}); "
            f"reinstall the package it belongs to"
        ) from error
