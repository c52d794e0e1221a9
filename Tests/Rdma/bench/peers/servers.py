"""Echo servers of different shapes. Usage: servers.py fork|prefork|asyncio ADDRESS PORT."""

import asyncio
import os
import signal
import socket
import sys

WORKERS = 3


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def fork_for_each(listener):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            echo(connection)
            os._exit(0)
        connection.close()


def prefork(listener):
    for _ in range(WORKERS - 1):
        if os.fork() == 0:
            break
    while True:
        connection, _ = listener.accept()
        echo(connection)


async def serve(listener):
    async def answer(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
    server = await asyncio.start_server(answer, sock=listener)
    print("listening", flush=True)
    await server.serve_forever()


def main():
    kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(50)
    if kind == "asyncio":
        asyncio.run(serve(listener))
    print("listening", flush=True)
    {"fork": fork_for_each, "prefork": prefork}[kind](listener)


if __name__ == "__main__":
    main()
