#!/usr/bin/env bash
# A Ceph RADOS gateway, the real S3 server of the tests: one monitor, one OSD, one gateway, on loopback, from
# the packages that deps.sh unpacks into build/ceph. No root, no systemd, no Python.
#
# Sourced, after lib.sh, it gives the functions below; all that they start and keep belongs to $RUN.
#
# rgw.sh [--tls] [--bluestore] [--bucket NAME]...: one for another program. It prints RGW_... as name=value, a
# line each, then `ready`; then does what its input says (kill, resume, each answered by `ok`), and ends with
# its input or by SIGTERM.
#
# What its answers depend on, and do not show:
# - 127.0.0.1 is always path style, localhost has virtual hosts too (NAME.localhost, which libcurl resolves).
# - It takes every region, and checks neither x-amz-checksum-... nor If-None-Match on CompleteMultipartUpload.
# - A full memory store blocks instead of failing: RGW_MEMORY is its size in bytes, 4 GiB if unset.
# - With RGW_LC_DAY=SECONDS set, a lifecycle rule's day has that length.
# - With RGW_NICE=N set, its processes have that niceness: a benchmark's gateway stands for another machine, and
#   should take as little as it can of the processors of the one that is measured.

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
	set -euo pipefail
	# shellcheck source=scripts/lib.sh
	. "$(dirname "$0")/../../scripts/lib.sh"
fi
# shellcheck source=tests/s3/tls.sh
. "$(dirname "${BASH_SOURCE[0]}")/tls.sh"

RGW_ACCESS_KEY=STOWAGETESTKEY000001
RGW_SECRET_KEY=stowage/test+secret/00000000000000000001
RGW_REGION=us-east-1
RGW_FSID=5f6c1c3e-0000-4000-8000-000000000001 # of every cluster: none ever meets another

# rgw_start [--tls] [--bluestore] [--bucket NAME]...: sets RGW_ENDPOINT, and with --tls RGW_TLS_ENDPOINT and
# RGW_CA. The store is in memory, and lives as long as its OSD; with --bluestore it outlives rgw_kill.
rgw_start() {
	local tls='' bucket buckets=()
	RGW_STORE=memstore RGW_DIR=$RUN/rgw
	while (($#)); do
		case $1 in
		--tls) tls=yes ;;
		--bluestore) RGW_STORE=bluestore ;;
		--bucket) buckets+=("$2") && shift ;;
		*) die "rgw_start: what is $1?" ;;
		esac
		shift
	done
	mkdir -p "$RGW_DIR"/{mon,osd}
	RGW_CA=
	if [[ -n $tls ]]; then
		tls_make "$RGW_DIR/tls" "${buckets[@]/%/.localhost}"
		RGW_CA=$RGW_DIR/tls/ca.pem
	fi
	rgw_commands
	# Others may take the ports between the choice and the use.
	retry 20 rgw_first_start || die "the gateway does not start: $(tail -qn 3 "$RUN"/rgw*.log "$RGW_DIR"/*.out)"
	for bucket in "${buckets[@]}"; do rgw_bucket "$bucket"; done
}

# rgw_bucket NAME: creates it.
rgw_bucket() { rgw_curl --request PUT "$RGW_ENDPOINT/$1" >/dev/null || die "the gateway makes no bucket $1"; }

# rgw_curl ARGS... URL: signed; fails where the answer is not 2xx.
rgw_curl() {
	curl --silent --show-error --fail --max-time 60 ${RGW_CA:+--cacert "$RGW_CA"} \
		--aws-sigv4 "aws:amz:$RGW_REGION:s3" --user "$RGW_ACCESS_KEY:$RGW_SECRET_KEY" \
		--header 'x-amz-content-sha256: UNSIGNED-PAYLOAD' "$@"
}

# rgw_names ELEMENT BUCKET QUERY: an element's texts, one a line, in the answer to a list, which has at most 1000.
rgw_names() { rgw_curl "$RGW_ENDPOINT/$2?$3" | grep -o "<$1>[^<]*" | sed "s|<$1>||" || true; }

# rgw_admin ARGS...: radosgw-admin, for quotas and users.
rgw_admin() { timeout 60 "${RGW_RUN[@]}" "$RGW_BIN/radosgw-admin" -c "$RGW_DIR/ceph.conf" -n client.rgw.a "$@"; }

# rgw_kill: SIGKILL, to the gateway only where its store is in memory, else to all that there is.
rgw_kill() {
	if [[ $RGW_STORE == bluestore ]]; then rgw_end KILL rgw rgw-osd rgw-mon; else rgw_end KILL rgw; fi
}

# rgw_resume: after rgw_kill, on the same ports, with the same data.
rgw_resume() { rgw_daemons && retry 60 rgw_serves || die "the gateway does not come back: $(tail -qn 3 "$RUN"/rgw*.log)"; }

# --- below here: how it is done --------------------------------------------------------------------------

rgw_commands() {
	local ceph=$TOP/build/ceph lib
	lib=$(dirname "$(find "$ceph/usr/lib" -name rados-classes -type d)")
	[[ -d $lib ]] || die "there is no Ceph in build/ceph: scripts/deps.sh test brings it"
	RGW_BIN=$ceph/bin RGW_LIB=$lib
	RGW_RUN=(env "LD_LIBRARY_PATH=$lib:$lib/ceph:${lib/"$ceph/usr"/"$ceph"}")
}

rgw_end() { # SIGNAL NAME...
	local signal=$1 name
	shift
	for name; do
		if [[ -e $RUN/pids/$name ]]; then end "$name" "$signal"; fi
	done
}

# A port that nobody listens on, below those that the kernel gives away by itself.
rgw_port() {
	local port
	while true; do
		port=$((20000 + RANDOM % 12000))
		if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
			echo "$port"
			return
		fi
	done
}

rgw_config() {
	local port=$1 tls_port=$2 mon_port=$3
	cat <<-EOT
		[global]
		fsid = $RGW_FSID
		mon_host = [v2:127.0.0.1:$mon_port]
		mon_initial_members = a
		public_addr = 127.0.0.1
		cluster_addr = 127.0.0.1
		ms_bind_ipv4 = true
		ms_bind_ipv6 = false
		# No keys. Without them a gateway's wish for encryption towards the monitor is never met: crc.
		keyring = /dev/null
		auth_cluster_required = none
		auth_service_required = none
		auth_client_required = none
		auth_allow_insecure_global_id_reclaim = false
		ms_mon_client_mode = crc
		ms_client_mode = crc
		ms_cluster_mode = crc
		ms_service_mode = crc
		ms_mon_cluster_mode = crc
		ms_mon_service_mode = crc
		# The waits between two changes of the cluster's maps are most of the start's time.
		paxos_propose_interval = 0.05
		paxos_min_wait = 0.01
		mon_client_hunt_interval = 0.5
		# One OSD and no copies.
		osd_pool_default_size = 1
		osd_pool_default_min_size = 1
		osd_pool_default_pg_num = 8
		osd_pool_default_pgp_num = 8
		osd_pool_default_pg_autoscale_mode = off
		osd_crush_chooseleaf_type = 0
		mon_allow_pool_size_one = true
		mon_max_pg_per_osd = 2000
		mon_data_avail_crit = 1
		mon_data_avail_warn = 2
		# Where things are.
		plugin_dir = $RGW_LIB/ceph
		erasure_code_dir = $RGW_LIB/ceph/erasure-code
		osd_class_dir = $RGW_LIB/rados-classes
		mon_data = $RGW_DIR/mon
		osd_data = $RGW_DIR/osd
		rgw_data = $RGW_DIR
		run_dir = $RGW_DIR
		crash_dir = $RGW_DIR
		admin_socket =
		pid_file =
		log_file =
		log_to_stderr = true
		err_to_stderr = true
		mon_cluster_log_to_file = false
		debug_rocksdb = 0/0
		debug_bluestore = 0/0
		debug_bluefs = 0/0
		# The store.
		osd_objectstore = $RGW_STORE
		memstore_device_bytes = ${RGW_MEMORY:-4294967296}
		bluestore_block_size = 21474836480
		bluestore_fsck_on_mount = false
		bluestore_fsck_on_mkfs = false
		osd_memory_target = 1073741824
		osd_crush_update_on_start = false
		osd_class_update_on_start = false
		osd_numa_auto_affinity = false
		osd_fast_shutdown_notify_mon = false
		# A restarted OSD waits as long as another could still be serving reads: two seconds, not sixteen.
		osd_pool_default_read_lease_ratio = 0.1
		# The gateway. What is deleted goes soon, not after two hours.
		rgw_frontends = beast endpoint=127.0.0.1:$port${RGW_CA:+ ssl_endpoint=127.0.0.1:$tls_port ssl_certificate=$RGW_DIR/tls/both.pem}
		rgw_dns_name = localhost
		rgw_thread_pool_size = 64
		rgw_run_sync_thread = false
		rgw_crypt_require_ssl = false
		rgw_gc_obj_min_wait = 5
		rgw_gc_processor_period = 10
		rgw_gc_processor_max_time = 10
		${RGW_LC_DAY:+rgw_lc_debug_interval = $RGW_LC_DAY}
	EOT
}

# The cluster as if it had been there before: its map names the OSD already, which then needs no command to
# the monitor (and no `ceph`, which is Python) to join.
rgw_make_cluster() {
	local conf=$RGW_DIR/ceph.conf
	rm -rf "$RGW_DIR"/{mon,osd,monmap,osdmap}
	mkdir "$RGW_DIR"/{mon,osd}
	{
		"${RGW_RUN[@]}" "$RGW_BIN/monmaptool" -c "$conf" --create --fsid "$RGW_FSID" \
			--addv a "[v2:127.0.0.1:$1]" "$RGW_DIR/monmap" &&
			"${RGW_RUN[@]}" "$RGW_BIN/osdmaptool" -c "$conf" --createsimple 1 "$RGW_DIR/osdmap" &&
			"${RGW_RUN[@]}" "$RGW_BIN/ceph-mon" -c "$conf" -i a --mkfs --monmap "$RGW_DIR/monmap" \
				--osdmap "$RGW_DIR/osdmap" &&
			"${RGW_RUN[@]}" "$RGW_BIN/ceph-osd" -c "$conf" -i 0 --mkfs --no-mon-config --osd-uuid "$(</proc/sys/kernel/random/uuid)"
	} >"$RGW_DIR/mkfs.out" 2>&1
}

rgw_first_start() {
	local port tls_port mon_port
	port=$(rgw_port) tls_port=$(rgw_port) mon_port=$(rgw_port)
	RGW_ENDPOINT=http://127.0.0.1:$port
	RGW_TLS_ENDPOINT=${RGW_CA:+https://localhost:$tls_port}
	rgw_config "$port" "$tls_port" "$mon_port" >"$RGW_DIR/ceph.conf"
	if rgw_make_cluster "$mon_port" && rgw_daemons &&
		rgw_admin user create --uid=stowage --display-name=stowage --access-key="$RGW_ACCESS_KEY" \
			--secret-key="$RGW_SECRET_KEY" >"$RGW_DIR/user.out" 2>&1 &&
		retry 60 rgw_settled && rgw_serves; then
		return 0
	fi
	rgw_end KILL rgw rgw-osd rgw-mon
	return 1
}

# A gateway that comes before its OSD asks the one that was killed, for ten seconds.
rgw_daemons() {
	local conf=$RGW_DIR/ceph.conf nice=(nice -n "${RGW_NICE:-0}")
	running rgw-mon || spawn rgw-mon "${nice[@]}" "${RGW_RUN[@]}" "$RGW_BIN/ceph-mon" -c "$conf" -i a -f
	if ! running rgw-osd; then
		: >"$RUN/rgw-osd.log"
		spawn rgw-osd "${nice[@]}" "${RGW_RUN[@]}" "$RGW_BIN/ceph-osd" -c "$conf" -i 0 -f
		retry 60 rgw_osd_up && running rgw-osd && running rgw-mon || return 1
	fi
	running rgw || spawn rgw "${nice[@]}" "${RGW_RUN[@]}" "$RGW_BIN/radosgw" -c "$conf" -n client.rgw.a -f
}

rgw_osd_up() { grep -q 'booting -> active' "$RUN/rgw-osd.log" || ! running rgw-osd || ! running rgw-mon; }

rgw_serves() { rgw_curl --max-time 5 --output /dev/null "$RGW_ENDPOINT/" 2>/dev/null; }

rgw_settled() { rgw_serves || ! running rgw || ! running rgw-osd || ! running rgw-mon; }

rgw_main() {
	local order
	run_begin
	trap run_end EXIT
	trap 'exit 143' INT TERM HUP
	rgw_start "$@"
	for order in ACCESS_KEY SECRET_KEY REGION ENDPOINT TLS_ENDPOINT CA; do
		order=RGW_$order
		say "$order=${!order}"
	done
	say ready
	while read -r order; do
		case $order in
		kill | resume)
			"rgw_$order"
			say ok
			;;
		*) say "what is $order?" ;;
		esac
	done
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then rgw_main "$@"; fi
