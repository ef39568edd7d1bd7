"""The commands `serve`, and `container serve`, which is what images run."""

from pathlib import Path
from typing import Any

import click

from smalgos.cli.train import container


@container.command("serve")
@click.pass_context
def container_serve(ctx: click.Context) -> None:
    """Answer requests by the model in /opt/ml/model.

    The original's variables (SAGEMAKER_MODEL_SERVER_WORKERS, ...) say how; SAGEMAKER_BASE_DIR moves
    /opt/ml, SAGEMAKER_MULTI_MODEL=true lets models come and go.
    """
    from smalgos.serving.server import main

    ctx.exit(main())


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="Port to listen on; 0: any that is free.",
)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.pass_context
def serve(ctx: click.Context, /, model: Path, **given: Any) -> None:
    """Answer requests over HTTP by a model.

    MODEL is a model file, or the folder that holds it. Rows are posted to /invocations;
    boto3's sagemaker-runtime client takes the address as its endpoint_url.
    """
    import os

    from smalgos.serving.server import logging_to_stdout, run
    from smalgos.serving.settings import Settings

    settings = Settings.of(os.environ, model=model, **given)
    with logging_to_stdout(settings.log_level):
        ctx.exit(run(settings))
