package strict

// Settings are what tests change while the server runs, by the names of their JSON. Operations are named as in
// the S3 API: PutObject, CreateMultipartUpload, ListObjectsV2 …
type Settings struct {
	// Deny answers these operations with 403 AccessDenied, Missing with 501 NotImplemented. "PutObject a/b/" denies
	// what it names for keys (or a listing's prefix) that begin so, as a policy's Resource does. Who may not list
	// (ListObjectsV2 denied) is not told either that a key does not exist: 403 instead of 404, as on S3.
	Deny    []string `json:"deny"`
	Missing []string `json:"missing"`

	// If-None-Match on PutObject and on CompleteMultipartUpload: "check", "refuse" (501) or "ignore".
	ConditionalPut      string `json:"conditional_put"`
	ConditionalComplete string `json:"conditional_complete"`

	// ClockOffset (seconds) is added to the server's clock.
	ClockOffset int `json:"clock_offset_s"`

	// Region is that of all buckets. A request signed for another is answered 400 AuthorizationHeaderMalformed,
	// or 301 PermanentRedirect with WrongRegion "301"; both name the right one.
	Region      string `json:"region"`
	WrongRegion string `json:"wrong_region"`
	// RedirectTo (URL without a path) answers every request with 307 to the same target there.
	RedirectTo string `json:"redirect_to"`

	// Owner is the account that x-amz-expected-bucket-owner must name, where it is sent.
	Owner         string `json:"owner"`
	RequesterPays bool   `json:"requester_pays"`
	// RequireSSE: 403 for objects that do not ask for this x-amz-server-side-encryption, as policies do.
	RequireSSE string `json:"require_sse"`
	// RequireChecksum: 400 for bodies with neither Content-MD5 nor x-amz-checksum-…, as under an object lock.
	RequireChecksum bool `json:"require_checksum"`

	// Addressing: "both", "path" or "virtual".
	Addressing string `json:"addressing"`
	// UnsignedHTTP takes UNSIGNED-PAYLOAD without TLS too.
	UnsignedHTTP bool `json:"unsigned_payload_http"`
	// OpaqueETags: ETags are no MD5, as under SSE-KMS.
	OpaqueETags bool `json:"opaque_etags"`
	// EarlyComplete sends the head of CompleteMultipartUpload's answer (200) and blanks for so many milliseconds
	// before the work is done; an error then comes in the body. 0: the status says how it went.
	EarlyComplete int `json:"early_complete_ms"`
	// RepeatedComplete: a second CompleteMultipartUpload after a good one succeeds, as on S3 for a while; else 404.
	RepeatedComplete bool `json:"repeated_complete"`

	// Caps of pages and the smallest part (bytes), to be lowered by tests.
	PageSize    int   `json:"page_size"`
	MinPartSize int64 `json:"min_part_size"`
}

func initialSettings() Settings {
	return Settings{
		Deny: []string{}, Missing: []string{},
		ConditionalPut: "check", ConditionalComplete: "check",
		Region: "us-east-1", WrongRegion: "400", Owner: "111122223333", Addressing: "both",
		PageSize: 1000, MinPartSize: 5 << 20,
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}
