"""Reads large pickles of plain data piece by piece: nothing is imported or run, and little is kept in memory."""

import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator
from pickle import decode_long
from typing import Any, Protocol

import numpy as np

from surrogates.errors import InputError

_BLOCK = 1 << 20
# No argument of an opcode may be longer, so that an opcode that begins before a block's margin lies in it whole.
_LONGEST = 1 << 16
_MARGIN = _LONGEST + 16
# No element may be large, so that their number bounds the memory: a record holds numbers, names and pairs of them.
_LONGEST_BYTES = 64
_LONGEST_TUPLE = 64
# Many times what a file needs: without bounds, a small hostile file could become large in memory.
_MOST_ON_STACK = 1 << 17
_MOST_RECENT = 1 << 18
# Entries of containers, and containers: since the last part was handed over, and of what stays until the end.
_MOST_ELEMENTS = 1 << 18
_MOST_STAYING = 1 << 19
_MOST_KEPT = 1 << 22
# Bytes in memory of all different texts.
_MOST_TEXT = 1 << 27

_NUMBERS = frozenset(("b1", "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"))

_float = struct.Struct(">d").unpack_from
_int32 = struct.Struct("<i").unpack_from
_uint16 = struct.Struct("<H").unpack_from
_uint32 = struct.Struct("<I").unpack_from

StandIn = Callable[..., object]
"""What is called in place of a global."""


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, size: int, /) -> bytes:
        """Returns at most `size` bytes, none at the end."""
        ...


class Discarded:
    """Stands for content that is not read: tensors, and the containers of parts that were handed over."""

    def __call__(self, *args: object) -> "Discarded":
        """Returns itself."""
        return self


DISCARDED = Discarded()


class _Dtype:
    """Stands in for a numpy dtype of plain numbers."""

    def __init__(self, code: str, *flags: object) -> None:
        if code not in _NUMBERS:
            raise InputError(f"its pickle holds numpy data of type {str(code)[:20]!r}")
        self.code, self.order = code, "<"

    def build(self, state: tuple[Any, ...]) -> None:
        self.order = {"<": "<", ">": ">", "|": "|"}[state[1]]

    def scalar(self, data: bytes) -> float:
        (value,) = np.frombuffer(data, self.order + self.code).tolist()
        return value


def _scalar(dtype: _Dtype, data: bytes) -> float:
    return dtype.scalar(data)


def _encoded(text: str, _: object) -> bytes:
    if len(text) > _LONGEST_BYTES:
        raise InputError(f"its pickle holds a byte string of {len(text):,} bytes")
    return text.encode("latin1")


def _dictionary(items: Iterable[tuple[Any, Any]] = ()) -> dict[Any, Any]:
    items = [(key, value) for key, value in items]
    _check_keys([key for key, _ in items])
    return dict(items)


def _collides(item: object) -> bool:
    """Returns whether others of the same hash are easily found: a tuple with large or fractional numbers."""
    return type(item) is tuple and any(
        type(i) is float or (type(i) is int and i >> 31 not in (0, -1)) or _collides(i) for i in item
    )


def _check_keys(keys: list[Any]) -> None:
    if any(map(_collides, keys)):
        raise InputError("its pickle has a key that is a tuple with large or fractional numbers")


def _size(item: object) -> int:
    """Returns how many elements an item is: a tuple, which nothing empties, is all that lies in it."""
    return 1 + sum(map(_size, item)) if type(item) is tuple else 1


PLAIN: dict[tuple[str, str], StandIn] = {
    ("collections", "OrderedDict"): _dictionary,
    ("builtins", "set"): list,
    ("__builtin__", "set"): list,
    ("__builtin__", "bytes"): lambda: b"",
    ("_codecs", "encode"): _encoded,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
}
"""Stand-ins for the globals of plain data: ordered dictionaries become dictionaries, sets lists, numpy's numbers plain
numbers."""


def _no_records() -> InputError:
    return InputError("its pickle holds no records of the kind expected")


class _Memo:
    """The objects that a pickle refers back to, by number.

    A large pickle numbers tens of millions of texts that nothing refers back to, which shows only at its end. So of the
    parts that were handed over, each different text or tuple is kept once, and four bytes each time it occurs.
    """

    def __init__(self) -> None:
        self.recent: list[Any] = []
        self.older = 0
        self._places = array("I")
        self._kept: list[Any] = [DISCARDED]
        self._size = 0
        self._place_of: dict[str | tuple[str | int, ...], int] = {}

    def get(self, number: int) -> Any:
        return self.recent[number - self.older] if number >= self.older else self._kept[self._places[number]]

    def _keep(self, value: Any) -> int:
        self._size += _size(value)
        if self._size > _MOST_KEPT:
            raise _no_records()
        self._kept.append(value)
        return len(self._kept) - 1

    def _place(self, value: Any) -> int:
        if type(value) is str or (type(value) is tuple and {*map(type, value)} <= {str, int}):
            place = self._place_of.get(value)
            if place is None:
                place = self._place_of[value] = self._keep(value)
            return place
        # Only byte strings of one byte are the same object wherever they occur.
        if isinstance(value, dict | list | tuple | Discarded) or (type(value) is bytes and len(value) > 1):
            return 0
        return self._keep(value)

    def hand_over(self) -> None:
        self._places.extend(map(self._place, self.recent))
        self.older = len(self._places)
        self.recent.clear()


class _Elements:
    """Counts what grows in memory, and refuses too much of it."""

    def __init__(self) -> None:
        self._recent = self._staying = 0
        # Lists and dictionaries since the last part was handed over, in the order in which they began.
        self._young: dict[int, Any] = {}
        # Whether there was a tuple that may be no key: looking at all keys takes long.
        self.colliding = False

    def add(self, count: int) -> None:
        self._recent += count
        if self._recent > _MOST_ELEMENTS:
            raise _no_records()

    def begin(self, container: Any) -> Any:
        self.add(1)
        self._young[id(container)] = container
        return container

    def grow(self, container: Any, items: list[Any], keys: Iterable[Any] = ()) -> None:
        self.add(len(items))
        if id(container) not in self._young:
            self._stay(items)
            self._stay(keys)

    def _stay(self, items: Iterable[Any]) -> None:
        self._staying += sum(map(_size, items))
        if self._staying > _MOST_STAYING:
            raise _no_records()

    def hand_over(self, part: dict[Any, Any]) -> None:
        """Empties a part and the containers in it, which are all those that began after it."""
        inside = False
        for container in self._young.values():
            inside = inside or container is part
            if inside:
                container.clear()
            else:
                self._stay(container)
                self._stay(container.values() if type(container) is dict else ())
        part.clear()
        self._young.clear()
        self._recent = 0


class StreamedPickle:
    """Pickles of plain data (protocols 2 to 5), one after the other in a stream.

    Read are None, truth values, numbers (integers of 64 bits), texts, short byte strings and tuples, lists,
    dictionaries, what the stand-ins make of their arguments, and persistent objects, which are discarded. All else is
    refused, and more than records need. Equal texts are one object.

    Args:
        file: Where the bytes come from.
        stand_in: Returns what stands in for a global (module, name); None: it is refused.
    """

    def __init__(self, file: Readable, stand_in: Callable[[tuple[str, str]], StandIn | None] = PLAIN.get) -> None:
        self._file, self._stand_in = file, stand_in
        self._block, self._at = b"", 0
        self._texts: dict[bytes, str] = {}
        self._text_size = 0

    def load(self) -> Any:
        """Returns the content of the next pickle.

        Raises:
            InputError: The pickle is damaged, or holds what is refused.
        """
        *_, (_, content) = self.parts(lambda _: False)
        return content

    def parts(self, complete: Callable[[dict[Any, Any]], bool]) -> Iterator[tuple[Any, Any]]:
        """Yields dictionaries inside the next pickle as soon as they are complete, then empties them and all in them.

        What one of them holds must not be referred to from outside; there, its containers are `DISCARDED`.

        Args:
            complete: Whether a dictionary is such a part; asked whenever entries were added to one.

        Yields:
            The key under which the part is about to be stored, and the part; at last None, and the content of the
            pickle, in which the parts are empty.

        Raises:
            InputError: The pickle is damaged, or holds what is refused.
        """
        try:
            yield from self._parts(complete)
        except InputError:
            raise
        except (IndexError, struct.error) as error:
            raise InputError("its pickle is cut short or damaged") from error
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            raise InputError(f"its pickle is damaged ({error or type(error).__name__})") from error

    def _fill(self, at: int) -> tuple[bytes, int]:
        """Returns what is left of the block with the next one, and up to where opcodes lie in it whole."""
        block = self._block[at:]
        while more := self._file.read(_BLOCK):
            block += more
            if len(block) > 2 * _MARGIN:
                break
        self._block = block
        # At the end, an opcode that is cut short is an IndexError or a struct.error.
        return block, len(block) - _MARGIN if more else len(block)

    def _too_long(self, size: int, most: int = _LONGEST) -> InputError:
        if size > most:
            return InputError(f"its pickle holds a text, number or byte string of {size:,} bytes")
        return InputError("its pickle is cut short")

    def _text(self, raw: bytes) -> str:
        if not raw:
            return ""
        text = self._texts[raw] = raw.decode("utf-8", "surrogatepass")
        # Two entries of dictionaries, with their places in them, take some 200 bytes.
        self._text_size += sys.getsizeof(raw) + sys.getsizeof(text) + 200
        if self._text_size > _MOST_TEXT:
            raise _no_records()
        return text

    def _parts(self, complete: Callable[[dict[Any, Any]], bool]) -> Iterator[tuple[Any, Any]]:
        stack: list[Any] = []
        marks: list[int] = []
        memo, elements = _Memo(), _Elements()
        recent, push, memoize, known = memo.recent, stack.append, memo.recent.append, self._texts.get
        block, at, limit = self._block, self._at, len(self._block) - _MARGIN
        older = 0
        while True:
            if at > limit:
                block, limit = self._fill(at)
                at = 0
                if max(len(stack), len(marks)) > _MOST_ON_STACK or len(recent) > _MOST_RECENT:
                    raise _no_records()
            op = block[at]
            at += 1
            # The frequent ones first.
            if op == 0x47:  # BINFLOAT
                push(_float(block, at)[0])
                at += 8
            elif op == 0x6A or op == 0x68:  # LONG_BINGET, BINGET
                (number,) = _uint32(block, at) if op == 0x6A else (block[at],)
                at += 4 if op == 0x6A else 1
                push(recent[number - older] if number >= older else memo.get(number))
            elif op == 0x4B:  # BININT1
                push(block[at])
                at += 1
            elif op == 0x58 or op == 0x8C:  # BINUNICODE, SHORT_BINUNICODE
                (size,) = _uint32(block, at) if op == 0x58 else (block[at],)
                at += 4 if op == 0x58 else 1
                raw = block[at : at + size]
                if size > _LONGEST or len(raw) < size:
                    raise self._too_long(size)
                at += size
                push(known(raw) or self._text(raw))
            elif op == 0x94:  # MEMOIZE
                memoize(stack[-1])
            elif op == 0x72 or op == 0x71:  # LONG_BINPUT, BINPUT
                (number,) = _uint32(block, at) if op == 0x72 else (block[at],)
                at += 4 if op == 0x72 else 1
                if number != older + len(recent):
                    raise InputError("its pickle numbers its objects out of order")
                memoize(stack[-1])
            elif op == 0x75 or op == 0x73:  # SETITEMS, SETITEM
                start = marks.pop() if op == 0x75 else len(stack) - 2
                items = stack[start:]
                del stack[start:]
                target = stack[-1]
                if type(target) is not dict:
                    raise InputError(f"its pickle sets items of a {type(target).__name__}")
                keys, values = items[::2], items[1::2]
                if elements.colliding:
                    _check_keys(keys)
                elements.grow(target, values, keys)
                target.update(zip(keys, values, strict=True))
                if len(stack) > 1 and complete(target):
                    yield stack[-2], target
                    elements.hand_over(target)
                    memo.hand_over()
                    older = memo.older
            elif op == 0x2E:  # STOP
                (content,) = stack
                self._block, self._at = block, at
                yield None, content
                return
            else:
                at = self._rare(op, block, at, stack, marks, elements)

    def _rare(self, op: int, block: bytes, at: int, stack: list[Any], marks: list[int], elements: _Elements) -> int:
        """Does what an opcode says, and returns where the next one is."""
        if op in _CONSTANTS:
            stack.append(_CONSTANTS[op])
        elif op == 0x28:  # MARK
            marks.append(len(stack))
        elif op == 0x7D:  # EMPTY_DICT
            stack.append(elements.begin({}))
        elif op == 0x5D or op == 0x8F:  # EMPTY_LIST, EMPTY_SET
            stack.append(elements.begin([]))
        elif op == 0x65 or op == 0x90 or op == 0x61:  # APPENDS, ADDITEMS, APPEND
            start = len(stack) - 1 if op == 0x61 else marks.pop()
            items = stack[start:]
            del stack[start:]
            if type(stack[-1]) is not list:
                raise InputError(f"its pickle appends to a {type(stack[-1]).__name__}")
            elements.grow(stack[-1], items)
            stack[-1].extend(items)
        elif op == 0x74 or 0x85 <= op <= 0x87:  # TUPLE, TUPLE1, TUPLE2, TUPLE3
            start = marks.pop() if op == 0x74 else len(stack) + 0x84 - op
            if start < 0:
                raise IndexError
            items = tuple(stack[start:])
            if len(items) > _LONGEST_TUPLE:
                raise InputError(f"its pickle holds a tuple of {len(items):,} items")
            elements.add(1 + len(items))
            elements.colliding = elements.colliding or _collides(items)
            # Hashing a tuple recurses as deep as tuples lie in it, without a guard.
            if any(type(inner) is tuple and tuple in map(type, inner) for inner in items):
                raise InputError("its pickle nests tuples more than twice")
            stack[start:] = [items]
        elif op == 0x4A:  # BININT
            stack.append(_int32(block, at)[0])
            at += 4
        elif op == 0x4D:  # BININT2
            stack.append(_uint16(block, at)[0])
            at += 2
        elif op in _SIZED:  # LONG1, LONG4, SHORT_BINBYTES, BINBYTES
            size = block[at] if op in (0x8A, 0x43) else _uint32(block, at)[0]
            at += 1 if op in (0x8A, 0x43) else 4
            data = block[at : at + size]
            # Larger integers of one hash are easily found, and would make a dictionary slow.
            most = 8 if op in (0x8A, 0x8B) else _LONGEST_BYTES
            if size > most or len(data) < size:
                raise self._too_long(size, most)
            at += size
            stack.append(decode_long(data) if op in (0x8A, 0x8B) else data)
        elif op == 0x63:  # GLOBAL
            lines = block[at : at + 512].split(b"\n", 2)
            if len(lines) < 3:
                raise InputError("its pickle is cut short or damaged")
            stack.append(self._global(lines[0].decode(), lines[1].decode()))
            at += len(lines[0]) + len(lines[1]) + 2
        elif op == 0x93:  # STACK_GLOBAL
            stack[-2:] = [self._global(*stack[-2:])]
        elif op == 0x52:  # REDUCE
            arguments = stack.pop()
            elements.add(1 + len(arguments) + sum(len(a) for a in arguments if isinstance(a, list | dict | tuple)))
            made = stack[-1] = stack[-1](*arguments)
            if isinstance(made, list | dict):
                elements.begin(made)
        elif op == 0x62:  # BUILD
            state = stack.pop()
            if isinstance(stack[-1], _Dtype):
                stack[-1].build(state)
            elif not isinstance(stack[-1], dict | Discarded):
                raise InputError(f"its pickle sets the state of a {type(stack[-1]).__name__}")
        elif op == 0x51:  # BINPERSID
            stack[-1] = DISCARDED
        elif op == 0x80 and block[at] <= 5:  # PROTO
            at += 1
        elif op == 0x95:  # FRAME
            at += 8
        else:
            raise InputError(f"its pickle has the opcode {op:#04x}, which plain data do not need")
        return at

    def _global(self, module: Any, name: Any) -> StandIn:
        if type(module) is not str or type(name) is not str:
            raise InputError("its pickle asks for a global whose name is no text")
        found = self._stand_in((module, name))
        if found is None:
            raise InputError(f"its pickle asks for {module[:80]}.{name[:80]}")
        return found


_CONSTANTS = {0x4E: None, 0x88: True, 0x89: False, 0x29: ()}
_SIZED = frozenset((0x8A, 0x8B, 0x43, 0x42))
