"""What runs the trials of a launch: Ray, or this process."""

from typing import TYPE_CHECKING

from sweep.engine.options import Options

if TYPE_CHECKING:
    from sweep.engine.in_process import InProcess
    from sweep.engine.session import Session


def chosen(options: Options) -> "type[Session | InProcess]":
    """What runs the trials. Ray takes a second to import, which --dry-run and bad input need not wait for."""
    if options.in_process:
        from sweep.engine.in_process import InProcess

        return InProcess
    from sweep.engine.session import Session

    return Session
