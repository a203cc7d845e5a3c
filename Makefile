# A thin front: meson builds, scripts/ does the rest.
#
#   make            the daemon, in build/
#   make demo       shows Stowage at work; two minutes the first time, with what it installs and builds
#   make test       everything there is to test
#   make bench      measures it against containerd's own store; BENCH="--quick --rows 1,4" and so on
#   make install    DESTDIR= PREFIX=

PREFIX ?= /usr/local

.PHONY: all build deps demo test bench install clean
all: build

deps:
	@scripts/deps.sh build

build: deps
	@scripts/build.sh build --buildtype=release

demo:
	@scripts/demo.sh

test:
	@scripts/test.sh

bench:
	@scripts/deps.sh bench
	@scripts/build.sh build --buildtype=release
	@tests/bench/run.sh $(BENCH)

install: build
	@meson configure build --prefix=$(PREFIX)
	@meson install -C build $(if $(DESTDIR),--destdir=$(DESTDIR))

clean:
	rm -rf build build-asan build-tsan
