package conformance

import (
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"stowage/s3/control"
	"stowage/s3/faults"
	"stowage/s3/strict"
)

// The bucket of the tests that break it: the strict server (tests/s3/strict), with the fault proxy before it.
// Both are in this process, so that a test sees every request and decides what becomes of it; and the strict
// server takes nothing that any other might refuse. What only a real one can show is in s3_gateway_test.go.

const (
	bucketName   = "layers"
	bucketPrefix = "fleet-a"
	partSize     = 5 << 20 // of the daemons here
)

type bucket struct {
	server *strict.Server
	proxy  *faults.Proxy
	direct string // the server's URL
	url    string // the proxy's
}

// serveHere serves h on loopback until the test ends.
func serveHere(t *testing.T, h http.Handler, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noErr(t, err)
	url := "http://" + l.Addr().String()
	if wrap != nil {
		l = wrap(l)
	}
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return url
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{server: strict.New("localhost", bucketName)}
	b.direct = serveHere(t, b.server, nil)
	b.proxy = faults.New(b.direct)
	b.url = serveHere(t, b.proxy, b.proxy.Listener)
	return b
}

// bucketEnvironment is the configuration for a bucket: small parts, so that few bytes are several, and limits
// that a test has the patience for.
func bucketEnvironment(endpoint string, more ...string) []string {
	return append([]string{
		"STOWAGE_REMOTE_TYPE=s3",
		"STOWAGE_REMOTE_MODE=direct",
		"STOWAGE_REMOTE_S3_ENDPOINT=" + endpoint,
		"STOWAGE_REMOTE_S3_REGION=us-east-1",
		"STOWAGE_REMOTE_S3_BUCKET=" + bucketName,
		"STOWAGE_REMOTE_S3_PREFIX=" + bucketPrefix,
		"STOWAGE_REMOTE_S3_PROXY=direct",
		"STOWAGE_REMOTE_S3_SMALL_BLOB=1MiB",
		"STOWAGE_REMOTE_S3_PART_SIZE=5MiB",
		"STOWAGE_REMOTE_S3_FIRST_BYTE_TIMEOUT=" + slow(3e9).String(),
		"STOWAGE_REMOTE_S3_STALL_TIMEOUT=" + slow(2e9).String(),
	}, more...)
}

// environment is that with the proxy, and with keys that are right.
func (b *bucket) environment(more ...string) []string {
	return bucketEnvironment(b.url, append([]string{
		"STOWAGE_REMOTE_S3_ACCESS_KEY=" + strict.AccessKey,
		"STOWAGE_REMOTE_S3_SECRET_KEY=" + strict.SecretKey,
	}, more...)...)
}

// start runs a daemon on the bucket, and a root of its own.
func (b *bucket) start(t *testing.T, more ...string) *daemon {
	t.Helper()
	return startWith(t, t.TempDir(), b.environment(more...))
}

// ask is one request to a server's control side; the answer's JSON goes to `to`, unless that is nil.
func ask(t *testing.T, h http.Handler, method, path, body string, to interface{}) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if w.Code != http.StatusOK {
		t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	if to != nil {
		noErr(t, json.Unmarshal(w.Body.Bytes(), to))
	}
}

// rules replaces the proxy's rules by this JSON.
func (b *bucket) rules(t *testing.T, rules string) {
	t.Helper()
	ask(t, b.proxy.Control(), "PUT", "/rules", rules, nil)
}

// allApplied demands that each rule has met a request.
func (b *bucket) allApplied(t *testing.T) {
	t.Helper()
	var rules []faults.Rule
	ask(t, b.proxy.Control(), "GET", "/rules", "", &rules)
	for i, r := range rules {
		if r.Applied == 0 {
			t.Errorf("rule %d (%s %s) has met no request", i, r.Method, r.Target)
		}
	}
}

// set replaces those settings of the server that this JSON names.
func (b *bucket) set(t *testing.T, settings string) {
	t.Helper()
	ask(t, b.server.Control(), "PATCH", "/settings", settings, nil)
}

type bucketObject struct {
	Key, SHA256 string
	Size        int
	UploadID    string `json:"upload_id"`
	Parts       []int
}

func (b *bucket) contents(t *testing.T) (objects, uploads []bucketObject) {
	t.Helper()
	var all struct{ Objects, Uploads []bucketObject }
	ask(t, b.server.Control(), "GET", "/objects", "", &all)
	return all.Objects, all.Uploads
}

// requests are those that the server has seen, of one operation.
func (b *bucket) requests(op string) []control.Entry {
	var out []control.Entry
	for _, e := range b.server.Log.Entries() {
		if e.Op == op {
			out = append(out, e)
		}
	}
	return out
}

// sound demands that every object is the blob that its key says.
func (b *bucket) sound(t *testing.T) {
	t.Helper()
	objects, _ := b.contents(t)
	for _, o := range objects {
		if o.Key != bucketPrefix+"/blobs/sha256/"+o.SHA256 {
			t.Errorf("the object %s has %d bytes of sha256:%s", o.Key, o.Size, o.SHA256)
		}
	}
}
