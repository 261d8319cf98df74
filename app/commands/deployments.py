"""Deployments: make, see, change, delete them; hold and empty their queues."""

from dataclasses import replace
from typing import Any

import click

from app.commands import access, exits, spec
from app.commands.command import Command, deployment_path, output_option
from app.commands.output import second, show_json, show_members, show_table

PATIENCE_SECONDS = 30.0  # beyond what the server was asked to wait


@click.command(cls=Command)
@click.argument("name", required=False)
@spec.options
@output_option
def create(name: str | None, output: str, **given: Any) -> None:
    """Make a deployment.

    Without a word about it, it gets port 8080, one unit of `cpu`, one job at a time, a deadline of
    an hour, and jobs wait for a day. FILE has the members of the API, as TOML if its name ends in
    .toml, else as JSON; options go before it.

    \b
    Examples:
      onejob create greeter --image onejob-hello:1
      onejob create trainer --image onejob-hello:1 --port 8080 --max-replicas 4 \\
          --deadline 12h --ttl 7d --env EPOCHS=20 --env LR=0.001
      onejob create -f deployment.toml
      onejob create copy -f deployment.json --max-replicas 2
    """
    body = spec.with_defaults(spec.body(given) | ({"name": name} if name else {}))
    if "name" not in body:
        raise click.UsageError("the deployment needs a name: give it, or have it in the file")
    made = access.client().control("POST", "/job-deployments", body).json()
    if output == "json":
        show_json(made)
    else:
        click.echo(f"deployment {made['name']} is made: {made['endpoint_base_url']}")


@click.command(cls=Command)
@click.argument("name")
@spec.options
@output_option
def update(name: str, output: str, **given: Any) -> None:
    """Change a deployment: what is given, and nothing else.

    Jobs that have started keep what they started with. Lists are replaced whole: --env drops the
    variables that it does not name.

    \b
    Examples:
      onejob update hello --max-replicas 8
      onejob update hello --image onejob-hello:2 --deadline 30m
      onejob update hello -f deployment.json
    """
    body = spec.body(given)
    if not body:
        raise click.UsageError("nothing to change: give an option or --file")
    body.pop("name", None)  # of the deployment that the file was written for
    changed = access.client().control("PATCH", deployment_path(name), body).json()
    if output == "json":
        show_json(changed)
    else:
        click.echo(f"deployment {name} is changed")


@click.command("list", cls=Command)
@output_option
def list_all(output: str) -> None:
    """All deployments.

    \b
    Examples:
      onejob list
      onejob list -o json
    """
    found = access.client().control("GET", "/job-deployments").json()
    if output == "json":
        show_json(found)
        return
    rows = [
        (d["name"], d["compute"]["name"], d["compute"]["size"], second(d["created_at"]))
        for d in found
    ]
    show_table(("NAME", "COMPUTE", "SIZE", "CREATED"), rows)


@click.command(cls=Command)
@click.argument("name")
@output_option
def describe(name: str, output: str) -> None:
    """One deployment: what it is, and whether it runs.

    Its JSON can be given to `create -f` and `update -f` again.

    \b
    Examples:
      onejob describe hello
      onejob describe hello -o json
    """
    client = access.client()
    found = client.control("GET", deployment_path(name)).json()
    found |= client.control("GET", deployment_path(name, "/status")).json()
    if output == "json":
        show_json(found)
    else:
        show_members(_told(found))


@click.command(cls=Command)
@click.argument("name")
@click.option(
    "--timeout",
    type=click.IntRange(0, 300),
    default=60,
    show_default=True,
    help="Seconds to wait until it is gone; 7 is the exit code if it is not.",
)
def delete(name: str, timeout: int) -> None:
    """Delete a deployment: what waits is cancelled, what runs is stopped.

    \b
    Examples:
      onejob delete hello
      onejob delete hello --timeout 0
    """
    client = replace(access.client(), timeout_seconds=timeout + PATIENCE_SECONDS)
    path = deployment_path(name, f"?timeout={1000 * timeout}")
    status = client.control("DELETE", path).json()["status"]
    click.echo(f"deployment {name} is {status}")
    if status != "deleted":
        click.get_current_context().exit(exits.NOT_OVER)


@click.command(cls=Command)
@click.argument("name")
def pause(name: str) -> None:
    """Start no more of its jobs; they wait. What runs goes on.

    \b
    Example:
      onejob pause hello
    """
    access.client().control("POST", deployment_path(name, "/pause"))
    click.echo(f"deployment {name} is paused")


@click.command(cls=Command)
@click.argument("name")
def resume(name: str) -> None:
    """Start its jobs again.

    \b
    Example:
      onejob resume hello
    """
    access.client().control("POST", deployment_path(name, "/resume"))
    click.echo(f"deployment {name} runs")


@click.command("purge-queue", cls=Command)
@click.argument("name")
def purge_queue(name: str) -> None:
    """Cancel all of its jobs that wait. What runs goes on.

    \b
    Example:
      onejob purge-queue hello
    """
    access.client().control("POST", deployment_path(name, "/purge-queue"))
    click.echo(f"no job of {name} waits any more")


def _told(found: dict[str, Any]) -> list[tuple[str, Any]]:
    container, scaling = found["containers"][0], found["scaling"]
    health, overrides = container["healthcheck"], container["entrypoint_overrides"]
    replaced = " ".join([*overrides["entrypoint"], *overrides["cmd"]])
    # The values of variables are not for a screen that others may see.
    names = [variable["name"] for variable in container["env"]]
    return [
        ("Name", found["name"]),
        ("Status", found["status"]),
        ("URL", found["endpoint_base_url"]),
        ("Image", container["image"]["image"]),
        ("Port", container["exposed_port"]),
        ("Health check", health["path"] if health["enabled"] else "none: its port"),
        ("Command", replaced if overrides["enabled"] else None),
        ("Environment", ", ".join(names)),
        ("Compute", f"{found['compute']['name']}, size {found['compute']['size']}"),
        ("At once", scaling["max_replica_count"]),
        ("Deadline", f"{scaling['deadline_seconds']} s"),
        ("Waits", f"up to {scaling['queue_message_ttl_seconds']} s"),
        ("Startup", found["startup_seconds"] and f"{found['startup_seconds']} s"),
        ("Retries", _retries(found["retry_policy"])),
        ("Created", second(found["created_at"])),
        ("By", found["created_by_user_id"]),
    ]


def _retries(policy: dict[str, Any] | None) -> str | None:
    return f"{policy['max_attempts']} attempts, on {', '.join(policy['on'])}" if policy else None
