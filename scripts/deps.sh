#!/usr/bin/env bash
# deps.sh LEVEL: brings what LEVEL (build, demo, test or bench) needs onto a Debian 12 machine.
#
# Libraries and tools are installed as packages, if they are missing. Packages that bring a service
# (containerd, docker-registry, Ceph) are not installed, for that would start it: they are unpacked into
# build/tools/ and build/ceph/ and used from there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

build=(gcc g++ libc6-dev meson ninja-build pkg-config libgrpc-dev libprotobuf-c-dev protobuf-c-compiler
	liblmdb-dev libssl-dev libtomlplusplus-dev libjansson-dev libre2-dev libcurl4-openssl-dev libexpat1-dev
	libcmocka-dev)
demo=(curl jq busybox-static libseccomp2)
s3=(curl openssl)
go=(golang-go golang-github-containerd-containerd-dev)
checks=(clang libclang-rt-14-dev llvm clang-format universal-ctags bats git)

# Unpacked, not installed; and the programs that must then be there.
tools=(containerd runc docker-registry)
tools_programs=(containerd ctr containerd-shim-runc-v2 runc docker-registry)
ceph=(radosgw ceph-mon ceph-osd ceph-base ceph-common)
ceph_programs=(radosgw radosgw-admin ceph-mon ceph-osd monmaptool osdmaptool)

unpack=()
case ${1:-} in
build) want=("${build[@]}") ;;
demo) want=("${build[@]}" "${demo[@]}") unpack=(tools) ;;
test) want=("${build[@]}" "${demo[@]}" "${s3[@]}" "${go[@]}" "${checks[@]}") unpack=(tools ceph) ;;
bench) want=("${build[@]}" "${demo[@]}" "${s3[@]}" "${go[@]}" awscli) unpack=(tools ceph) ;;
*)
	echo "usage: $0 build|demo|test|bench" >&2
	exit 2
	;;
esac

export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
apt() { apt-get -q -o Acquire::Retries=3 -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 "$@"; }

# loud COMMAND...: silent while all is well; shows everything if it fails.
loud() {
	local out
	out=$(mktemp)
	if ! "$@" >"$out" 2>&1; then
		tail -n 40 "$out" >&2
		rm -f "$out"
		die "failed: $*"
	fi
	rm -f "$out"
}

missing_packages() {
	local p
	for p in "${want[@]}"; do
		[[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || echo "$p"
	done
}

# unpacked tools|ceph: whether it is there.
unpacked() {
	local -n needed=$1_programs
	local p
	for p in "${needed[@]}"; do [[ -x $TOP/build/$1/bin/$p ]] || return 1; done
}

missing_unpacked() {
	local set
	for set in "${unpack[@]}"; do unpacked "$set" || echo "$set"; done
}

updated=
update_lists() {
	[[ -z $updated ]] || return 0
	say "    reading the package lists"
	loud apt update
	updated=yes
}

install_packages() {
	say "    installing ${#missing[@]} packages: ${missing[*]}"
	update_lists
	loud apt install -y --no-install-recommends "${missing[@]}"
}

# The libraries that a set's packages need and that are not installed. What else they depend on, from lvm2
# to smartmontools, is for machines that keep disks.
missing_libraries() { # PACKAGE...
	apt --simulate install --no-install-recommends "$@" | awk '$1 == "Inst" && $2 ~ /^lib/ { print $2 }'
}

# unpack_set tools|ceph: its packages' files, below build/SET, the programs in build/SET/bin.
unpack_set() {
	local set=$1 dir=$TOP/build/$1.new deb p libraries=()
	local -n packages=$set programs=${set}_programs
	say "    unpacking ${packages[*]} into build/$set (not installed: no service is started)"
	rm -rf "$dir"
	mkdir -p "$dir/bin"
	if [[ $set == ceph ]]; then
		missing_libraries "${packages[@]}" >"$dir/libraries" 2>/dev/null || {
			update_lists
			missing_libraries "${packages[@]}" >"$dir/libraries"
		}
		mapfile -t libraries <"$dir/libraries"
	fi
	if ! (cd "$dir" && apt download "${packages[@]}" "${libraries[@]}") >/dev/null 2>&1; then
		update_lists
		(cd "$dir" && loud apt download "${packages[@]}" "${libraries[@]}")
	fi
	for deb in "$dir"/*.deb; do dpkg-deb --extract "$deb" "$dir"; done
	rm -f "$dir"/*.deb
	for p in "${programs[@]}"; do
		deb=$(find "$dir/usr" -path "*bin/$p" -type f | head -n 1)
		[[ -n $deb ]] || die "the packages ${packages[*]} hold no $p"
		ln -s "../${deb#"$dir"/}" "$dir/bin/$p"
	done
	rm -rf "$TOP/build/$set"
	mv "$dir" "$TOP/build/$set"
}

[[ -r /etc/debian_version ]] || die "this is no Debian: install what scripts/deps.sh lists by hand"
mapfile -t missing < <(missing_packages)
mapfile -t unpack < <(missing_unpacked)
if ((${#missing[@]} == 0 && ${#unpack[@]} == 0)); then
	exit 0
fi
step "Fetching what is missing ($1)"
if ((${#missing[@]} > 0)); then
	((EUID == 0)) || die "not root, and these packages are missing: ${missing[*]}
Install them (apt-get install --no-install-recommends ${missing[*]}) or run this as root."
	install_packages
fi
for set in "${unpack[@]}"; do unpack_set "$set"; done
