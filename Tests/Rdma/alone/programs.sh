#!/bin/bash
# rdma: limit=400 by-name
# Real programs, unmodified, whose connections ride verbs lanes: there is no other fabric, and each scenario asserts its lanes.
cd "$(dirname "$0")/../../.."
export PATIENCE=8
exec /usr/bin/python3 Tests/Programs/run.py --mode both --set MILLRACE_FABRICS=verbs --set MILLRACE_ATTACH=0 \
  --set "MILLRACE_MAP=127.0.0.1=10.76.0.1,::1/128=::ffff:10.76.0.1" ${NAMES:-redis nginx memcached iperf3 python}
