"""Echoes WebSocket messages over TLS. Prints its port, then one line of JSON a connection.

Arguments: certificate, key, [header field, value it must have].
"""
import asyncio
import http
import json
import ssl
import sys

import websockets

certificate, key = sys.argv[1:3]
demand = sys.argv[3:5]


async def look(path, headers):
    seen = {"path": path, "headers": [list(pair) for pair in headers.raw_items()]}
    print(json.dumps(seen), flush=True)
    if demand and headers.get_all(demand[0]) != [demand[1]]:
        return http.HTTPStatus.UNAUTHORIZED, [], b"who are you?\n"
    return None


async def echo(connection, *_):
    async for message in connection:
        await connection.send(message)


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await websockets.serve(echo, "127.0.0.1", 0, ssl=context, process_request=look)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Future()


asyncio.run(main())
