"""Sends random data over several connections at once to a server that returns it. Usage: ask.py ADDRESS PORT CONNECTIONS threads|async."""

import asyncio
import random
import socket
import sys
import threading

ROUNDS, LARGEST = 40, 20000
wrong = []


def blocks(seed):
    source = random.Random(seed)
    for _ in range(ROUNDS):
        yield source.randbytes(source.randint(1, LARGEST))


def ask(address, port, seed):
    try:
        with socket.create_connection((address, port), 20) as connection:
            for block in blocks(seed):
                connection.sendall(block)
                got = b""
                while len(got) < len(block):
                    part = connection.recv(len(block) - len(got))
                    assert part, "the server hung up"
                    got += part
                assert got == block, "what came back differs"
    except (OSError, AssertionError) as error:
        wrong.append(f"connection {seed}: {error}")


async def ask_async(address, port, seed):
    reader, writer = await asyncio.open_connection(address, port)
    for block in blocks(seed):
        writer.write(block)
        await writer.drain()
        assert await reader.readexactly(len(block)) == block, "what came back differs"
    writer.close()


async def all_at_once(address, port, count):
    await asyncio.gather(*[ask_async(address, port, seed) for seed in range(count)])


def main():
    address, port, count, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    if kind == "async":
        asyncio.run(all_at_once(address, port, count))
        return
    threads = [threading.Thread(target=ask, args=(address, port, seed)) for seed in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
