"""A process that has imported the libraries, and forks for each run of Snakemake and each script of a job.

Started by `support.warm` with the path of a socket; ends when its standard input is closed, and then deletes the
socket's folder. Nothing of the workflow is imported before the fork: that comes from the copy under test.
"""

import array
import atexit
import contextlib
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path

# What most jobs import, which takes longer than most of them.
LIBRARIES = (
    *("accelerate.hooks", "altair", "jinja2", "PIL.Image", "polars", "psutil", "pydantic", "requests", "torch", "yaml"),
    *("snakemake.cli", "snakemake.scheduling", "snakemake.script", "snakemake.workflow"),
    *("snakemake_interface_executor_plugins", "snakemake_interface_logger_plugins"),
    *("transformers", "transformers.models.auto.modeling_auto", "transformers.models.auto.processing_auto"),
    *("transformers.models.llava.modeling_llava", "transformers.models.llava.processing_llava"),
    *("transformers.models.llava.image_processing_pil_llava", "transformers.models.clip.image_processing_pil_clip"),
    *("transformers.models.clip.modeling_clip", "transformers.models.llama.modeling_llama"),
    *("transformers.models.llava_next.modeling_llava_next", "transformers.models.llava_next.processing_llava_next"),
)
DESCRIPTORS = 3  # standard input, output and error of whoever asks


def received(connection):
    """(what is asked for, the descriptors of whoever asks)."""
    descriptors = array.array("i")
    data, ancillary, *_ = connection.recvmsg(8, socket.CMSG_SPACE(DESCRIPTORS * descriptors.itemsize))
    for _, _, content in ancillary:
        descriptors.frombytes(content)
    with connection.makefile("rb") as file:
        return json.loads(file.read(int.from_bytes(data, "big"))), list(descriptors)


def become(asked, descriptors):
    """Run a script, or Snakemake, as the Python that was just started would; returns the exit status."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.executable = asked["python"]
    script = asked["script"]
    sys.argv = [script or sys.modules["snakemake"].__path__[0] + "/__main__.py", *asked["arguments"]]
    sys.path[0] = str(Path(script).parent) if script else ""
    try:
        if script:
            runpy.run_path(script, run_name="__main__")
        else:
            sys.modules["snakemake.cli"].main(sys.argv[1:])
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def live(asked, descriptors):
    """All of a process's life; without the removal of each object, which takes long, at its end."""
    status = become(asked, descriptors)
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def serve(path):
    """Fork for each connection to the socket at `path`, and answer it with the exit status."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    chosen = selectors.DefaultSelector()
    chosen.register(listener, selectors.EVENT_READ)
    chosen.register(sys.stdin, selectors.EVENT_READ)
    children = set()
    while True:
        for key, _ in chosen.select():
            if key.fileobj is sys.stdin:
                return
            if key.fileobj is listener:
                connection, _ = listener.accept()
                asked, descriptors = received(connection)
                child = os.fork()
                if child == 0:
                    chosen.close()
                    listener.close()
                    connection.close()
                    live(asked, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                children.add(child)
                end = os.pidfd_open(child)
                for each in end, connection:
                    chosen.register(each, selectors.EVENT_READ, (child, end, connection))
            elif key.data[0] in children:
                child, end, connection = key.data
                children.remove(child)
                if key.fileobj is connection:  # whoever asked was killed
                    os.kill(child, signal.SIGKILL)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                with contextlib.suppress(OSError):
                    connection.sendall(str(status).encode())
                for each in end, connection:
                    chosen.unregister(each)
                os.close(end)
                connection.close()


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    # The lock of progress bars is shared between processes: a fork that is killed while it has it would never let go.
    importlib.import_module("tqdm").tqdm.set_lock(threading.RLock())
    try:
        serve(sys.argv[1])
    finally:
        shutil.rmtree(Path(sys.argv[1]).parent)
