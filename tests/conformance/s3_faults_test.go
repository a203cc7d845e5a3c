package conformance

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"

	"stowage/s3/strict"
)

// What goes wrong between the daemon and its bucket, seen from the client's side.

const (
	smallSize = 100000
	largeSize = 2*partSize + 12345
)

// answer is a rule's status with an S3 error.
func answer(status int, code string) string {
	return fmt.Sprintf(`"status": %d, "headers": {"Content-Type": "application/xml", "x-amz-request-id": "REQ-%s"},
		"body": "<Error><Code>%s</Code><Message>as the test wants it</Message></Error>"`, status, code, code)
}

// Each of these faults passes: the client sees nothing of it, and afterwards all is as it should be.
func TestS3FaultsOvercome(t *testing.T) {
	const (
		onPut      = `"method": "PUT", "target": "/blobs/[^?]*$"`
		onPart2    = `"method": "PUT", "target": "partNumber=2&|partNumber=2$"`
		onCreate   = `"method": "POST", "target": "uploads"`
		onComplete = `"method": "POST", "target": "uploadId="`
		onGet      = `"method": "GET", "target": "/blobs/"`
		onHead     = `"method": "HEAD"`
	)
	twice := func(what, how string) string { return fmt.Sprintf(`{%s, "count": 2, %s}`, what, how) }
	once := func(what, how string) string { return fmt.Sprintf(`{%s, "count": 1, %s}`, what, how) }
	cases := []struct {
		name, rules, settings string
		size                  int
	}{
		{"put: 500", twice(onPut, answer(500, "InternalError")), "", smallSize},
		{"put: 502 without a word", twice(onPut, `"status": 502`), "", smallSize},
		{"put: 503 SlowDown", twice(onPut, answer(503, "SlowDown")), "", smallSize},
		{"put: 429", once(onPut, answer(429, "TooManyRequests")), "", smallSize},
		{"put: 503 before the body was read", once(onPut, answer(503, "SlowDown")+`, "hasty": true`), "", smallSize},
		{"put: reset in the request", twice(onPut, `"reset_request": 1000`), "", smallSize},
		{"put: hangs in the request", once(onPut, `"hang_request": 1000`), "", smallSize},
		{"put: the answer is lost", once(onPut, `"reset_response": -1`), "", smallSize},
		{"put: done, but 500", once(onPut, answer(500, "InternalError")+`, "forward": true`), "", smallSize},
		{"put: the answer never comes", once(onPut, `"hang_response": -1`), "", smallSize},
		{"put: damaged on the way", once(onPut, answer(400, "BadDigest")), "", smallSize},
		{"put: another writes it just now", once(onPut, answer(409, "ConditionalRequestConflict")), "", smallSize},
		{"put: conditions refused", "", `{"conditional_put": "refuse"}`, smallSize},
		{"put: conditions ignored", "", `{"conditional_put": "ignore"}`, smallSize},
		{"part: 500", twice(onPart2, answer(500, "InternalError")), "", largeSize},
		{"part: reset in the request", twice(onPart2, `"reset_request": 3000000`), "", largeSize},
		{"part: hangs in the request", once(onPart2, `"hang_request": 3000000`), "", largeSize},
		{"part: the answer is lost", once(onPart2, `"reset_response": -1`), "", largeSize},
		{"part: another ETag than it has", once(onPart2, `"set_headers": {"ETag": "\"0123456789abcdef0123456789abcdef\""}`), "", largeSize},
		{"part: no ETag", once(onPart2, `"set_headers": {"ETag": ""}`), "", largeSize},
		{"part: the upload is gone", once(onPart2, answer(404, "NoSuchUpload")), "", largeSize},
		{"part: all attempts beside the writing fail", fmt.Sprintf(`{%s, "count": 4, %s}`, onPart2, answer(500, "InternalError")), "", largeSize},
		{"create: 503", twice(onCreate, answer(503, "ServiceUnavailable")), "", largeSize},
		{"complete: 200 and an error", once(onComplete, answer(200, "InternalError")), "", largeSize},
		{"complete: 200 long before it is done", "", `{"early_complete_ms": 300}`, largeSize},
		{"complete: this upload is locked by a gateway that is gone",
			fmt.Sprintf(`{%s, "count": 4, %s}`, onComplete, answer(500, "InternalError")), "", largeSize},
		{"complete: 503", twice(onComplete, answer(503, "SlowDown")), "", largeSize},
		{"complete: the answer is lost", once(onComplete, `"reset_response": -1`), "", largeSize},
		{"complete: done, but 500", once(onComplete, answer(500, "InternalError")+`, "forward": true`), "", largeSize},
		{"complete: done, but 500, and may be repeated", once(onComplete, answer(500, "InternalError")+`, "forward": true`),
			`{"repeated_complete": true}`, largeSize},
		{"complete: the answer breaks off", once(onComplete, `"truncate": 50`), "", largeSize},
		{"complete: conditions refused", "", `{"conditional_complete": "refuse"}`, largeSize},
		{"complete: conditions ignored", "", `{"conditional_complete": "ignore"}`, largeSize},
		{"complete: the object is seen late", `{"method": "HEAD", "after": {"method": "POST", "target": "uploadId="}, "count": 3, "status": 404}`, "", largeSize},
		{"head: 500", twice(onHead, `"status": 500`), "", largeSize},
		{"get: 500", twice(onGet, answer(500, "InternalError")), "", largeSize},
		{"get: 503 SlowDown", twice(onGet, answer(503, "SlowDown")), "", largeSize},
		{"get: breaks off", twice(onGet, `"reset_response": 10000`), "", largeSize},
		{"get: ends too early", twice(onGet, `"truncate": 10000`), "", largeSize},
		{"get: hangs", once(onGet, `"hang_response": 10000`), "", largeSize},
		{"get: never begins", once(onGet, `"hang_response": -1`), "", largeSize},
		{"get: longer than it says", once(onGet, `"surplus": 1000`), "", largeSize},
		{"get: longer than it should be", once(onGet, `"lengthen": 1000`), "", largeSize},
		{"get: another range", once(onGet, `"set_headers": {"Content-Range": "bytes 1-9/99999999"}`), "", largeSize},
		{"get: another ETag", once(onGet, `"set_headers": {"ETag": "\"0123456789abcdef\""}`), "", largeSize},
		{"clock an hour slow", "", `{"clock_offset_s": 3600}`, largeSize},
		{"clock an hour fast", "", `{"clock_offset_s": -3600}`, smallSize},
		{"another region, told by 400", "", `{"region": "eu-central-1"}`, smallSize},
		{"another region, told by 301", "", `{"region": "eu-central-1", "wrong_region": "301"}`, largeSize},
		{"ETags that are no MD5", "", `{"opaque_etags": true}`, largeSize},
		{"who may not list", "", `{"deny": ["ListObjectsV2", "ListMultipartUploads"]}`, largeSize},
	}
	for i, c := range cases {
		c, seed := c, int64(i)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBucket(t)
			if c.settings != "" {
				b.set(t, c.settings)
			}
			if c.rules != "" {
				b.rules(t, c.rules)
			}
			d := b.start(t)
			cl := d.client(t)
			data := noise(seed, c.size)
			// Once with the name known from the start, once not until the end.
			for _, ref := range []string{pullRef(1, sum(data)), "not-known"} {
				_, err := put(ctxFor(t), cl, ref, data, nil)
				noErr(t, err)
				if !bytes.Equal(mustGet(t, cl, sum(data)), data) {
					t.Fatal("other bytes")
				}
				data = noise(seed+1000, c.size)
			}
			b.allApplied(t)
			b.sound(t)
			eventually(t, 10e9, "no upload is left", func() (bool, string) {
				_, uploads := b.contents(t)
				return len(uploads) == 0, fmt.Sprint(uploads)
			})
			if n := ingestFiles(t, d.root); n != 0 {
				t.Errorf("%d stages are left", n)
			}
		})
	}
}

// Each of these does not pass: the client is told what was asked of whom, what came back, and as which request.
func TestS3FaultsTold(t *testing.T) {
	const anyPut, anyGet = `"method": "PUT"`, `"method": "GET"`
	object := func(d digest.Digest) string { return bucketName + "/" + bucketPrefix + "/blobs/sha256/" + d.Hex() }
	always := func(what, how string) string { return fmt.Sprintf(`{%s, %s}`, what, how) }
	post := func(target string) string { return fmt.Sprintf(`"method": "POST", "target": "%s"`, target) }
	cases := []struct {
		name, rules, settings string
		size                  int
		code                  codes.Code
		op                    string
		parts                 []string // beside operation, bucket and key
	}{
		{"put: forbidden", always(anyPut, answer(403, "AccessDenied")), "", smallSize, codes.PermissionDenied,
			"PutObject", []string{"403 AccessDenied", "request REQ-AccessDenied", "as the test wants it"}},
		{"put: no bucket", always(anyPut, answer(404, "NoSuchBucket")), "", smallSize, codes.Internal,
			"PutObject", []string{"404 NoSuchBucket"}},
		{"put: always 500", always(anyPut, answer(500, "InternalError")), "", smallSize, codes.Unavailable,
			"PutObject", []string{"500 InternalError", "request REQ-InternalError", "3 attempts"}},
		{"put: always busy", always(anyPut, answer(503, "SlowDown")), "", smallSize, codes.Unavailable,
			"PutObject", []string{"503 SlowDown", "3 attempts"}},
		{"put: quota", always(anyPut, answer(403, "QuotaExceeded")), "", smallSize, codes.ResourceExhausted,
			"PutObject", []string{"403 QuotaExceeded"}},
		{"put: disks full", always(anyPut, answer(507, "XMinioStorageFull")), "", smallSize, codes.ResourceExhausted,
			"PutObject", []string{"507 XMinioStorageFull"}},
		{"put: always damaged", always(anyPut, answer(400, "XAmzContentChecksumMismatch")), "", smallSize, codes.DataLoss,
			"PutObject", []string{"400 XAmzContentChecksumMismatch"}},
		{"put: always reset", always(anyPut, `"reset_request": 1000`), "", smallSize, codes.Unavailable,
			"PutObject", []string{"3 attempts"}},
		{"put: always hangs", always(anyPut, `"hang_request": 1000`), "", smallSize, codes.Unavailable,
			"PutObject", []string{"3 attempts"}},
		{"put: the token has ended", always(anyPut, answer(400, "ExpiredToken")), "", smallSize, codes.PermissionDenied,
			"PutObject", []string{"400 ExpiredToken"}},
		{"put: encryption wanted", "", `{"require_sse": "aws:kms"}`, smallSize, codes.PermissionDenied,
			"PutObject", []string{"403 AccessDenied"}},
		{"create: forbidden", always(post("uploads"), answer(403, "AccessDenied")), "", largeSize, codes.PermissionDenied,
			"CreateMultipartUpload", []string{"403 AccessDenied"}},
		{"part: forbidden", always(anyPut, answer(403, "AccessDenied")), "", largeSize, codes.PermissionDenied,
			"UploadPart", []string{"403 AccessDenied"}},
		{"complete: 200 and always an error", always(post("uploadId="), answer(200, "InternalError")), "", largeSize, codes.Unavailable,
			"CompleteMultipartUpload", []string{"200 InternalError", "3 attempts"}},
		{"complete: 200 and forbidden", always(post("uploadId="), answer(200, "AccessDenied")), "", largeSize, codes.PermissionDenied,
			"CompleteMultipartUpload", []string{"200 AccessDenied"}},
		{"get: forbidden", always(anyGet, answer(403, "AccessDenied")), "", largeSize, codes.PermissionDenied,
			"GetObject", []string{"403 AccessDenied", "request REQ-AccessDenied"}},
		{"get: always 500", always(anyGet, answer(500, "InternalError")), "", largeSize, codes.Unavailable,
			"GetObject", []string{"500 InternalError", "3 attempts"}},
		{"get: always breaks off", always(anyGet, `"truncate": 10000`), "", largeSize, codes.Unavailable,
			"GetObject", []string{"3 attempts"}},
	}
	for i, c := range cases {
		c, data := c, noise(int64(2000+i), c.size)
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := newBucket(t)
			d := b.start(t, "STOWAGE_REMOTE_S3_MAX_ATTEMPTS=3", "STOWAGE_REMOTE_S3_STALL_TIMEOUT=1s",
				"STOWAGE_REMOTE_S3_FIRST_BYTE_TIMEOUT="+slow(1e9).String())
			cl := d.client(t)
			if c.op == "GetObject" {
				mustPut(t, cl, data)
			}
			if c.settings != "" {
				b.set(t, c.settings)
			}
			if c.rules != "" {
				b.rules(t, c.rules)
			}
			try := func() error {
				if c.op == "GetObject" {
					_, err := get(ctxFor(t), cl, sum(data), 0, 0)
					return err
				}
				_, err := put(ctxFor(t), cl, pullRef(1, sum(data)), data, nil)
				return err
			}
			wantCode(t, try(), c.code, append(c.parts, c.op+" "+object(sum(data)))...)
			b.allApplied(t)
			// And nothing has been spoilt: with the fault gone the same call succeeds.
			b.rules(t, `[]`)
			b.set(t, `{"require_sse": ""}`)
			noErr(t, try())
			if !bytes.Equal(mustGet(t, cl, sum(data)), data) {
				t.Fatal("other bytes")
			}
			b.sound(t)
		})
	}
}

// A bucket that is away: each call fails soon and says so, the daemon goes on, and ends when it is asked to.
func TestS3Away(t *testing.T) {
	b := newBucket(t)
	d := b.start(t, "STOWAGE_REMOTE_S3_MAX_ATTEMPTS=2")
	c := d.client(t)
	data := noise(1, smallSize)
	mustPut(t, c, data)
	d.restart(t, false)
	c = d.client(t)
	b.rules(t, `{"reset_request": 0}`)
	_, err := get(ctxFor(t), c, sum(data), 0, 0)
	wantCode(t, err, codes.Unavailable, "HeadObject", bucketName)
	_, err = put(ctxFor(t), c, "new", noise(2, smallSize), nil)
	wantCode(t, err, codes.Unavailable, "PutObject", bucketName)
	_, err = c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: sum(data)})
	wantCode(t, err, codes.Unavailable, bucketName)
	if l := mustList(t, c); len(l) != 1 {
		t.Fatalf("%d blobs are listed", len(l))
	}
	b.rules(t, `[]`)
	if !bytes.Equal(mustGet(t, c, sum(data)), data) {
		t.Fatal("other bytes")
	}
}

// A bucket that is not the one that was meant is no reason to forget a blob.
func TestS3MissingBucketForgetsNothing(t *testing.T) {
	b := newBucket(t)
	d := b.start(t)
	c := d.client(t)
	data := noise(1, smallSize)
	mustPutLabels(t, c, data, map[string]string{"kept": "yes"})
	d.restart(t, false)
	c = d.client(t)
	b.rules(t, `[{"method": "HEAD", "status": 404}, {"method": "GET", `+answer(404, "NoSuchBucket")+`}]`)
	_, err := get(ctxFor(t), c, sum(data), 0, 0)
	wantCode(t, err, codes.Internal, "NoSuchBucket", bucketName)
	b.rules(t, `[]`)
	if l := mustList(t, c); l[sum(data)].Labels["kept"] != "yes" {
		t.Fatalf("listed: %v", l)
	}
	if !bytes.Equal(mustGet(t, c, sum(data)), data) {
		t.Fatal("other bytes")
	}
}

// A server that asks for patience gets it: Retry-After is waited for.
func TestS3RetryAfter(t *testing.T) {
	t.Parallel()
	b := newBucket(t)
	c := b.start(t).client(t)
	b.rules(t, `{"method": "PUT", "count": 1, "status": 503, "headers": {"Retry-After": "2"}}`)
	begun := time.Now()
	mustPut(t, c, noise(1, smallSize))
	if took := time.Since(begun); took < 2*time.Second {
		t.Errorf("it was there again after %v", took)
	}
	b.allApplied(t)
}

// What sends us elsewhere without naming a region is an error that says so.
func TestS3RedirectTold(t *testing.T) {
	b := newBucket(t)
	c := b.start(t).client(t)
	b.set(t, `{"redirect_to": "http://127.0.0.1:9"}`)
	data := noise(1, smallSize)
	_, err := put(ctxFor(t), c, "redirected", data, nil)
	wantCode(t, err, codes.Internal, "PutObject", bucketName, sum(data).Hex(), "307 TemporaryRedirect", "us-east-1")
}

// The object is written anew by another node of the fleet while it is read: same bytes, another ETag.
func TestS3ReplacedWhileRead(t *testing.T) {
	b := newBucket(t)
	d := b.start(t, "STOWAGE_REMOTE_S3_READ_MEMORY=16MiB")
	c := d.client(t)
	data := noise(1, 40<<20)
	mustPut(t, c, data)
	head, err := get(ctxFor(t), c, sum(data), 0, 1000)
	noErr(t, err)
	// Other sizes of parts, hence another ETag.
	other := b.start(t, "STOWAGE_REMOTE_S3_PART_SIZE=7MiB")
	b.set(t, `{"conditional_complete": "ignore"}`)
	b.rules(t, `{"method": "HEAD", "count": 1, "status": 404}`) // so that it does not find it
	mustPut(t, other.client(t), data)
	b.allApplied(t)
	if n := len(b.requests("CompleteMultipartUpload")); n != 2 {
		t.Fatalf("%d uploads were completed, not two", n)
	}
	rest, err := get(ctxFor(t), c, sum(data), 1000, 0)
	noErr(t, err)
	if !bytes.Equal(append(head, rest...), data) {
		t.Fatal("other bytes")
	}
}

// What everything sent must carry, where it is configured; the strict server refuses what lacks it, or has it
// where it does not belong.
func TestS3Options(t *testing.T) {
	b := newBucket(t)
	b.set(t, `{"owner": "111122223333", "requester_pays": true, "require_sse": "aws:kms"}`)
	c := b.start(t, "STOWAGE_REMOTE_S3_EXPECTED_OWNER=111122223333", "STOWAGE_REMOTE_S3_REQUEST_PAYER=true",
		"STOWAGE_REMOTE_S3_SSE=aws:kms", "STOWAGE_REMOTE_S3_SSE_KMS_KEY=arn:aws:kms:us-east-1:111122223333:key/k",
		"STOWAGE_REMOTE_S3_SSE_KMS_CONTEXT=fleet=a", "STOWAGE_REMOTE_S3_STORAGE_CLASS=STANDARD_IA",
		"STOWAGE_REMOTE_S3_TAGS=team=registry,cost=low", "STOWAGE_REMOTE_S3_USER_AGENT=fleet-a/7",
		"STOWAGE_REMOTE_S3_CHECKSUMS=when_supported").client(t)
	for _, size := range []int{smallSize, largeSize} {
		data := noise(int64(size), size)
		mustPut(t, c, data)
		if !bytes.Equal(mustGet(t, c, sum(data)), data) {
			t.Fatal("other bytes")
		}
	}
	for _, op := range []string{"PutObject", "CreateMultipartUpload"} {
		for _, e := range b.requests(op) {
			for name, want := range map[string]string{
				"x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:us-east-1:111122223333:key/k",
				"x-amz-storage-class":                         "STANDARD_IA",
				"x-amz-tagging":                               "team=registry&cost=low",
			} {
				if e.Header[name] != want {
					t.Errorf("%s with %s: %q, want %q", op, name, e.Header[name], want)
				}
			}
			if e.Header["x-amz-server-side-encryption-context"] == "" {
				t.Errorf("%s without its context", op)
			}
		}
		if len(b.requests(op)) == 0 {
			t.Errorf("there was no %s", op)
		}
	}
	for _, op := range []string{"PutObject", "UploadPart"} {
		for _, e := range b.requests(op) {
			if e.Header["x-amz-checksum-sha256"] == "" || !strings.Contains(e.Header["user-agent"], "fleet-a/7") {
				t.Errorf("%s with checksum %q by %q", op, e.Header["x-amz-checksum-sha256"], e.Header["user-agent"])
			}
		}
	}
}

// Nothing of the keys may be in what the daemon writes or answers.
func TestS3SecretsAreNotTold(t *testing.T) {
	b := newBucket(t)
	d := b.start(t, "STOWAGE_REMOTE_S3_SECRET_KEY=wrong/secret/that/nobody/must/see")
	_, err := put(ctxFor(t), d.client(t), "new", noise(1, smallSize), nil)
	wantCode(t, err, codes.PermissionDenied, "PutObject", "403 SignatureDoesNotMatch")
	for _, text := range []string{err.Error(), d.logTail()} {
		for _, secret := range []string{"nobody/must/see", strict.SecretKey} {
			if strings.Contains(text, secret) {
				t.Errorf("a secret is told: %s", text)
			}
		}
	}
}
