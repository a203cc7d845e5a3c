#!/bin/bash
# The layers, as a program: which folder may include which, and where each foreign header may be seen.
# Usage: check_includes.sh [SOURCE_ROOT]
set -u
. "$(dirname "$0")/check_files.sh"
check_root "${1:-}"

mapfile -t files < <(check_files '*.c' '*.h' '*.cc')
check_some ${#files[@]}

awk '
function complain(text) {
	printf "%s:%d: %s\n", FILENAME, FNR, text
	bad = 1
}
# The layer of a path; "" for what is none of ours.
function layer(path) {
	if (path ~ /^content\/base\//)
		return "base"
	if (match(path, /^(cmd|conf|proto|content|backends|tests)\//))
		return substr(path, 1, RLENGTH - 1)
	return ""
}
function folder(path) {
	sub(/[^\/]*$/, "", path)
	return path
}
BEGIN {
	may["base"] = " base "
	may["content"] = " content base "
	may["backends"] = " backends content base "
	may["proto"] = " proto content base "
	may["conf"] = " conf base "
	may["cmd"] = " cmd conf proto backends content base "
	may["tests"] = " tests cmd conf proto backends content base "

	# Foreign headers and their homes. tests/ may include anything.
	n = 0
	header[++n] = "^(grpc|grpcpp|grpc\\+\\+)/"; home[n] = "^proto/"
	header[++n] = "^(protobuf-c/|google/protobuf)"; home[n] = "^proto/"
	header[++n] = "\\.pb-c\\.h$"; home[n] = "^proto/"
	header[++n] = "^lmdb\\.h$"; home[n] = "^content/meta[^/]*\\.c$|^content/meta[^/]*_internal\\.h$"
	header[++n] = "^jansson"; home[n] = "^cmd/output\\.c$|^backends/s3/creds_document\\.c$|^backends/tiered/manifest\\.c$"
	header[++n] = "^openssl/"; home[n] = "^content/base/"
	header[++n] = "^(toml\\+\\+/|toml\\.hpp$)"; home[n] = "^conf/toml\\.cc$"
	header[++n] = "^absl/"; home[n] = "^proto/abseil\\.cc$"
	header[++n] = "^re2/"; home[n] = "^content/base/regex\\.cc$"
	header[++n] = "^curl/"; home[n] = "^backends/s3/http_curl\\.c$"
	header[++n] = "^expat"; home[n] = "^backends/s3/xml\\.c$"
}
FNR == 1 {
	self = layer(FILENAME)
	if (self == "")
		complain("this folder has no place in the layers")
}
/^[ \t]*#[ \t]*include[ \t]*["<]/ {
	quoted = $0 ~ /include[ \t]*"/
	path = $0
	sub(/^[^"<]*["<]/, "", path)
	sub(/[">].*$/, "", path)

	if (self != "tests")
		for (i = 1; i <= n; i++)
			if (path ~ header[i] && FILENAME !~ home[i])
				complain(path " may be included in " home[i] " only")
	target = layer(path)
	if (target == "") {
		if (quoted)
			complain("\"" path "\" is not rooted: write the path from the source root")
		next
	}
	if (!quoted)
		complain("<" path "> is ours: write it in double quotes")
	if (index(may[self], " " target " ") == 0)
		complain(self " may not include " target " (" path ")")
	if (path ~ /_internal\.h$/ && folder(path) != folder(FILENAME) && self != "tests")
		complain(path " is for its own folder")
}
END { exit bad }
' "${files[@]}"
