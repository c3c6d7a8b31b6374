"""How alembic reaches the metadata database.

`dfs.meta.upgrade` hands over a connection that stands in a transaction, so a chain of revisions is
applied whole or not at all; alembic's own command line is given a file by `-x file=PATH`.
"""

from alembic import context
from sqlalchemy import Connection, create_engine

from dfs.meta import cluster_tables, tables
from dfs.meta.schema import Base

assert tables.INODE.metadata is cluster_tables.NODE.metadata  # both modules fill one MetaData


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,  # SQLite changes a column by copying its table
        transactional_ddl=True,
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _run_on_file(file: str) -> None:
    with create_engine(f"sqlite:///{file}").begin() as connection:
        _run(connection)


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:
    _run_on_file(context.get_x_argument(as_dictionary=True)["file"])
