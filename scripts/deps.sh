#!/usr/bin/env bash
# deps.sh LEVEL: brings what LEVEL (build, demo, test or bench) needs onto a Debian 12 machine.
#
# Libraries and tools are installed as packages, if they are missing. Packages that bring a service
# (containerd, docker-registry) are not installed, for that would start it: they are unpacked into
# build/tools/ and used from there.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

build=(gcc g++ libc6-dev meson ninja-build pkg-config libgrpc-dev libprotobuf-c-dev protobuf-c-compiler
	liblmdb-dev libssl-dev libtomlplusplus-dev libjansson-dev libre2-dev libcurl4-openssl-dev libexpat1-dev
	libcmocka-dev)
demo=(curl jq busybox-static libseccomp2)
go=(golang-go golang-github-containerd-containerd-dev)
checks=(clang libclang-rt-14-dev llvm clang-format universal-ctags bats git)

tools=(containerd runc docker-registry) # unpacked, not installed
programs=(containerd ctr containerd-shim-runc-v2 runc docker-registry)

case ${1:-} in
build) want=("${build[@]}") unpack=() ;;
demo) want=("${build[@]}" "${demo[@]}") unpack=("${tools[@]}") ;;
test) want=("${build[@]}" "${demo[@]}" "${go[@]}" "${checks[@]}") unpack=("${tools[@]}") ;;
bench) want=("${build[@]}" "${demo[@]}" "${go[@]}") unpack=("${tools[@]}") ;;
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

tools_there() {
	local p
	for p in "${programs[@]}"; do [[ -x $TOOLS/bin/$p ]] || return 1; done
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

# A package's files, below build/tools, its programs in build/tools/bin.
unpack_tools() {
	local dir=$TOOLS.new deb p
	say "    unpacking ${unpack[*]} into ${TOOLS#"$TOP"/} (not installed: no service is started)"
	rm -rf "$dir"
	mkdir -p "$dir/bin"
	if ! (cd "$dir" && apt download "${unpack[@]}") >/dev/null 2>&1; then
		update_lists
		(cd "$dir" && loud apt download "${unpack[@]}")
	fi
	for deb in "$dir"/*.deb; do dpkg-deb --extract "$deb" "$dir"; done
	rm -f "$dir"/*.deb
	for p in "${programs[@]}"; do
		deb=$(find "$dir/usr" -path "*bin/$p" -type f | head -n 1)
		[[ -n $deb ]] || die "the packages ${unpack[*]} hold no $p"
		ln -s "../${deb#"$dir"/}" "$dir/bin/$p"
	done
	rm -rf "$TOOLS"
	mv "$dir" "$TOOLS"
}

[[ -r /etc/debian_version ]] || die "this is no Debian: install what scripts/deps.sh lists by hand"
mapfile -t missing < <(missing_packages)
if ((${#missing[@]} == 0)) && { ((${#unpack[@]} == 0)) || tools_there; }; then
	exit 0
fi
step "Fetching what is missing ($1)"
if ((${#missing[@]} > 0)); then
	((EUID == 0)) || die "not root, and these packages are missing: ${missing[*]}
Install them (apt-get install --no-install-recommends ${missing[*]}) or run this as root."
	install_packages
fi
if ((${#unpack[@]} > 0)) && ! tools_there; then unpack_tools; fi
