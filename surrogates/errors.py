"""The one exception that means: the user can mend this."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used; the message says what, what was expected, and how to mend it.

    The front door prints the message alone and exits with code 2.
    """


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> InputError:
    """Returns the error for a name that does not exist, with the nearest name that does.

    Args:
        kind: What was named, e.g. "method".
        name: The name given.
        known: The names that exist.
        where: The file or field the name stood in, if any.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else "known: " + (", ".join(names) or "none") + "."
    return InputError(f"{where}{': ' if where else ''}unknown {kind} {name!r}; {hint}")
