"""A process in a container that outlives agents: at each nudge (a file `/go-N`) it makes one exchange and says how it went."""

import os
import sys
import time

import hostile_client

# Longer than any test waits between two nudges.
GIVE_UP = 240


def nudged(number):
    deadline = time.monotonic() + GIVE_UP
    while not os.path.exists(f"/go-{number}"):
        if time.monotonic() > deadline:
            sys.exit("nobody nudged")
        time.sleep(0.05)


print("ready", flush=True)
for number in range(int(sys.argv[1])):
    nudged(number)
    try:
        answer = hostile_client.Session().ask("SELECT COUNT(*) FROM CUSTOMERS")
        print(number, "answered" if answer.json["success"] else answer.message, flush=True)
    except OSError as error:
        print(number, type(error).__name__, flush=True)
