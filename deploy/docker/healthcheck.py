"""Ends with 0 if the service in this container says that it is ready.

It runs every few seconds in every container, so it imports next to nothing.
"""

import os
import socket
import sys

port = int(os.environ["HTTP_ADDRESS"].rpartition(":")[2])
try:
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(b"GET /health/ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
        status_line = connection.makefile("rb").readline()
except OSError as error:
    sys.exit(f"no answer: {error}")
sys.exit(0 if status_line.split()[1:2] == [b"200"] else status_line.decode("latin-1"))
