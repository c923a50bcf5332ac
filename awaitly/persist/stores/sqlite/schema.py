"""The tables, how they came to be, and whose file it is."""

from awaitly.errors import StoreError
from awaitly.persist.stores.sqlite.connections import Connection, pragma, transaction

APPLICATION_ID = 0x61776C79  # "awly": says in the file's header whose it is

# One entry for each version of the schema, never changed once it was released.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE runs (
            n INTEGER PRIMARY KEY,
            id TEXT NOT NULL,
            workflow TEXT NOT NULL,
            status TEXT NOT NULL,
            fence INTEGER NOT NULL,
            owner TEXT,
            created REAL NOT NULL,
            ended REAL,
            claims INTEGER NOT NULL DEFAULT 0,
            claimed_seq INTEGER NOT NULL DEFAULT -1,
            cancel_requested TEXT
        )
        """,
        "CREATE UNIQUE INDEX runs_by_id ON runs (id)",
        "CREATE INDEX runs_owned ON runs (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX runs_waiting ON runs (workflow) WHERE owner IS NULL AND ended IS NULL",
        "CREATE INDEX runs_cancelling ON runs (owner) WHERE cancel_requested IS NOT NULL",
        """
        CREATE TABLE facts (
            run INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            fence INTEGER NOT NULL,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            call TEXT,
            detail TEXT NOT NULL,
            payload BLOB,
            PRIMARY KEY (run, seq)
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE owners (
            id TEXT PRIMARY KEY,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            started TEXT NOT NULL,
            ttl REAL NOT NULL,
            beats INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID
        """,
    ),
    (
        """
        CREATE TABLE answers (
            key TEXT PRIMARY KEY,
            expires REAL NOT NULL,
            data BLOB NOT NULL
        )
        """,
        "CREATE INDEX answers_expiring ON answers (expires)",
    ),
    (
        """
        CREATE TABLE outboxes (
            name TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            known INTEGER NOT NULL
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE deliveries (
            outbox TEXT NOT NULL,
            run INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            PRIMARY KEY (outbox, run)
        ) WITHOUT ROWID
        """,
    ),
    ("CREATE INDEX runs_ended ON runs (workflow, ended) WHERE ended IS NOT NULL",),
)


def migrate(connection: Connection, name: str) -> None:
    """Bring the schema up to date, forwards, under the write lock, so that only one process does it.

    Raises:
        StoreError: ``not-a-store`` or ``store-newer``; the file is left as it was.
    """
    with transaction(connection):
        check(connection, name)
        for statements in MIGRATIONS[pragma(connection, "user_version") :]:
            for statement in statements:
                connection.execute(statement)
        if pragma(connection, "user_version") < len(MIGRATIONS):
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def check(connection: Connection, name: str) -> None:
    """See that the file is empty or ours, and not from the future, before anything is written to it.

    Raises:
        StoreError: ``not-a-store`` or ``store-newer``.
    """
    owner = pragma(connection, "application_id")
    version = pragma(connection, "user_version")
    if owner != APPLICATION_ID and (owner or version or (tables := _tables(connection))):
        found = f"the application id {owner:#x}" if owner else f"version {version}" if version else f"tables {tables}"
        raise StoreError(
            f"{name} is a database of another program: it has {found}",
            hint="name another file; this one was left as it is",
            code="not-a-store",
        )
    if version > len(MIGRATIONS):
        raise StoreError(
            f"{name} has schema version {version}; this awaitly knows versions up to {len(MIGRATIONS)}",
            hint="upgrade awaitly here, or name another file",
            code="store-newer",
        )


def _tables(connection: Connection) -> str:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' LIMIT 5").fetchall()
    return ", ".join(repr(name) for (name,) in rows)
