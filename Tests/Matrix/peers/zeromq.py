"""ZeroMQ at both ends: requests of many parts through ROUTER and DEALER, and a subscriber of the server's.

Usage: zeromq.py serve PORT | zeromq.py ask PORT
"""

import os
import sys

import zmq


def serve(port):
    """Returns what it gets; what begins with "publish" goes to the subscribers instead, on a port of the kernel's choice."""
    context = zmq.Context()
    router, publisher = context.socket(zmq.ROUTER), context.socket(zmq.XPUB)
    router.bind(f"tcp://127.0.0.1:{port}")
    chosen = publisher.bind_to_random_port("tcp://127.0.0.1")
    while True:
        who, *parts = router.recv_multipart()
        if parts[0] == b"port":
            parts = [str(chosen).encode()]
        elif parts[0] == b"wait":
            # Until a subscription has come.
            parts = [publisher.recv()]
        elif parts[0] == b"publish":
            publisher.send_multipart([b"topic", *parts[1:]])
            continue
        router.send_multipart([who, *parts])


def ask(port):
    context = zmq.Context(io_threads=2)
    dealers = [context.socket(zmq.DEALER) for _ in range(4)]
    for dealer in dealers:
        dealer.connect(f"tcp://127.0.0.1:{port}")
    for round_number in range(100):
        sent = []
        for number, dealer in enumerate(dealers):
            sent.append([os.urandom(size) for size in (1, round_number, 300, 20_000 if number else 200_000)])
            dealer.send_multipart(sent[-1])
        for parts, dealer in zip(sent, dealers):
            if dealer.recv_multipart() != parts:
                raise SystemExit("other parts came back than were sent")
    dealers[0].send(b"port")
    subscriber = context.socket(zmq.SUB)
    subscriber.connect(f"tcp://127.0.0.1:{dealers[0].recv().decode()}")
    subscriber.subscribe(b"topic")
    dealers[0].send(b"wait")
    dealers[0].recv()
    messages = [os.urandom(number * 50 + 1) for number in range(300)]
    for message in messages:
        dealers[0].send_multipart([b"publish", message])
    if [subscriber.recv_multipart()[1] for _ in messages] != messages:
        raise SystemExit("other messages were published than were sent")
    print("compared 4 connections and a subscription")
    context.destroy(0)


if __name__ == "__main__":
    (serve if sys.argv[1] == "serve" else ask)(int(sys.argv[2]))
