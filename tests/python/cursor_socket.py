"""Gives a token at a socket, as the machine of a Cursor agent does, for as long as a command runs.

Arguments: the socket's path, the token, the command.
"""

import json
import socket
import subprocess
import sys
import threading

path, token, command = sys.argv[1], sys.argv[2], sys.argv[3:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()


def serve():
    while True:
        client, _ = listener.accept()
        with client, client.makefile("rb") as request:
            length = 0
            while (line := request.readline().strip()) != b"":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            is_asked = json.loads(request.read(length)) == {"aud": "snowfence"}
            body = json.dumps({"token": token} if is_asked else {}).encode()
            client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


threading.Thread(target=serve, daemon=True).start()
sys.exit(subprocess.run(command).returncode)
