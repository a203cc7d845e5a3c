# shellcheck shell=bash
# Go, for the tests and the benchmark: Debian's own compiler and Debian's packages, nothing from the network.
# To be sourced after lib.sh.

# go_tool ARGS...: `go` with nothing in its surroundings that could lead it elsewhere. Packages of ours are
# found below stowage/: stowage/conformance is tests/conformance.
go_tool() {
	local path=$TOP/build/go
	mkdir -p "$path/src"
	ln -sfn "$TOP/tests" "$path/src/stowage"
	env -u GOROOT -u GOTOOLCHAIN -u GOFLAGS -u GOENV -u GOBIN \
		GO111MODULE=off GOENV=off GOTELEMETRY=off GOPATH="$path:/usr/share/gocode" GOCACHE="$path/cache" \
		/usr/lib/go/bin/go "$@"
}
