# shellcheck shell=bash
# An own certificate authority for the servers of the tests. To be sourced after lib.sh.

# tls_make DIR [NAME...]: DIR/ca.pem, and signed by it DIR/server.pem with DIR/server.key (DIR/both.pem holds the
# two) for 127.0.0.1, localhost and the NAMEs (NAME.localhost is a bucket's; *.localhost is a wildcard that
# libcurl finds too wide). For two days: they are made for each run.
tls_make() {
	local dir=$1 names
	shift
	printf -v names ', DNS:%s' localhost "$@"
	mkdir -p "$dir"
	cat >"$dir/openssl.cnf" <<-EOT
		[ca]
		basicConstraints = critical, CA:TRUE
		keyUsage = critical, keyCertSign
		subjectKeyIdentifier = hash
		[server]
		basicConstraints = critical, CA:FALSE
		keyUsage = critical, digitalSignature
		extendedKeyUsage = serverAuth
		authorityKeyIdentifier = keyid
		subjectAltName = IP:127.0.0.1$names
	EOT
	(
		cd "$dir"
		for who in ca server; do
			openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
				-subj "/CN=stowage tests, $who" -keyout "$who.key" -out "$who.csr"
		done
		openssl x509 -req -in ca.csr -signkey ca.key -days 2 -extfile openssl.cnf -extensions ca -out ca.pem
		openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
			-extfile openssl.cnf -extensions server -out server.pem
		cat server.pem server.key >both.pem
	) 2>"$dir/openssl.log" || die "openssl makes no certificates: $(tail -n 3 "$dir/openssl.log")"
}
