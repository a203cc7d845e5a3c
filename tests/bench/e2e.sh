#!/usr/bin/env bash
# e2e.sh RUNS DIR ROUNDS MB GOPROXY: the end-to-end row of the benchmark (see nodes.bash), with Stowage, with GOPROXY,
# and with containerd's built-in store. bench runs it.
set -euo pipefail
RUNS=$1 DIR=$2 ROUNDS=$3 MB=$4 GOPROXY=$5
# shellcheck source=tests/bench/nodes.bash
. "$(dirname "${BASH_SOURCE[0]}")/nodes.bash"

server_of() {
	spawn stowage "$GOPROXY" "$RUN/store" "$RUN/stowage.sock"
	retry 20 stowage_up || die "go-proxy does not start: $(tail -n 5 "$RUN/stowage.log")"
}

image_serve
for ((round = 0; round < ROUNDS; round++)); do
	for who in stowage go-proxy built-in; do
		node_begin "$who"
		timed fetch "$who" pctr content fetch --plain-http "$REGISTRY/bench:latest"
		layers_there
		node_end
		node_begin "$who"
		timed pull "$who" pctr images pull --plain-http "$REGISTRY/bench:latest"
		layers_there
		node_end
	done
done
