"""How commands end: one line for an error, no traceback, and an exit status that says how it went."""

import sys
import warnings

import click

from scoresample.errors import ScoresampleError, ScoresampleWarning, is_failure, one_line

DONE, NOT_ALL_WELL, BAD_INPUT = 0, 1, 2


class Program(click.Group):
    """A group of commands that return their exit status.

    0: done. 1: ran, but not converged, ended early, or some scenes failed. 2: bad input or usage, with one line
    on stderr. Warnings that the user can act on are one line each.
    """

    def main(self, *arguments, **options):
        options["standalone_mode"] = False
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning(warnings.showwarning)
            try:
                status = super().main(*arguments, **options)
            except click.ClickException as error:
                complain(f"{error.format_message()} {_where_to_look(error)}")
                status = error.exit_code
            except click.Abort:
                complain("interrupted; what was finished before is kept.")
                status = NOT_ALL_WELL
            except ScoresampleError as error:
                complain(str(error))
                status = BAD_INPUT
            except OSError as error:
                complain(
                    f"{error.filename or 'a file'}: {error.strerror or error}; check the path, rights and space."
                )
                status = BAD_INPUT
            except Exception as error:
                if not is_failure(error):
                    raise
                complain(
                    f"{type(error).__name__}: {one_line(error)[:300]}; the scene may be too large, or its numbers too "
                    "far apart."
                )
                status = BAD_INPUT
        sys.exit(status or DONE)


def complain(message: str) -> None:
    """Write one line about an error to stderr."""
    click.echo(f"error: {' '.join(message.split())}", err=True)


def _where_to_look(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return "" if context is None else f"See '{context.command_path} --help'."


def _show_warning(otherwise):
    """Return a ``warnings.showwarning`` that writes ours as one line and leaves all others to the one before."""

    def show(message, category, *place, **more):
        if issubclass(category, ScoresampleWarning):
            click.echo(f"warning: {' '.join(str(message).split())}", err=True)
        else:
            otherwise(message, category, *place, **more)

    return show
