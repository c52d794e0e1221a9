# Millrace: TCP connections of unmodified programs on one host ride shared-memory lanes.
# `make help` lists the targets. `make demo` and `make test` each work alone on a fresh machine.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := all

# Debian's own interpreter: the harnesses use its standard library only, and a version manager's python may come first
# in PATH.
PYTHON ?= /usr/bin/python3
SWIFT ?= swift
SWIFT_BUILD_FLAGS ?= -c release
SWIFT_TEST_FLAGS ?=
CLANG_FORMAT ?= clang-format

PREFIX ?= /usr/local
DESTDIR ?=

BUILD := build
LIBRARY := $(BUILD)/libmillrace.so
CLI := $(BUILD)/millrace
# The verbs module is built where the headers of libibverbs, librdmacm and libnuma are (`make deps`); the library works
# without it, and says so by the decline reason no-verbs.
VERBS := $(BUILD)/libmillrace-verbs.so
VERBS_FLAGS := -std=gnu17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -fPIC -fvisibility=hidden -shared -Wl,-z,now

# Every Debian package that the build, the tests, the demo and the benchmarks use. Swift itself is not in Debian.
PACKAGES_BUILD := gcc libc6-dev binutils make git python3 clang-format
PACKAGES_VERBS := libibverbs-dev librdmacm-dev libnuma-dev ibverbs-providers
PACKAGES_TOOLS := procps util-linux iproute2 strace gdb valgrind
PACKAGES_PROGRAMS := redis-server redis-tools nginx-light memcached libmemcached-tools wrk iperf3 sockperf haproxy \
  postgresql postgresql-contrib nodejs default-jdk-headless curl socat libjemalloc2 openssh-server \
  openssh-client apache2 openbsd-inetd systemd
PACKAGES_RDMA := qemu-system-x86 busybox-static kmod libibverbs-dev librdmacm-dev libnuma-dev ibverbs-providers rdmacm-utils \
  ibverbs-utils rdma-core perftest openbsd-inetd
# What `make matrix` and `make suites` need besides; neither is part of `make test`.
PACKAGES_MATRIX := libevent-dev libev-dev libuv1-dev libasio-dev g++ rustc ruby perl lighttpd python3-gi python3-uvloop python3-gevent \
  python3-zmq python3-tornado python3-twisted libpython3.11-testsuite \
  golang-go python3-aiohttp python3-venv tcl apache2 php-fpm mariadb-server mariadb-client mosquitto \
  mosquitto-clients nng-utils netcat-openbsd wget openssl rsync openbsd-inetd
PACKAGES := $(PACKAGES_BUILD) $(PACKAGES_TOOLS) $(PACKAGES_PROGRAMS) $(PACKAGES_RDMA)

# What must hold at whatever moment a lane comes or goes: streams, their ends, and the processes that share them.
MOVING := kill_,exit_,fork_,daemonise,stream_,close_end,close_unread,close_linger,half_close,shutdown_,connect_again,exec_,spawn_,pass_

SWIFT_SOURCES = Package.swift Sources Tests
C_SOURCES = $(shell git ls-files -co --exclude-standard '*.c' '*.h')

# Serial on purpose: the phases share two cores, and a benchmark or a timing test must not run beside a build.
.NOTPARALLEL:

.PHONY: all help deps toolchain build demo test unit simulate fuzz cli settings conformance hostile kills programs matrix suites soak test-rdma rdma-shell bench bench-rdma install format lint clean

all: build ## Build the library and the command line tool into build/ (the default)

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## Install every Debian package that anything here needs (daemons are not started), and fetch the RDMA machine's kernel
	@Tests/Support/install-packages $(PACKAGES)
	@$(PYTHON) Tests/Rdma/kernel.py

toolchain:
	@command -v $(SWIFT) >/dev/null || { echo "Swift 6.1 or later is needed (https://swift.org/install)" >&2; exit 1; }

# The copies are renamed into place, so that a running program keeps the library that it has mapped.
build: toolchain
	@echo "== build"
	$(SWIFT) build $(SWIFT_BUILD_FLAGS)
	@mkdir -p $(BUILD)
	@bin=$$($(SWIFT) build $(SWIFT_BUILD_FLAGS) --show-bin-path); \
	for pair in libMillrace.so:$(LIBRARY) millrace:$(CLI); do \
	  from=$$bin/$${pair%%:*} to=$${pair##*:}; \
	  cmp -s $$from $$to || { cp $$from $$to.new && mv $$to.new $$to; }; \
	done
	@if [ -e /usr/include/rdma/rdma_cma.h ] && [ -e /usr/include/numa.h ]; then \
	  $(CC) $(VERBS_FLAGS) -Ishim/include verbs/*.c -o $(VERBS).new -lrdmacm -libverbs -lnuma && \
	  mv $(VERBS).new $(VERBS); \
	else echo "no verbs module: its headers are not installed (make deps)"; fi
	@ls -l $(BUILD)/*.so $(CLI)

demo: deps build ## Show real servers plain and under Millrace, one after the other
	@$(PYTHON) Tests/Demo/demo.py

test: deps build lint unit fuzz cli settings conformance hostile kills programs test-rdma ## Run all that must pass: lint, unit, simulation, fuzz, cli, settings, conformance, hostile, kills, programs, test-rdma
	@echo "== all phases of make test passed"

unit: toolchain ## Run the unit and simulation tests
	@echo "== unit and simulation tests"
	$(SWIFT) test $(SWIFT_TEST_FLAGS)

conformance: build ## Compare what C programs observe on the bare kernel and on lanes
	@echo "== conformance"
	@$(MAKE) --no-print-directory -s -j2 -C Tests/Conformance
	@$(PYTHON) Tests/Conformance/run.py
	@$(PYTHON) Tests/Conformance/run.py --modes race,chaos --repeat 2 --filter $(MOVING)

simulate: toolchain ## Run the protocol's simulation over SEEDS=FIRST..LAST (default: a million schedules)
	SEEDS=$(or $(SEEDS),0..999999) $(SWIFT) test -c release --filter Simulation

fuzz: toolchain ## Feed the core more than a million inputs of a lying peer, with coverage
	@echo "== fuzz"
	@$(PYTHON) Tests/Fuzz/run.py

kills: build ## Kill one end at every one of its system calls
	@echo "== kills"
	@$(PYTHON) Tests/Kills/run.py

hostile: build ## Let hostile peers loose on honest programs (as root)
	@echo "== hostile peers"
	@$(PYTHON) Tests/Hostile/run.py
	@$(PYTHON) Tests/Hostile/fuzz.py

cli: build ## Test the command line tool
	@echo "== command line tool"
	@$(PYTHON) Tests/Cli/run.py

settings: build ## Test the environment variables, and the ways to load the library
	@echo "== settings"
	@$(PYTHON) Tests/Settings/run.py

soak: deps build ## Real programs under chaos, kills and forks for MINUTES=1, compared, and with nothing left behind
	@echo "== soak"
	@$(PYTHON) Tests/Soak/run.py --minutes $(or $(MINUTES),1)

programs: deps build ## Run real programs bare and preloaded, with checked results
	@echo "== programs"
	@$(PYTHON) Tests/Programs/run.py

matrix: deps build ## Run the matrix of programs whole, and write docs/matrix.md
	@Tests/Support/install-packages $(PACKAGES_MATRIX)
	@$(PYTHON) Tests/Matrix/run.py --table docs/matrix.md

suites: deps build ## Run other projects' test suites bare and preloaded, and compare
	@Tests/Support/install-packages $(PACKAGES_MATRIX)
	@$(PYTHON) Tests/Suites/run.py

test-rdma: deps build ## Boot machines with real RDMA, one and then two on a wire, and run the tests of Tests/Rdma in them
	@echo "== rdma"
	@$(MAKE) --no-print-directory -s -j2 -C Tests/Conformance
	@$(PYTHON) Tests/Rdma/run.py $(RDMA_FLAGS)

rdma-shell: deps build ## A prompt in a machine with real RDMA; MACHINE=b in a second terminal puts another on its wire
	@$(PYTHON) Tests/Rdma/shell.py $(MACHINE) $(RDMA_FLAGS)

bench: deps build ## Measure every figure, side by side with the kernel (build/bench.json, build/bench.svg)
	@$(PYTHON) Tests/Benchmarks/bench.py $(BENCH_FLAGS)

bench-rdma: deps build ## Measure TCP, rsocket, SMC-R and Millrace beside each other in a machine with real RDMA (build/bench-rdma.json)
	@$(PYTHON) Tests/Rdma/bench.py $(BENCH_FLAGS)

install: build ## Install under PREFIX (default /usr/local), staged under DESTDIR
	install -D -m 755 $(CLI) $(DESTDIR)$(PREFIX)/bin/millrace
	install -D -m 644 $(LIBRARY) $(DESTDIR)$(PREFIX)/lib/libmillrace.so
	@[ ! -e $(VERBS) ] || install -D -m 644 $(VERBS) $(DESTDIR)$(PREFIX)/lib/libmillrace-verbs.so
	install -D -m 644 README.md $(DESTDIR)$(PREFIX)/share/doc/millrace/README.md
	install -D -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/millrace/LICENSE
	@for page in $$(git ls-files 'docs/*.[1-8]'); do \
	  section=$${page##*.}; \
	  install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$$section/$$(basename $$page); \
	done

format: ## Rewrite the sources in the project's style
	$(SWIFT) format -i -r $(SWIFT_SOURCES)
	@$(if $(C_SOURCES),$(CLANG_FORMAT) -i $(C_SOURCES))

lint: build ## Check style, sizes, and what the library exports and needs
	@echo "== lint"
	$(SWIFT) format lint --strict -r $(SWIFT_SOURCES)
	$(SWIFT) format lint --strict -r --configuration Tests/documented.swift-format Sources/MillraceCore
	@$(if $(C_SOURCES),$(CLANG_FORMAT) --dry-run -Werror $(C_SOURCES))
	@$(PYTHON) Tests/tidy.py
	@$(PYTHON) Tests/tidy_library.py $(LIBRARY) shim/exports.map

clean: ## Remove everything that was built
	rm -rf .build $(BUILD)
