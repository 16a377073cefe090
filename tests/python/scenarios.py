"""Runs the scenarios that a client script was asked for, and prints what each saw: one JSON object to a line."""

import json
import sys


def run(scenarios, connect, error, failure):
    """`error` is what the driver raises, and `failure` makes it a value that can be compared."""
    named = {scenario.__name__: scenario for scenario in scenarios}
    chosen = sys.argv[1:] or list(named)
    unknown = [name for name in chosen if name not in named]
    if unknown:
        sys.exit(f"no such scenario: {', '.join(unknown)}; there are {', '.join(named)}")
    try:
        connection = connect()
    except error as refusal:
        print(json.dumps({"scenario": "login", "error": failure(refusal)}))
        return
    with connection:
        for name in chosen:
            try:
                seen = named[name](connection)
            except error as refusal:
                seen = {"error": failure(refusal)}
            print(json.dumps({"scenario": name, **seen}), flush=True)
