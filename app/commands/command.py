"""A client's command: how it is helped, how it reaches its server, how it ends."""

from typing import Any
from urllib.parse import quote

import click

from app.client import NoCredentials, Refused, Unreachable, Unsendable
from app.commands import access, exits
from app.commands.output import text

output_option = click.option(
    "-o",
    "output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)


class Command(click.Command):
    """Takes the options of `access`, and ends with a code of `exits` and one line of why."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self._of_access = access.options()
        self.params += self._of_access

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own options first, then how to reach the server."""
        access_names = {option.name for option in self._of_access}
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        own = [p for p in options if p.name not in access_names]
        for title, params in (("Options", own), ("Server and credentials", self._of_access)):
            records = [record for p in params if (record := p.get_help_record(ctx))]
            with formatter.section(title):
                formatter.write_dl(records)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs it; an error becomes a line on standard error, and an exit code."""
        try:
            return super().invoke(ctx)
        except (Refused, Unreachable, NoCredentials, Unsendable) as error:
            click.echo(f"onejob: {_sentence(error)}", err=True)
            ctx.exit(exits.of(error))
        except BrokenPipeError:
            raise  # whoever read it has seen enough: click ends it quietly
        except OSError as error:
            click.echo(f"onejob: {error}", err=True)
            ctx.exit(exits.USAGE)
        except KeyboardInterrupt:
            click.echo("onejob: interrupted", err=True)
            ctx.exit(exits.INTERRUPTED)


def part(name: str) -> str:
    """A name as a part of a path."""
    return quote(name, safe="")


def deployment_path(name: str, rest: str = "") -> str:
    """The path of a deployment in the control plane."""
    return f"/job-deployments/{part(name)}{rest}"


def job_path(name: str, job_id: str, rest: str = "") -> str:
    """The path of a job in the control plane."""
    return deployment_path(name, f"/jobs/{part(job_id)}{rest}")


def _sentence(error: Exception) -> str:
    if isinstance(error, NoCredentials):
        return f"{error}: see `Server and credentials` in --help"
    if isinstance(error, Unreachable):
        return f"the server does not answer: {text(error)}"
    return text(error)
