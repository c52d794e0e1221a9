#!/bin/bash
# rdma: limit=900 by-name
# The conformance programs see the same on verbs lanes as on the bare kernel. MODES and FILTER ask for a part.
cd "$(dirname "$0")/../../.."
exec Tests/Conformance/run.py --modes "${MODES:-kernel,verbs}" --filter "${FILTER:-}"
