"""A directory that speaks SCIM 2.0 over TLS: `scim2-server`, as its own command serves it, with a certificate.

Arguments: certificate and key in one file, bearer token, port, and a user name for each user that is there at first.
A line `deactivate NAME` on standard input makes a user inactive through the directory's own API, as an administrator
would; the answer is a line `done NAME`.
"""

import json
import ssl
import sys
import threading
import urllib.request
from wsgiref.simple_server import WSGIRequestHandler, make_server

from scim2_models import ScimProvider
from scim2_server.memory import InMemoryStorage
from scim2_server.testserver.application import BEARER_TOKEN_SCHEME, BearerTokenApplication
from scim2_server.testserver.cli import ThreadingWSGIServer
from scim2_server.utils import (
    load_default_resource_types,
    load_default_schemas,
    load_default_service_provider_config,
)

CERTIFICATE, TOKEN, PORT, *USERS = sys.argv[1:]


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


def application():
    config = load_default_service_provider_config()
    config.authentication_schemes = [*(config.authentication_schemes or []), BEARER_TOKEN_SCHEME]
    schemas, types = load_default_schemas().values(), load_default_resource_types().values()
    provider = ScimProvider.from_discovery(schemas, types, config=config)
    return BearerTokenApplication(InMemoryStorage(), provider, bearer_tokens=[TOKEN])


def ask(method, path, body=None):
    request = urllib.request.Request(f"https://localhost:{PORT}/v2{path}", method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    request.add_header("Content-Type", "application/scim+json")
    data = None if body is None else json.dumps(body).encode()
    trusted = ssl.create_default_context(cafile=CERTIFICATE)
    with urllib.request.urlopen(request, data, context=trusted) as answer:
        body = answer.read()
    return json.loads(body) if body else None


def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(CERTIFICATE)
    server = make_server("127.0.0.1", int(PORT), application(), ThreadingWSGIServer, Quiet)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ids = {}
    for user in USERS:
        schemas = ["urn:ietf:params:scim:schemas:core:2.0:User"]
        made = ask("POST", "/Users", {"schemas": schemas, "userName": user, "active": True})
        ids[user] = made["id"]
    print("ready", flush=True)
    for line in sys.stdin:
        user = line.split()[1]
        operation = {"op": "replace", "path": "active", "value": False}
        schemas = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
        ask("PATCH", f"/Users/{ids[user]}", {"schemas": schemas, "Operations": [operation]})
        print("done", user, flush=True)


main()
