"""asyncio at both ends: random streams, each followed by its checksum, answered with the stream and its checksum.

Usage: streams_asyncio.py serve PORT | streams_asyncio.py ask PORT SEED
The format is shared with the other peers: 4 bytes of length, the data, its SHA-256; the answer has the same form with
the data reversed. A length of 0 ends the connection.
"""

import asyncio
import hashlib
import random
import sys


def frame(data):
    return len(data).to_bytes(4, "big") + data + hashlib.sha256(data).digest()


async def read_frame(reader):
    size = int.from_bytes(await reader.readexactly(4), "big")
    if size == 0:
        return None
    data = await reader.readexactly(size)
    if await reader.readexactly(32) != hashlib.sha256(data).digest():
        raise SystemExit("a checksum is wrong")
    return data


async def answer(reader, writer):
    while (data := await read_frame(reader)) is not None:
        writer.write(frame(data[::-1]))
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def serve(port):
    server = await asyncio.start_server(answer, "127.0.0.1", port, limit=1 << 20)
    async with server:
        await server.serve_forever()


async def ask_one(port, seed, rounds):
    source = random.Random(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    for _ in range(rounds):
        data = source.randbytes(source.choice([1, 10, 100, 1000, 10_000, 100_000, 1_000_000]))
        writer.write(frame(data))
        await writer.drain()
        if await read_frame(reader) != data[::-1]:
            raise SystemExit("an answer differs")
    writer.write(bytes(4))
    if await reader.read() != b"":
        raise SystemExit("bytes after the end")
    writer.close()
    await writer.wait_closed()
    return rounds


async def ask(port, seed):
    counts = await asyncio.gather(*(ask_one(port, seed + number, 40) for number in range(8)))
    print(f"{sum(counts)} answers compared")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve(int(sys.argv[2])))
    else:
        asyncio.run(ask(int(sys.argv[2]), int(sys.argv[3])))
