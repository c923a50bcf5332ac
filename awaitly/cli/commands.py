"""The command itself: its subcommands, and one way in which all of them fail."""

import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from awaitly.cli.checks import check
from awaitly.cli.configuring import config
from awaitly.cli.demo import demo
from awaitly.cli.failing import debugging, failed, quieten
from awaitly.cli.graphs import graph
from awaitly.cli.running import run
from awaitly.cli.runs import runs
from awaitly.cli.serving import serve


def _version() -> str:
    try:
        return version("awaitly")
    except PackageNotFoundError:  # run from a checkout
        return "unknown (not installed)"


class Commands(click.Group):
    """A group whose commands return their exit status, and whose errors are messages."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and exit with its status."""
        sys.exit(self._status(args, prog_name or "awaitly", complete_var, extra))

    def _status(self, args: Sequence[str] | None, name: str, complete_var: str | None, extra: dict[str, Any]) -> int:
        quieten()
        try:
            status = super().main(args, name, complete_var, standalone_mode=False, **extra)
        except Exception as error:  # noqa: BLE001 - the one seam where every error becomes a message
            if debugging():
                traceback.print_exc()
            return failed(error)
        return status if isinstance(status, int) else 0


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(_version(), prog_name="awaitly", message="%(prog)s %(version)s")
def main() -> None:
    """Run durable workflows, look at them, and continue them.

    TARGET names a workflow: module:name or path/to/file.py:name.
    """


for command in (run, graph, check, runs, serve, config, demo):
    main.add_command(command)
