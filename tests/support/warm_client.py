"""The program of `support.warm`: scripts and Snakemake run as forks of a warm process, all else by Python itself.

Started with the path of that process's socket, of Python, and of the program, and with the program's arguments.
"""

import array
import json
import os
import socket
import sys


def ask(path, **asked):
    """The exit status of a fork that has this process's standard input, output and error."""
    content = json.dumps(asked | {"folder": os.path.realpath("."), "environment": dict(os.environ)}).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        descriptors = array.array("i", [0, 1, 2])
        connection.sendmsg([len(content).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        connection.sendall(content)
        return int(connection.recv(16) or 1)


if __name__ == "__main__":
    socket_path, python, program, *arguments = sys.argv[1:]
    if arguments[:2] == ["-m", "snakemake"]:
        status = ask(socket_path, script=None, arguments=arguments[2:], python=program)
    elif arguments and arguments[0].endswith(".py"):
        status = ask(socket_path, script=arguments[0], arguments=arguments[1:], python=python)
    else:
        os.execv(python, [python, *arguments])
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)
