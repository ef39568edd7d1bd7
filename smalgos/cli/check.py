"""The commands `warmup` and `doctor`."""

import time

import click

from smalgos.cli.text import pairs, paragraph, size


@click.command()
@click.argument("algo", nargs=-1)
def warmup(algo: tuple[str, ...]) -> None:
    """Compile all kernels ahead of time.

    Without ALGO those of all algorithms. An image does this when it is built, so that no job waits
    for the compiler.
    """
    from smalgos.algorithms import MODULES, algorithm

    names = list(dict.fromkeys(algo)) or sorted(MODULES)
    for name in names:
        algorithm(name)  # an unknown name is an error before anything is compiled

    from smalgos._jit import COMPILED
    from smalgos.doctor import cache_folder
    from smalgos.warmup import warm_algorithm, warm_formats

    if not COMPILED:
        click.echo("NUMBA_DISABLE_JIT is set: there is nothing to compile.")
        return
    room = max(len(name) for name in ("formats", *names))
    began = time.perf_counter()
    for name in ("formats", *names):
        click.echo(f"{name:{room}}  ", nl=False)
        warmed = warm_formats() if name == "formats" else warm_algorithm(name)
        click.echo(
            f"{warmed.jobs:3} jobs  {warmed.compiled:3} kernels compiled, {warmed.found:3} found"
            f"  {warmed.seconds:5.1f} s"
        )
    folder = cache_folder()
    held = size(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()))
    click.echo(f"{time.perf_counter() - began:.1f} s; the cache {folder} holds {held}.")


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> None:
    """Show versions and hardware, and run a self-test.

    Ends with exit code 1 when something is broken.
    """
    from smalgos.doctor import examine

    broken = 0
    for title, findings in examine():
        click.echo(title)
        for finding in findings:
            mark = "!" if finding.broken else " "
            click.echo(pairs([(finding.name, finding.said)], indent=2, least=14))
            if finding.advice:
                click.echo(paragraph(f"{mark} {finding.advice}", indent=18))
            broken += finding.broken
    click.echo(f"\n{broken} broken, see !" if broken else "\nEverything works.")
    ctx.exit(1 if broken else 0)
