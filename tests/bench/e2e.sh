#!/usr/bin/env bash
# e2e.sh RUNS DIR ROUNDS MB gzip|plain GOPROXY [CONFIG ENDPOINT BUCKET]: the end-to-end rows of the benchmark. A
# private registry with an image of MB megabytes is on the tmpfs RUNS; a private containerd, fresh for each
# measurement, keeps its blobs and snapshots below DIR: with Stowage, with GOPROXY, and with its built-in store.
#
# A gzip image is what registries have: this machine's own programs and libraries, compressed. A plain one is a few
# files of noise, not compressed: the most that reading can cost, since nothing else takes any time.
#
# With a bucket it is two nodes of a fleet in turn, each with nothing of its own at first: one that finds nothing in
# the bucket, beside Stowage without a bucket (`local`), and one that finds everything there, beside the built-in
# store. CONFIG is of a Stowage on the bucket, but for its root, and for its prefix, which follows at the end.
#
# Prints a line for each measurement, as "pull stowage 1.234", and nothing else. bench runs it.
set -euo pipefail
RUNS=$1 DIR=$2 ROUNDS=$3 MB=$4 KIND=$5 GOPROXY=$6 CONFIG=${7:-} RGW_ENDPOINT=${8:-} BUCKET=${9:-}
export RUNS
here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=scripts/lib.sh
. "$here/../../scripts/lib.sh"
# shellcheck source=scripts/images.sh
. "$here/../../scripts/images.sh"
# shellcheck source=tests/s3/rgw.sh
. "$here/../s3/rgw.sh"
RGW_CA=

# What is measured must not share a disk's queue with our own output, and must not name our socket's store.
eval "stock_$(declare -f containerd_config)"
containerd_config() {
	if [[ $WHO == built-in ]]; then
		stock_containerd_config | sed -e '/"io.containerd.content.v1.content",/d' -e '/^\[proxy_plugins/,$d'
	else
		stock_containerd_config
	fi
}

# clean_end: all that was started, and both directories.
clean_end() {
	trap - EXIT INT TERM
	node_end
	RUN=$REGISTRY_RUN run_end
}
trap clean_end EXIT
trap 'exit 130' INT TERM

# system_layers: so many files below /usr, in the order of their names, that gzip makes some MB of them: programs,
# libraries and texts come down to 0.36 of their size or so. A small machine's are taken again.
system_layers() {
	local layer=$((MB * 2800000 / LAYERS)) list=$IMAGE_DIR/files i
	(cd / && find usr/lib usr/share -xdev -type f -size -64M -printf '%s %p\n') | LC_ALL=C sort -k 2 >"$list"
	awk -v layer="$layer" -v n="$LAYERS" '
		{ i = int(sum / layer); sum += $1; sub(/^[0-9]+ /, "") }
		i < n { print >(FILENAME "." i) }
		END { exit sum < layer * n }' "$list" "$list" "$list" "$list" "$list" ||
		die "there are too few files below /usr for an image of $MB MB"
	for ((i = 0; i < LAYERS; i++)); do
		tar --create --file "$IMAGE_DIR/layer.tar" --directory / --files-from "$list.$i"
		layer_add "$IMAGE_DIR/layer.tar" gzip
	done
}

# node_begin WHO: a server, if there is one, and a containerd, on empty directories. `fleet` is on the bucket.
node_begin() {
	WHO=$1
	run_begin
	NODE_RUN=$RUN
	NODE_DATA=$(mktemp -d "$DIR/node.XXXXXX")
	mkdir -p "$NODE_DATA"/{store,containerd}
	ln -s "$NODE_DATA/store" "$RUN/store"
	ln -s "$NODE_DATA/containerd" "$RUN/containerd"
	DAEMON_FLAGS=()
	case $WHO in
	stowage | local) stowage_start ;;
	fleet)
		{ echo "root = \"$RUN/store\"" && cat "$CONFIG" && echo "prefix = \"$PREFIX\""; } >"$RUN/stowage.toml"
		DAEMON_FLAGS=(--config "$RUN/stowage.toml")
		stowage_start
		;;
	go-proxy)
		spawn stowage "$GOPROXY" "$RUN/store" "$RUN/stowage.sock"
		retry 20 stowage_up || die "go-proxy does not start: $(tail -n 5 "$RUN/stowage.log")"
		;;
	esac
	containerd_start
}

node_end() {
	if [[ -n ${NODE_RUN:-} && -d $NODE_RUN ]]; then RUN=$NODE_RUN run_end; fi
	if [[ -n ${NODE_DATA:-} ]]; then rm -rf --one-file-system "$NODE_DATA"; fi
	NODE_RUN='' NODE_DATA=''
}

# timed NAME WHO COMMAND...
timed() {
	local name=$1 who=$2 start end
	shift 2
	sync -f "$DIR"
	start=$EPOCHREALTIME
	if ! "$@" >"$RUN/timed.out" 2>&1; then
		tail -n 5 "$RUN/timed.out" >&2
		show_logs >&2
		die "$who: $* failed"
	fi
	end=$EPOCHREALTIME
	echo "$name $who $(((${end/./} - ${start/./}) / 1000))" | awk '{ printf "%s %s %.3f\n", $1, $2, $3 / 1000 }'
}

# The proof that it worked on the store that is meant.
layers_there() {
	local root=$RUN/store n
	if [[ $WHO == built-in ]]; then root=$RUN/containerd/root/io.containerd.content.v1.content; fi
	n=$(find "$root/blobs/sha256" -type f -size +4M | wc -l)
	((n == LAYERS)) || die "$WHO: $n large blobs in $root instead of $LAYERS"
}

# The blobs that the registry was asked for, so far.
asked_for() { grep -F 'msg="response completed"' "$REGISTRY_RUN/registry.log" | grep -cE 'http.request.method=GET .*/blobs/' || true; }

# pull NAME WHO
pull() {
	timed "$1" "$2" pctr images pull --plain-http "$REGISTRY/bench:latest"
	layers_there
}

# store_rounds: without a bucket.
store_rounds() {
	local round who
	for ((round = 0; round < ROUNDS; round++)); do
		for who in stowage go-proxy built-in; do
			node_begin "$who"
			timed fetch "$who" pctr content fetch --plain-http "$REGISTRY/bench:latest"
			layers_there
			node_end
			node_begin "$who"
			pull pull "$who"
			node_end
		done
	done
}

# fleet_rounds: each below a prefix of its own.
fleet_rounds() {
	local round asked
	for ((round = 0; round < ROUNDS; round++)); do
		PREFIX=$(basename "$REGISTRY_RUN")-$round
		node_begin local
		pull first local
		node_end

		node_begin fleet
		pull first stowage
		plain_env
		timed flush stowage "${PLAIN[@]}" "$STOWAGE_BIN" flush --config "$RUN/stowage.toml" \
			--address "$RUN/stowage.sock" --timeout 2m
		node_end

		node_begin built-in
		pull second built-in
		node_end

		asked=$(asked_for)
		node_begin fleet
		pull second stowage
		(($(asked_for) == asked)) || die "the second node has asked the registry for blobs"
		node_end
		bucket_empty
	done
}

# bucket_empty: what is below the prefix; the gateway has only so much memory.
bucket_empty() {
	local key
	rgw_names Key "$BUCKET" "list-type=2&prefix=$PREFIX%2F" | while read -r key; do
		rgw_curl --request DELETE "$RGW_ENDPOINT/$BUCKET/$key"
	done
}

run_begin
REGISTRY_RUN=$RUN
registry_start
LAYERS=5
image_begin bench
layer_busybox
case $KIND in
gzip) system_layers ;;
plain) for ((i = 0; i < LAYERS; i++)); do layer_noise $((MB * 1000000 / 1048576 / LAYERS)); done ;;
esac
image_push latest
rm -rf "$RUN/images"
mkdir -p "$DIR"
choose_snapshotter

if [[ -n $CONFIG ]]; then fleet_rounds; else store_rounds; fi
