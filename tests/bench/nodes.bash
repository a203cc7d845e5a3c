# shellcheck shell=bash
# The nodes of the benchmark's end-to-end rows. To be sourced, with
#
#   RUNS    a tmpfs for registries, sockets and logs
#   DIR     where a node's blobs and snapshots are
#   MB      the size of the image bench:latest, in megabytes
#
# Every node has a private containerd, fresh for each measurement. A line is printed for each measurement, as
# "pull stowage 1.234", and nothing else.

export RUNS
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
# shellcheck source=scripts/images.sh
. "$TOP/scripts/images.sh"

# What is measured must not share a disk's queue with our own output, and must not name our socket's store.
eval "stock_$(declare -f containerd_config)"
containerd_config() {
	if [[ $WHO == built-in ]]; then
		stock_containerd_config | sed -e '/"io.containerd.content.v1.content",/d' -e '/^\[proxy_plugins/,$d'
	else
		stock_containerd_config
	fi
}

# node_begin WHO: a server, if there is one, and a containerd, on empty directories. server_of WHO, where it is
# defined, starts what is neither Stowage on a directory nor containerd's built-in store.
node_begin() {
	WHO=$1
	run_begin
	NODE_RUN=$RUN
	NODE_DATA=$(mktemp -d "$DIR/node.XXXXXX")
	mkdir -p "$NODE_DATA"/{store,containerd}
	ln -s "$NODE_DATA/store" "$RUN/store"
	ln -s "$NODE_DATA/containerd" "$RUN/containerd"
	case $WHO in
	stowage | local) stowage_start ;;
	built-in) ;;
	*) server_of "$WHO" ;;
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

# layers_there: the proof that it worked on the store that is meant.
layers_there() {
	local root=$RUN/store n
	if [[ $WHO == built-in ]]; then root=$RUN/containerd/root/io.containerd.content.v1.content; fi
	n=$(find "$root/blobs/sha256" -type f -size +4M | wc -l)
	((n == LAYERS)) || die "$WHO: $n large blobs in $root instead of $LAYERS"
}

# image_serve: a registry with the image, which outlives the nodes.
image_serve() {
	local i
	run_begin
	REGISTRY_RUN=$RUN
	registry_start
	LAYERS=5
	image_begin bench
	layer_busybox
	for ((i = 0; i < LAYERS; i++)); do layer_noise $((MB * 1000000 / 1048576 / LAYERS)); done
	image_push latest
	rm -rf "$RUN/images"
	mkdir -p "$DIR"
	choose_snapshotter
}

# clean_end: all that was started, and both directories.
clean_end() {
	trap - EXIT INT TERM
	node_end
	RUN=${REGISTRY_RUN:-} run_end
}
trap clean_end EXIT
trap 'exit 130' INT TERM
