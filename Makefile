# Muster: what people run. `make help` lists the targets.
#
# Variables that may be given on the command line:
#   PREFIX, DESTDIR   where `make install` puts things        (/usr/local, empty)
#   VERSION           what `muster --version` says            (git describe)
#   RACE=1            unit tests with the race detector (needs gcc)
#   STRICT=1          a skipped test is a failure
#   FUZZTIME          how long each fuzz target runs          (10s)
#   PKG               packages for `make bench`               (./...)

VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PREFIX      ?= /usr/local
DESTDIR     ?=
FUZZTIME    ?= 10s
PKG         ?= ./...
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Static: muster-init runs before any libc is there, and muster should run on any Linux. No vcs stamp: git
# refuses to answer root about a checkout of somebody else, and VERSION has it anyway.
GOBUILD := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: build setup demo test test-pair lint fuzz bench bench-boot bench-dhcp bench-tftp install clean help

build: ## build bin/muster and bin/muster-init
	$(GOBUILD) -o bin/muster ./cmd/muster
	$(GOBUILD) -o bin/muster-init ./cmd/muster-init

setup: ## install the Debian packages that demo and test need (root)
	@.ci/setup

demo: setup build ## boot one diskless machine in a virtual rack, live (root)
	@bin/muster lab demo

test: build ## run every test that can run here; says what it skipped and why
	@RACE=$(RACE) STRICT=$(STRICT) .ci/test

test-pair: setup build ## all that can happen to a storage pair, in the virtual rack (root, 40 min)
	MUSTER_E2E_PAIR=all go test ./tests/e2e -count=1 -v -timeout 60m -run 'TestPair$$'

lint: ## go vet, gofmt, staticcheck
	go vet ./...
	@files=$$(gofmt -l .); [ -z "$$files" ] || { echo "not gofmt'ed (run gofmt -w):" $$files >&2; exit 1; }
	go run $(STATICCHECK) ./...

fuzz: ## run each fuzz target for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

bench: ## run the benchmarks of PKG, but for those of bench-boot, -dhcp and -tftp
	go test -run '^$$' -bench . -skip '^Benchmark(Boot|DHCP|TFTP)$$' -benchmem $(PKG)

bench-boot: setup ## boot a machine by Muster and by a stack built by hand, in turn, 5 times (root, 15 min)
	go test -run '^$$' -bench BenchmarkBoot -benchtime 5x -timeout 60m ./tests/bench

bench-dhcp: ## DHCP of Muster, Kea and dnsmasq side by side (root, 5 min)
	@.ci/setup kea-dhcp4-server kea-admin
	go test -run '^$$' -bench BenchmarkDHCP -benchtime 1x -timeout 30m ./tests/bench

bench-tftp: ## TFTP of Muster, tftpd-hpa, atftpd and dnsmasq side by side (root, 10 min)
	@.ci/setup libwrap0
	@.ci/unpack .cache/tftp-peers tftpd-hpa atftpd
	go test -run '^$$' -bench BenchmarkTFTP -benchtime 1x -timeout 60m ./tests/bench

install: build ## install under DESTDIR/PREFIX with systemd unit and shell completion
	install -D -m 755 bin/muster      $(DESTDIR)$(PREFIX)/bin/muster
	install -D -m 755 bin/muster-init $(DESTDIR)$(PREFIX)/lib/muster/muster-init
	install -D -m 644 docs/muster.service $(DESTDIR)$(PREFIX)/lib/systemd/system/muster.service
	sed -i 's|/usr/local/|$(PREFIX)/|g' $(DESTDIR)$(PREFIX)/lib/systemd/system/muster.service
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,bash-completion/completions zsh/site-functions fish/vendor_completions.d)
	bin/muster completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/muster
	bin/muster completion zsh  > $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_muster
	bin/muster completion fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/muster.fish

clean: ## remove what build and test leave in the checkout
	rm -rf bin .cache

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
