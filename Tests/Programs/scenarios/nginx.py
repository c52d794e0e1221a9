"""nginx, master and workers: files compared by curl and inside wrk, with and without sendfile."""

import web
from registry import expect_lanes, scenario


def serve(session, sendfile):
    server, port = web.start_nginx(session, sendfile)
    web.fetch_and_compare(session, port)
    for name in web.SIZES:
        web.load_and_compare(session, port, name, connections=4 if name == "large" else 16)
    expect_lanes(session, server, at_least=16)


@scenario("nginx with sendfile", one_sided=True, small_rings=True)
def with_sendfile(session):
    serve(session, "on")


@scenario("nginx without sendfile", small_rings=True)
def without_sendfile(session):
    serve(session, "off")
