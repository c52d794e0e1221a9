"""curl against Python's http.server: files fetched and sent, on one connection and on many."""

import hashlib
import pathlib

import web
from registry import expect_lanes, scenario
from session import PYTHON, check, free_port

SERVER = pathlib.Path(__file__).parent.parent / "peers" / "http_files.py"


@scenario("curl with http.server", one_sided=True)
def curl(session):
    web.write_files(session)
    port = free_port()
    server = session.start("http", [PYTHON, SERVER, port, session.path("www")], port=port)
    web.fetch_and_compare(session, port)
    url = f"http://127.0.0.1:{port}/"
    for name in web.SIZES:
        content = session.path(f"www/{name}").read_bytes()
        arguments = ["curl", "--silent", "--show-error", "--fail", "-H", "Expect:", "--data-binary",
                     f"@{session.path('www')}/{name}", url, url]
        answer = session.call("curl-post", arguments)
        check(answer == hashlib.sha256(content).hexdigest().encode() * 2, f"the server got another {name}: {answer}")
        parallel = ["curl", "--silent", "--show-error", "--fail", "--parallel", "--parallel-max", "6"]
        for number in range(6):
            parallel += ["-o", session.path(f"parallel-{number}"), url + name]
        session.call("curl-parallel", parallel)
        for number in range(6):
            check(session.path(f"parallel-{number}").read_bytes() == content, f"a parallel fetch of {name} differs")
    expect_lanes(session, server)
