# SPDX-License-Identifier: BSD-2-Clause
# A thin front of Meson: installs what is missing, then builds, demonstrates, checks, measures.
#
#   make demo        build, then let three built-in guests talk through the switch
#   make check       everything that has to hold; CI=true makes a skipped test a failure
#   make check-long  the same with long soaks
#   make bench       side by side with other switches
#   make build       build/lastref only
#   make install     DESTDIR= and PREFIX= as usual (PREFIX: /usr/local)
#   make clean

PREFIX ?= /usr/local
MESON_ARGS ?=

.DEFAULT_GOAL := build
.PHONY: demo check check-long bench build install clean

build:
	@dist/install-packages build
	@dist/configure build $(MESON_ARGS)
	@ninja -C build

demo: build
	@build/lastref demo

check:
	@dist/install-packages build check
	@tests/check

check-long:
	@dist/install-packages build check
	@tests/check --long

bench:
	@dist/install-packages build bench
	@dist/configure build -Dbench=true $(MESON_ARGS)
	@ninja -C build
	@bench/run.py

install:
	@dist/install-packages build
	@dist/configure build -Dprefix='$(PREFIX)' $(MESON_ARGS)
	@ninja -C build
	@meson install -C build --no-rebuild $(if $(DESTDIR),--destdir '$(abspath $(DESTDIR))')

clean:
	rm -rf build build-asan build-tsan build-clang
