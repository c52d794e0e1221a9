#!/bin/bash
# rdma: limit=120
# The conformance programs see the same on shared-memory lanes as on the bare kernel, on this kernel too.
cd "$(dirname "$0")/../../.."
exec Tests/Conformance/run.py --modes kernel,lane --filter stream_
