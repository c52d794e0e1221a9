"""Python's event libraries: an echo server, and the client that compares (echo.py says what it sends).

Usage: echo_loops.py LIBRARY serve|ask PORT, where LIBRARY is one of those below.
"""

import asyncio
import os
import pathlib
import runpy
import sys

HERE = pathlib.Path(__file__).parent
BLOCK, CONNECTIONS, ROUNDS, BULK = 65521, 4, 1000, 1_000_000


def other(path, *arguments):
    """Runs another peer as this program."""
    sys.argv = [str(path), *map(str, arguments)]
    runpy.run_path(str(path), run_name="__main__")


def uvloop(what, port):
    import uvloop as library
    library.install()
    other(HERE.parent.parent / "Programs/peers/streams_asyncio.py", what, port, 1)


def gevent(what, port):
    from gevent import monkey
    monkey.patch_all()
    other(HERE / "echo.py", what, port)


def sizes():
    """The messages' sizes, the bulk last."""
    return [1 + number * 37 % 9000 for number in range(ROUNDS)] + [BULK]


class Talk:
    """The client's side of one connection for libraries that call back: feed it, and send what it says."""

    def __init__(self):
        self.block, self.left, self.got = os.urandom(BLOCK), sizes(), b""
        self.wanted = self.message()

    def message(self):
        size = self.left.pop(0)
        return (self.block * (size // BLOCK + 1))[:size]

    def feed(self, data):
        """Returns what to send next, b"" to wait for more, None at the end."""
        self.got += data
        if len(self.got) < len(self.wanted):
            return b""
        if self.got != self.wanted:
            raise SystemExit("other bytes came back than were sent")
        self.got = b""
        if not self.left:
            return None
        self.wanted = self.message()
        return self.wanted


def twisted(what, port):
    from twisted.internet import defer, protocol, reactor

    class Server(protocol.Protocol):
        def dataReceived(self, data):
            self.transport.write(data)

    class Client(protocol.Protocol):
        def connectionMade(self):
            self.talk = Talk()
            self.transport.write(self.talk.wanted)

        def dataReceived(self, data):
            answer = self.talk.feed(data)
            if answer is None:
                self.transport.loseConnection()
            elif answer:
                self.transport.write(answer)

        def connectionLost(self, reason):
            if self.talk.left:
                print("the stream ended early", file=sys.stderr)
                os._exit(1)
            self.factory.running -= 1
            if self.factory.running == 0:
                reactor.stop()

    if what == "serve":
        factory = protocol.Factory()
        factory.protocol = Server
        reactor.listenTCP(port, factory, interface="127.0.0.1")
    else:
        factory = protocol.ClientFactory()
        factory.protocol, factory.running = Client, CONNECTIONS
        for _ in range(CONNECTIONS):
            reactor.connectTCP("127.0.0.1", port, factory)
    reactor.run()


def tornado(what, port):
    from tornado import ioloop, iostream, tcpclient, tcpserver

    class Server(tcpserver.TCPServer):
        async def handle_stream(self, stream, address):
            try:
                while True:
                    await stream.write(await stream.read_bytes(65536, partial=True))
            except iostream.StreamClosedError:
                stream.close()

    async def converse():
        stream, talk = await tcpclient.TCPClient().connect("127.0.0.1", port), Talk()
        answer = talk.wanted
        while answer is not None:
            if answer:
                stream.write(answer)
            answer = talk.feed(await stream.read_bytes(65536, partial=True))
        stream.close()

    async def ask():
        await asyncio.gather(*(converse() for _ in range(CONNECTIONS)))

    if what == "serve":
        Server().listen(port, "127.0.0.1")
        ioloop.IOLoop.current().start()
    else:
        ioloop.IOLoop.current().run_sync(ask)


def aiohttp(what, port):
    """Requests with bodies over kept connections, and a web socket."""
    from aiohttp import ClientSession, web

    async def post(request):
        return web.Response(body=await request.read())

    async def upgrade(request):
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        return socket

    async def converse(session):
        block = os.urandom(BLOCK) * (BULK // BLOCK + 1)
        for size in sizes():
            async with session.post(f"http://127.0.0.1:{port}/", data=block[:size]) as response:
                if await response.read() != block[:size]:
                    raise SystemExit("other bytes came back than were sent")
        async with session.ws_connect(f"http://127.0.0.1:{port}/socket", max_msg_size=0) as socket:
            for size in sizes():
                await socket.send_bytes(block[:size])
                if await socket.receive_bytes() != block[:size]:
                    raise SystemExit("other bytes came back than were sent")

    async def ask():
        async with ClientSession() as session:
            await asyncio.gather(*(converse(session) for _ in range(CONNECTIONS)))

    if what == "serve":
        application = web.Application(client_max_size=1 << 24)
        application.add_routes([web.post("/", post), web.get("/socket", upgrade)])
        web.run_app(application, host="127.0.0.1", port=port, print=None)
    else:
        asyncio.run(ask())


def glib(what, port):
    """GSocketService and GSocketClient, with GLib's own poll loop at the server."""
    from gi.repository import Gio, GLib

    class Echo:
        def __init__(self, connection):
            self.connection, self.reader, self.writer = connection, connection.get_input_stream(), connection.get_output_stream()
            self.read()

        def read(self):
            self.reader.read_bytes_async(65536, GLib.PRIORITY_DEFAULT, None, self.came)

        def came(self, stream, result):
            data = stream.read_bytes_finish(result)
            if data.get_size() == 0:
                return self.connection.close(None)
            self.writer.write_all_async(data.get_data(), GLib.PRIORITY_DEFAULT, None, self.written)

        def written(self, stream, result):
            stream.write_all_finish(result)
            self.read()

    def converse():
        connection = Gio.SocketClient().connect_to_host("127.0.0.1", port, None)
        reader, writer, talk = connection.get_input_stream(), connection.get_output_stream(), Talk()
        answer = talk.wanted
        while answer is not None:
            if len(answer) > 9000:
                # Written by the loop, because the echo would block behind a bulk that nobody reads.
                writer.write_all_async(answer, GLib.PRIORITY_DEFAULT, None, lambda stream, result: stream.write_all_finish(result))
            elif answer:
                writer.write_all(answer, None)
            while GLib.MainContext.default().iteration(False):
                pass
            answer = talk.feed(reader.read_bytes(65536, None).get_data())
        connection.close(None)

    if what == "serve":
        service = Gio.SocketService()
        service.add_address(Gio.InetSocketAddress.new_from_string("127.0.0.1", port), Gio.SocketType.STREAM, Gio.SocketProtocol.TCP, None)
        held = []
        service.connect("incoming", lambda _, connection, source: bool(held.append(Echo(connection))) or True)
        service.start()
        GLib.MainLoop().run()
    else:
        for _ in range(CONNECTIONS):
            converse()


if __name__ == "__main__":
    LIBRARIES = {each.__name__: each for each in (uvloop, gevent, twisted, tornado, aiohttp, glib)}
    LIBRARIES[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
    print(f"compared {CONNECTIONS} connections")
