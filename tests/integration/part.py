"""`python -m tests.integration.part STUDY RESULTS I/N`: a part of a launch without Ray, for tests of parts."""

import sys

import sweep
from sweep.errors import BadInput
from tests.integration.launching import DATA


def main():
    path, results, part = sys.argv[1:]
    number, of = map(int, part.split("/"))
    try:
        sweep.run(path, ray=False, results=results, data_root=DATA, part=(number, of))
    except BadInput as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
