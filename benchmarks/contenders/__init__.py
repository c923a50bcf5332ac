"""Who is compared, and how each is opened. Importing this package imports none of them.

To add a contender: write a module whose opener gives a `Session` (see `session.py`), and list it here.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contender:
    """One line of the table.

    `opener` and `bare` are `module:function`, loaded only in the contender's own process.
    """

    title: str
    opener: str
    scenarios: tuple[str, ...]
    package: str | None = None
    bare: str | None = None
    longest: int = 10_000


CONTENDERS = {
    "awaitly": Contender(
        title="awaitly",
        opener="contenders.awaitly_sqlite:durable",
        bare="contenders.awaitly_sqlite:undurable",
        scenarios=("sequence", "together", "overhead", "flat", "counts"),
        package="awaitly",
    ),
    "dbos": Contender(
        title="DBOS, as it comes",
        opener="contenders.dbos_sqlite:as_shipped",
        scenarios=("sequence", "together", "flat", "counts"),
        package="dbos",
        longest=1_000,
    ),
    "dbos-wal": Contender(
        title="DBOS, its file set to WAL",
        opener="contenders.dbos_sqlite:in_wal",
        scenarios=("sequence", "together", "counts"),
        package="dbos",
    ),
    "raw": Contender(
        title="raw `sqlite3`, a commit for each step",
        opener="contenders.raw_sqlite:single",
        scenarios=("sequence", "together", "flat", "counts"),
    ),
    "raw-grouped": Contender(
        title="raw `sqlite3`, a commit for one step of all 200 runs",
        opener="contenders.raw_sqlite:grouped",
        scenarios=("together",),
    ),
}
