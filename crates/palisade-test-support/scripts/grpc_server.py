"""A gRPC service of bare bytes over TLS: `/echo.Echo/One` gives a message back, `/echo.Echo/Many` three times.

Prints its port, then one line of JSON a call. Arguments: certificate, key, [metadata key, value it must have].
"""
import json
import sys
from concurrent import futures

import grpc

certificate, key = (open(path, "rb").read() for path in sys.argv[1:3])
demand = sys.argv[3:5]


def look(context, method):
    metadata = [list(pair) for pair in context.invocation_metadata()]
    print(json.dumps({"method": method, "metadata": metadata}, default=repr), flush=True)
    if demand and demand not in metadata:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")


def one(request, context):
    look(context, "One")
    context.set_trailing_metadata((("x-trailer", "at-the-end"),))
    return request


def many(request, context):
    look(context, "Many")
    for _ in range(3):
        yield request


handlers = grpc.method_handlers_generic_handler(
    "echo.Echo",
    {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Many": grpc.unary_stream_rpc_method_handler(many),
    },
)
server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((handlers,))
credentials = grpc.ssl_server_credentials([(key, certificate)])
port = server.add_secure_port("127.0.0.1:0", credentials)
server.start()
print(port, flush=True)
server.wait_for_termination()
