# shellcheck shell=bash
# The two stores that the tests run on, looked at from behind:
#
#   store_begin         before Stowage starts
#   blob_file DIGEST    a file with what is stored under it
#   stored DIGEST       whether anything is
#   stored_count        how many blobs are

case ${STOWAGE_E2E_STORE:-local} in
local)
	store_begin() { :; }
	blob_file() { echo "$RUN/store/blobs/${1/://}"; }
	stored() { [[ -f $(blob_file "$1") ]]; }
	stored_count() { find "$RUN/store/blobs" -type f | wc -l; }
	;;
s3)
	# shellcheck source=tests/s3/rgw.sh
	. "$BATS_TEST_DIRNAME/../s3/rgw.sh"

	BUCKET=layers PREFIX=fleet-a

	store_begin() {
		rgw_start --tls --bucket "$BUCKET"
		mkdir "$RUN/bucket"
		store_config "$RGW_ENDPOINT"
	}

	# store_config ENDPOINT: what stowage_start uses from now on.
	store_config() {
		cat >"$RUN/stowage.toml" <<-EOT
			root = "$RUN/store"
			[remote]
			type = "s3"
			mode = "direct"
			[remote.s3]
			endpoint = "$1"
			bucket = "$BUCKET"
			prefix = "$PREFIX"
			access_key = "$RGW_ACCESS_KEY"
			secret_key = "$RGW_SECRET_KEY"
			ca_file = "$RGW_CA"
		EOT
		# shellcheck disable=SC2034 # lib.sh reads it
		DAEMON_FLAGS=(--config "$RUN/stowage.toml")
	}

	blob_url() { echo "$RGW_ENDPOINT/$BUCKET/$PREFIX/blobs/${1/://}"; }

	blob_file() {
		local file=$RUN/bucket/${1/:/-}
		rgw_curl --output "$file" "$(blob_url "$1")" || rm -f "$file"
		echo "$file"
	}

	stored() { rgw_curl --head --output /dev/null "$(blob_url "$1")" 2>/dev/null; }

	stored_count() { rgw_names Key "$BUCKET" "list-type=2&prefix=$PREFIX%2Fblobs%2F" | wc -l; }
	# Uploads that were begun and neither completed nor aborted.
	open_uploads() { rgw_names UploadId "$BUCKET" 'uploads='; }
	;;
*) die "STOWAGE_E2E_STORE must be local or s3, not $STOWAGE_E2E_STORE" ;;
esac
