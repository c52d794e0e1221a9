"""haproxy in front of nginx: three preloaded processes, and the middle one is client and server at once."""

import web
from registry import expect_lanes, scenario
from session import free_port

def serve(session, mode, options):
    nginx, back = web.start_nginx(session)
    front = free_port()
    command = web.haproxy_command(session, front, back, mode, more_defaults=options)
    haproxy = session.start("haproxy", command, port=front)
    web.fetch_and_compare(session, front)
    for name in web.SIZES:
        web.load_and_compare(session, front, name, connections=4 if name == "large" else 16)
    # Its clients' connections and its own to nginx.
    expect_lanes(session, haproxy, at_least=20)
    expect_lanes(session, nginx, at_least=4)


@scenario("haproxy in front of nginx, http")
def http(session):
    serve(session, "http", "http-reuse always")


@scenario("haproxy in front of nginx, tcp")
def tcp(session):
    serve(session, "tcp", "")
