"""A database that is lent in memory is empty, and has no file and no setting of the one before."""

from __future__ import annotations

from multiprocessing import get_context

import pytest
from mesh_platform.engine.duckdb import DuckDBError, own_database


def test_each_database_is_empty_and_two_at_once_do_not_meet() -> None:
    with own_database() as one, own_database() as other:
        for number, connection in enumerate((one, other)):
            connection.execute(f"CREATE SCHEMA n; CREATE TABLE n.t AS SELECT {number} AS number")
        assert [each.execute("SELECT number FROM n.t").fetchall() for each in (one, other)] == [[(0,)], [(1,)]]
    with own_database() as third, pytest.raises(DuckDBError, match=r"n\.t|schema"):
        third.execute("SELECT number FROM n.t")


def test_a_session_keeps_its_settings_to_itself_and_none_reads_files() -> None:
    with own_database() as one:
        zone = one.execute("SELECT current_setting('TimeZone')").fetchone()
        one.execute("SET TimeZone = 'Asia/Tokyo'")
    with own_database() as next_one:
        assert next_one.execute("SELECT current_setting('TimeZone')").fetchone() == zone
        with pytest.raises(DuckDBError, match="disabled by configuration"):
            next_one.execute("SELECT * FROM read_text('/etc/hosts')")


def test_a_failed_session_leaves_no_database_behind() -> None:
    with pytest.raises(DuckDBError), own_database() as one:
        one.execute("SELECT nothing FROM nowhere")
    with own_database() as after:
        found = after.execute("SELECT count(*) FROM duckdb_databases() WHERE database_name LIKE 'own%'").fetchone()
    assert found == (1,)


def _tables_of_a_child() -> None:
    with own_database() as connection:
        connection.execute("CREATE TABLE t (n INT)")


def test_a_forked_process_has_a_duckdb_of_its_own() -> None:
    with own_database() as connection:
        child = get_context("fork").Process(target=_tables_of_a_child)
        child.start()
        child.join(60)
        assert child.exitcode == 0
        connection.execute("CREATE TABLE t (n INT)")


def test_an_error_in_a_transaction_is_the_one_that_is_raised() -> None:
    with pytest.raises(DuckDBError, match="no_such_table"), own_database() as connection:
        connection.execute("BEGIN; SELECT * FROM no_such_table")
    with own_database() as connection:
        names = connection.execute("SELECT database_name FROM duckdb_databases() WHERE NOT internal").fetchall()
    assert len(names) == 2
