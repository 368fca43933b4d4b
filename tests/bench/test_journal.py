import sqlite3

import pytest

from bench.journal import SCHEMA, Journal, read
from surrogates.errors import InputError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study" / "journal.sqlite"


def test_a_run_keeps_its_row_when_it_is_registered_again(path):
    journal = Journal(path)
    first = journal.register([("a", {"x": 1}), ("b", {})])
    again = journal.register([("b", {}), ("c", {})])
    journal.close()
    assert again["b"] == first["b"]
    assert len({row.id for row in (*first.values(), *again.values())}) == 3


def test_a_transaction_that_fails_leaves_nothing(path):
    journal = Journal(path)
    row = journal.register([("a", {})])["a"]
    good = (row.id, 0, 0, None, "x", None, 1.0, None, None, None, None)
    with pytest.raises(InputError), journal.transaction():
        journal.write_evaluations([good, ("too", "few")])
    assert journal.evaluations([row.id]) == {row.id: {}}
    journal.close()


def test_nan_is_stored_as_unknown(path):
    journal = Journal(path)
    row = journal.register([("a", {})])["a"]
    with journal.transaction():
        journal.write_evaluations([(row.id, 0, 0, None, "x", None, float("nan"), None, None, None, "no score")])
    assert journal.evaluations([row.id])[row.id][0][0].validation is None
    journal.close()


def test_a_second_writer_is_refused_and_a_reader_is_not(path):
    journal = Journal(path)
    journal.register([("a", {})])
    with pytest.raises(InputError, match="another process"):
        Journal(path)
    with read(path) as db:
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    journal.close()
    Journal(path).close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be read as one" * 20, b"SQLite format 3\0" + b"\1" * 5000]
)
def test_a_file_that_is_no_journal_is_one_clear_error(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"journal\.sqlite.*(damaged|move it away)"):
        Journal(path)
    assert path.read_bytes() == content


def test_a_journal_with_damaged_pages_is_one_clear_error(path):
    journal = Journal(path)
    row = journal.register([("a", {})])["a"]
    with journal.transaction():
        journal.write_evaluations(
            [(row.id, i, 0, None, "x" * 50, None, 1.0, None, None, None, None) for i in range(5000)]
        )
    journal.close()
    content = bytearray(path.read_bytes())
    content[8192:40960] = b"\xff" * (40960 - 8192)
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Journal(path)


def test_a_journal_of_another_version_is_refused(path):
    Journal(path).close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version={SCHEMA + 1}")
    db.close()
    with pytest.raises(InputError, match="version"):
        Journal(path)
    with pytest.raises(InputError, match="version"), read(path):
        pass


def test_a_missing_journal_is_not_made_by_reading(path):
    with pytest.raises(InputError, match="no journal here"), read(path):
        pass
    assert not path.exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        Journal(tmp_path / "file" / "journal.sqlite")
