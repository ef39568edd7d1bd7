"""The command line. Modules of commands import what is heavy only when a command runs."""

import warnings
from typing import Any

import click

from smalgos.cli.check import doctor, warmup
from smalgos.cli.convert import convert
from smalgos.cli.predict import predict
from smalgos.cli.serve import serve
from smalgos.cli.show import algorithms, describe, inspect
from smalgos.cli.train import container, train
from smalgos.errors import PlatformError, UserError


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    click.echo(f"Warning: {message}", err=True)


class Commands(click.Group):
    """A group whose commands end with one line where the user or the machine is at fault."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            try:
                return super().invoke(ctx)
            except (UserError, PlatformError) as e:
                raise click.ClickException(str(e)) from e

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they were added."""
        return list(self.commands)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="smalgos", message="smalgos %(version)s")
def main() -> None:
    """The built-in algorithms of Amazon SageMaker, on this machine.

    Begin with `smalgos algorithms`, then `smalgos describe ALGO`.
    """


for _command in (
    algorithms, describe, train, predict, convert, serve, inspect, warmup, doctor, container
):  # fmt: skip
    main.add_command(_command)
