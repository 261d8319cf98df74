"""The command line: `onejob`. A command's module is imported when it is called, and not before."""

from importlib import import_module
from typing import Final

import click

# By title: a command's name, where it is, and what it does in a few words.
COMMANDS: Final = {
    "Deployments": {
        "create": ("app.commands.deployments:create", "Make a deployment."),
        "list": ("app.commands.deployments:list_all", "All deployments."),
        "describe": ("app.commands.deployments:describe", "One deployment."),
        "update": ("app.commands.deployments:update", "Change a deployment."),
        "pause": ("app.commands.deployments:pause", "Start no more of its jobs."),
        "resume": ("app.commands.deployments:resume", "Start its jobs again."),
        "purge-queue": (
            "app.commands.deployments:purge_queue",
            "Cancel all of its jobs that wait.",
        ),
        "delete": ("app.commands.deployments:delete", "Delete a deployment."),
    },
    "Jobs": {
        "run": ("app.commands.run:run", "Submit a request as a job, wait for its end."),
        "jobs": ("app.commands.jobs:jobs", "The jobs of a deployment."),
        "status": ("app.commands.jobs:status", "One job."),
        "result": ("app.commands.jobs:result", "The response of a job."),
        "logs": ("app.commands.logs:logs", "What a job printed."),
        "cancel": ("app.commands.jobs:cancel", "Cancel a job."),
        "retry": ("app.commands.jobs:retry", "Make a new job of the request of one."),
    },
    "Machines": {
        "up": ("app.up_command:up", "Start everything on this machine."),
        "node": ("app.operations:node", "The machines that run jobs."),
        "drain": ("app.operations:drain", "Have a machine take no new jobs."),
        "secrets": ("app.operations:secrets", "What clients have stored for their deployments."),
        "sweep": ("app.operations:sweep", "Do once what every worker does all the time."),
        "recover": ("app.operations:recover", "After Redis was restored from an older file."),
    },
}


class Rooms(click.Group):
    """Finds a command by its name, and lists them all without importing one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        return [name for commands in COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        for commands in COMMANDS.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name][0].partition(":")
                command: click.Command = getattr(import_module(module), attribute)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section for each title."""
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()])


@click.group(cls=Rooms, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="onejob")
def main() -> None:
    """Onejob runs batch jobs: one HTTP request, one container, one deadline.

    Beside a running `scripts/run` the commands find their server by themselves. Elsewhere it is
    named by options, the environment or a profile: see the end of any command's --help.

    \b
    Exit codes of the commands for deployments and jobs:
      0 done, or the job succeeded        5 no answer, or not now
      1 the job did not succeed           6 refused
      2 a wrong command line or file      7 not over yet
      3 not found, or no longer kept      130 interrupted
      4 credentials missing or refused
    """
