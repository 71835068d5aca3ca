"""`python -m genlab` is the command `genlab`."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # a Ctrl-C during the following imports ends the process without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from genlab.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
