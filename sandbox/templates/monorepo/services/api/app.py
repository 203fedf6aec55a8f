"""The api of @NAME@: `python3 app.py PORT VERSION`."""
import sys

from common import service


def answer(path, version):
    """Returns the status and the answer to a request for that path."""
    return service.answer(path, "@NAME@-api", version)


if __name__ == "__main__":
    service.serve(int(sys.argv[1]), sys.argv[2], answer)
