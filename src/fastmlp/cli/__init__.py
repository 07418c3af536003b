"""The command `fastmlp`."""

import sys


def main() -> int:
    """Run the command line of this process; the way in of the command `fastmlp`.

    Returns
    -------
    int
        1 when typer or rich are not installed. Otherwise the process ends in here, by SystemExit:
        0 done, 1 a failure, 2 a wrong option, 130 interrupted by Ctrl-C, 128 and its number
        another signal that ended a training.
    """
    try:
        from .app import app
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("typer", "rich"):
            raise
        print(
            f"fastmlp: the command line needs {library}: pip install 'fastmlp[cli]'",
            file=sys.stderr,
        )
        return 1
    app(prog_name="fastmlp")
    return 0
