"""Places for stderr where nobody reads, as redirections of a shell."""

import os


class FullPipe:
    """A pipe that was filled before anything was started, and that can be read later."""

    def __init__(self, path):
        os.mkfifo(path)
        self.redirection = f'2>"{path}"'
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        filler = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(filler, b"." * 4096)
        except BlockingIOError:
            os.close(filler)

    def read(self):
        """What has come since the last time, without what it was filled with."""
        text = b""
        try:
            while more := os.read(self.reader, 65536):
                text += more
        except BlockingIOError:
            pass
        return text.lstrip(b".").decode()

    def close(self):
        os.close(self.reader)


def redirections(pipe):
    """Name -> redirection. With the last one the reader has gone before anything is said."""
    return {"a full pipe": pipe.redirection, "a full disk": "2>/dev/full", "closed": "2>&-",
            "a pipe without reader": "2> >(exit 0)"}


def redirected(redirection):
    """A command that execs its arguments with stderr put there."""
    return ["bash", "-c", f'exec "$@" {redirection}', "bash"]
