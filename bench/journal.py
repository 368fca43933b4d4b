"""The journal of a study: every effect and its answer, in one SQLite file, before the method sees it."""

import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from surrogates.errors import InputError

SCHEMA = 3
TABLES = """
CREATE TABLE runs(
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,      -- hash of the configuration, versions and data (bench.study.Run.key)
    config TEXT NOT NULL,          -- JSON of bench.study.Run.config
    status TEXT NOT NULL,          -- running, done or failed
    reason TEXT,                   -- the limit that ended it, or the error
    wall_seconds REAL NOT NULL DEFAULT 0
);
CREATE TABLE evaluations(
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,         -- effect number within the run
    position INTEGER NOT NULL,     -- within the effect
    proposal TEXT,                 -- what the method proposed, when it was a text or no architecture
    arch TEXT,                     -- as the space writes it; NULL when it is none
    fidelity INTEGER,
    validation REAL,               -- NULL where unknown, as in the columns below
    test REAL,
    seconds REAL,
    parameters REAL,
    failure TEXT
);                                 -- no index: hundreds of runs append in turn, which would touch as many pages
CREATE TABLE completions(
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    position INTEGER NOT NULL,
    model TEXT NOT NULL,
    revision TEXT NOT NULL,
    template TEXT NOT NULL,
    prompt_hash TEXT NOT NULL,     -- SHA-256 of model, revision, prompt, grammar and sampling
    prompt TEXT NOT NULL,
    sampling TEXT NOT NULL,        -- JSON, with the sample's seed
    text TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    seconds REAL NOT NULL,         -- from request to answer, waiting included
    failure TEXT,
    PRIMARY KEY(run, step, position)
) WITHOUT ROWID;
CREATE TABLE tunes(
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    data_hash TEXT NOT NULL,       -- SHA-256 of model, revision, generator, seed and all that follows up to `tuning`
    prompt TEXT NOT NULL,
    texts TEXT NOT NULL,           -- JSON, as the columns below up to `log_likelihoods`
    weights TEXT NOT NULL,
    held_out TEXT NOT NULL,
    tuning TEXT NOT NULL,          -- bench.effects.Tune without texts and prompt
    losses TEXT NOT NULL,
    log_likelihoods TEXT NOT NULL, -- of each held-out text before and after
    generator TEXT,                -- SHA-256 of the file with the new state; NULL: not tuned
    seconds REAL NOT NULL,
    failure TEXT,
    PRIMARY KEY(run, step)
) WITHOUT ROWID;
CREATE TABLE draws(
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,         -- of the question whose answers were drawn
    prompt TEXT NOT NULL,
    generator TEXT,                -- NULL: the untuned one
    distribution TEXT NOT NULL,
    seconds REAL NOT NULL,         -- until it was known, waiting for a generator included
    PRIMARY KEY(run, step, prompt)
) WITHOUT ROWID;
CREATE TABLE distributions(
    hash TEXT PRIMARY KEY,         -- SHA-256 of both arrays
    log_p BLOB NOT NULL,           -- float32 in the order of the space's enumerate(): log p of each architecture
    sampled BLOB                   -- with which each is drawn; NULL: the same
) WITHOUT ROWID;
CREATE TABLE notes(
    run INTEGER NOT NULL,
    step INTEGER NOT NULL,
    name TEXT NOT NULL,            -- what the method tells of, e.g. "subspace"
    text TEXT NOT NULL,
    PRIMARY KEY(run, step)
) WITHOUT ROWID;
"""


RESUMABLE = "free space and run again: what is journalled is kept"
"""What mends a full disk."""


class EvaluationRow(NamedTuple):
    """A row of the table `evaluations`."""

    run: int
    step: int
    position: int
    proposal: str | None
    arch: str | None
    fidelity: int | None
    validation: float | None
    test: float | None
    seconds: float | None
    parameters: float | None
    failure: str | None


class CompletionRow(NamedTuple):
    """A row of the table `completions`."""

    run: int
    step: int
    position: int
    model: str
    revision: str
    template: str
    prompt_hash: str
    prompt: str
    sampling: str
    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    failure: str | None


AnswerColumns = tuple[str, int, int, float, str | None]
"""The columns of a `CompletionRow` from `text` on."""


class TuneRow(NamedTuple):
    """A row of the table `tunes`."""

    run: int
    step: int
    data_hash: str
    prompt: str
    texts: str
    weights: str
    held_out: str
    tuning: str
    losses: str
    log_likelihoods: str
    generator: str | None
    seconds: float
    failure: str | None


class DrawRow(NamedTuple):
    """A row of the table `draws`."""

    run: int
    step: int
    prompt: str
    generator: str | None
    distribution: str
    seconds: float


class RunRow(NamedTuple):
    """A row of the table `runs`."""

    id: int
    key: str
    config: str
    status: str
    reason: str | None
    wall_seconds: float


def _insert(row: type[NamedTuple], table: str) -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * len(row._fields))})"


class Journal:
    """The open journal of a study, for the one process that writes it; `read` is for all others.

    Args:
        path: The SQLite file; made when it does not exist.

    Raises:
        InputError: The file is damaged, is of another version, is written by another process, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        from filelock import FileLock, Timeout

        self.path = path
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path.with_suffix(".lock"))
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                raise InputError(
                    f"{path}: another process runs this study; wait for it, or give another --out"
                ) from None
            try:
                self._db = self._open()
            except BaseException:
                self._lock.release()
                raise

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version={SCHEMA}; COMMIT;")
        elif version != SCHEMA:
            raise InputError(
                f"{self.path}: a journal of version {version}, this Nascent writes {SCHEMA}; give another --out"
            )
        if (state := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(state)
        return db

    def close(self) -> None:
        """Closes the file and lets other processes write it."""
        self._db.close()
        self._lock.release()

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """All that is written inside is kept, or nothing of it."""
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def register(self, runs: Iterable[tuple[str, dict[str, object]]]) -> dict[str, RunRow]:
        """Enters runs that are not there yet, given as (key, configuration); returns the row of each by key."""
        wanted = dict(runs)
        with self.transaction():
            rows = ((key, json.dumps(config)) for key, config in wanted.items())
            self._db.executemany("INSERT OR IGNORE INTO runs(key, config, status) VALUES (?, ?, 'running')", rows)
            found = self._db.execute("SELECT id, key, config, status, reason, wall_seconds FROM runs")
            return {row[1]: RunRow(*row) for row in found if row[1] in wanted}

    def finish(self, run: int, status: str, reason: str, wall_seconds: float) -> None:
        """Says how a run ended: status "done" or "failed", and why."""
        with self.transaction():
            update = "UPDATE runs SET status=?, reason=?, wall_seconds=? WHERE id=?"
            self._db.execute(update, (status, reason, wall_seconds, run))

    def write_evaluations(self, rows: Sequence[tuple[object, ...]]) -> None:
        """Appends evaluations, tuples with the fields of `EvaluationRow`, inside a `transaction`."""
        self._db.executemany(_insert(EvaluationRow, "evaluations"), rows)

    def write_wall_seconds(self, times: Iterable[tuple[int, float]]) -> None:
        """Notes the time so far of runs, given as (run, seconds), inside a `transaction`."""
        self._db.executemany("UPDATE runs SET wall_seconds=?2 WHERE id=?1", times)

    def write_completion(self, row: CompletionRow) -> None:
        """Appends one answer of a language model."""
        with self.transaction():
            self._db.execute(_insert(CompletionRow, "completions"), row)

    def write_draw(
        self, row: DrawRow, log_p: bytes, sampled: bytes | None, completions: Sequence[CompletionRow]
    ) -> None:
        """Appends answers drawn from an exact distribution, with that distribution."""
        with self.transaction():
            self._db.execute("INSERT OR IGNORE INTO distributions VALUES (?, ?, ?)", (row.distribution, log_p, sampled))
            self._db.execute(_insert(DrawRow, "draws"), row)
            self._db.executemany(_insert(CompletionRow, "completions"), completions)

    def write_tune(self, row: TuneRow) -> None:
        """Appends one tuning step, which then outlasts a crash of the machine: the generator before may be removed."""
        self._db.execute("PRAGMA synchronous=FULL")
        with self.transaction():
            self._db.execute(_insert(TuneRow, "tunes"), row)
        self._db.execute("PRAGMA synchronous=NORMAL")

    def write_note(self, run: int, step: int, name: str, text: str) -> None:
        """Enters what a method tells; once told, a replay does not change it."""
        with self.transaction():
            self._db.execute("INSERT OR IGNORE INTO notes VALUES (?, ?, ?, ?)", (run, step, name, text))

    def tunes(self, run: int) -> dict[int, TuneRow]:
        """Returns a run's tuning steps by their effect's number."""
        with _explained(self.path):
            return {row[1]: TuneRow(*row) for row in self._db.execute("SELECT * FROM tunes WHERE run=?", (run,))}

    def evaluations(self, runs: Iterable[int]) -> dict[int, dict[int, list[EvaluationRow]]]:
        """Returns the evaluations of runs that are not done, by run and step, from one pass over the file."""
        found: dict[int, dict[int, list[EvaluationRow]]] = {run: defaultdict(list) for run in runs}
        with _explained(self.path):
            query = (
                "SELECT e.* FROM evaluations e JOIN runs r ON r.id = e.run WHERE r.status != 'done' ORDER BY e.rowid"
            )
            for row in self._db.execute(query):
                if row[0] in found:
                    found[row[0]][row[1]].append(EvaluationRow(*row))
        return found

    def completions(self, run: int) -> dict[int, dict[int, CompletionRow]]:
        """Returns a run's answers of language models by step and position."""
        found = defaultdict(dict)
        with _explained(self.path):
            for row in self._db.execute("SELECT * FROM completions WHERE run=?", (run,)):
                found[row[1]][row[2]] = CompletionRow(*row)
        return found

    def answers(self, runs: Iterable[int]) -> dict[str, AnswerColumns]:
        """Returns what language models have answered to runs, by the question's hash; without what they refused."""
        query = (
            "SELECT prompt_hash, text, prompt_tokens, completion_tokens, seconds, failure FROM completions "
            "WHERE run=? AND (failure IS NULL OR completion_tokens > 0)"
        )
        with _explained(self.path):
            return {row[0]: row[1:] for run in runs for row in self._db.execute(query, (run,))}


@contextmanager
def read(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """Opens a journal for reading, also while a study writes it.

    Raises:
        InputError: There is no journal, or it is damaged.
    """
    if not path.is_file():
        raise InputError(f"{path}: no journal here; expected the folder of a study that `nascent run` has made")
    with _explained(path):
        db = sqlite3.connect(_read_only(path), uri=True)
        try:
            db.execute("PRAGMA query_only=1")
            if (version := db.execute("PRAGMA user_version").fetchone()[0]) != SCHEMA:
                raise InputError(f"{path}: a journal of version {version}, this Nascent reads {SCHEMA}")
            yield db
        finally:
            db.close()


def _read_only(path: Path) -> str:
    """Returns the address of a journal; where its folder cannot be written, one that no file has to be made for."""
    whole = os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists()
    return path.absolute().as_uri() + ("" if whole else "?mode=ro&immutable=1")


@contextmanager
def _explained(path: Path) -> Generator[None, None, None]:
    """Turns what can go wrong with the file into an `InputError` that names it."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "full" in text or "disk I/O" in text:
            message = f"the disk is full or cannot be written ({text}); {RESUMABLE}"
        else:
            message = f"cannot be used ({text}); check that the folder can be written: {os.fspath(path.parent)}"
        raise InputError(f"{path}: {message}") from error
    except sqlite3.DatabaseError as error:
        hint = "move it away to start anew, or give another --out"
        raise InputError(f"{path}: the journal is damaged or no journal ({error}); {hint}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
