// Package strict is an S3 server in memory that takes nothing that some S3 server might refuse. It is there for
// what the Ceph gateway lets pass: every header that must be signed, regions, checksums, conditional
// completion, the order and size of parts; and for what a bucket may refuse, which tests set.
//
// What Stowage does not use is answered 501: object versions, ACLs, copies, list version 1, chunked payloads.
package strict

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"stowage/s3/control"
	"stowage/s3/identity"
	"stowage/s3/sigv4"
)

// The credentials that a server knows from the start. It knows those that the servers in identity issue, too.
const (
	AccessKey = "AKIASTOWAGETEST00001"
	SecretKey = "stowage/test+secret/00000000000000000001"
)

// Server is an http.Handler for S3; Control is that for the tests.
type Server struct {
	Settings *control.Settings[Settings]
	Log      *control.Log
	domain   string // virtual hosts are BUCKET.domain

	mu      sync.Mutex
	buckets map[string]*bucket
}

// New has these buckets, empty.
func New(domain string, buckets ...string) *Server {
	s := &Server{Settings: control.NewSettings(initialSettings), Log: &control.Log{}, domain: domain,
		buckets: map[string]*bucket{}}
	for _, b := range buckets {
		s.buckets[b] = newBucket()
	}
	return s
}

// request is one on its way through.
type request struct {
	*http.Request
	s     *Server
	set   Settings
	w     http.ResponseWriter
	entry *control.Entry
	now   time.Time
	query url.Values
	claim *sigv4.Claim

	op, bucket, key string
	id              string
	body            *countingReader
	sums            sums
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func randomID() string {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err)
	}
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

func (s *Server) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	set := s.Settings.Get()
	r := &request{Request: hr, s: s, set: set, w: w, entry: control.NewEntry(hr), id: randomID(),
		now: time.Now().Add(time.Duration(set.ClockOffset) * time.Second), body: &countingReader{r: hr.Body}}
	h := w.Header()
	h.Set("Date", r.now.UTC().Format(http.TimeFormat))
	h.Set("Server", "stowage-strict")
	h.Set("X-Amz-Request-Id", r.id)
	h.Set("X-Amz-Id-2", "host-"+r.id)
	if f := r.serve(); f != nil {
		r.fail(f)
	}
	r.entry.Bytes = r.body.n
	r.entry.Op, r.entry.Bucket, r.entry.Key = r.op, r.bucket, r.key
	if r.claim != nil {
		r.entry.AccessKey, r.entry.Region = r.claim.AccessKey, r.claim.Scope.Region
	}
	s.Log.Add(r.entry)
}

// answer sends the head; the body, if any, is the caller's to write.
func (r *request) answer(status int) {
	r.entry.Status = status
	r.w.WriteHeader(status)
}

func (r *request) answerXML(v interface{}) *sigv4.Fault {
	r.w.Header().Set("Content-Type", "application/xml")
	r.answer(http.StatusOK)
	io.WriteString(r.w, xml.Header)
	xml.NewEncoder(r.w).Encode(v)
	return nil
}

func (r *request) serve() *sigv4.Fault {
	if f := r.address(); f != nil {
		return f
	}
	if f := r.nameOperation(); f != nil {
		return f
	}
	if r.set.RedirectTo != "" {
		r.w.Header().Set("Location", r.set.RedirectTo+r.RequestURI)
		f := bad(307, "TemporaryRedirect", "the bucket is to be found under another address for now")
		f.Extra = [][2]string{{"Endpoint", strings.TrimPrefix(r.set.RedirectTo, "http://")}, {"Bucket", r.bucket}}
		return f
	}
	if f := r.authenticate(); f != nil {
		return f
	}
	if f := r.authorize(); f != nil {
		return f
	}
	if f := r.checkNoBody(); f != nil {
		return f
	}
	return operations[r.op](r)
}

// address finds bucket and key in host and path.
func (r *request) address() *sigv4.Fault {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	raw, rawQuery, _ := strings.Cut(r.RequestURI, "?")
	path, err := url.PathUnescape(raw)
	if err != nil || !strings.HasPrefix(path, "/") {
		return bad(400, "InvalidURI", "the path %q cannot be read", raw)
	}
	if r.query, err = url.ParseQuery(rawQuery); err != nil {
		return bad(400, "InvalidURI", "%v", err)
	}
	path = path[1:]
	style := "path"
	switch {
	case host == r.s.domain || net.ParseIP(host) != nil:
		r.bucket, r.key, _ = strings.Cut(path, "/")
	case strings.HasSuffix(host, "."+r.s.domain):
		style = "virtual"
		r.bucket, r.key = strings.TrimSuffix(host, "."+r.s.domain), path
	default:
		return bad(400, "InvalidRequest", "the host %s is neither %s nor below it", host, r.s.domain)
	}
	if r.set.Addressing != "both" && r.set.Addressing != style {
		return bad(400, "InvalidRequest", "this server has %s addressing only", r.set.Addressing)
	}
	if len(r.key) > 1024 {
		return bad(400, "KeyTooLongError", "the key has %d bytes: at most 1024", len(r.key))
	}
	return nil
}

func (r *request) authenticate() *sigv4.Fault {
	v := sigv4.Verifier{Region: r.set.Region, Service: "s3", Now: func() time.Time { return r.now },
		AllowUnsigned: r.TLS != nil || r.set.UnsignedHTTP, Lookup: lookup}
	claim, f := v.Verify(r.Request)
	r.claim = claim
	if f != nil && f.Code == "AuthorizationHeaderMalformed" && claim != nil && claim.Scope.Region != r.set.Region {
		r.w.Header().Set("X-Amz-Bucket-Region", r.set.Region)
		if r.set.WrongRegion == "301" {
			f = bad(301, "PermanentRedirect", "the bucket must be addressed at its own endpoint")
			f.Extra = [][2]string{{"Endpoint", r.Host}, {"Bucket", r.bucket}, {"Region", r.set.Region}}
		}
	}
	return f
}

const emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// checkNoBody: operations that take no body get none, and the hash says so too.
func (r *request) checkNoBody() *sigv4.Fault {
	if contains([]string{"PutObject", "UploadPart", "CompleteMultipartUpload", "CreateBucket"}, r.op) {
		return nil
	}
	if r.ContentLength != 0 {
		return bad(400, "InvalidRequest", "%s has no body", r.op)
	}
	if p := r.claim.Payload; p != sigv4.Unsigned && p != emptyHash {
		return bad(400, "XAmzContentSHA256Mismatch", "x-amz-content-sha256 is not that of an empty body")
	}
	return nil
}

func lookup(key, token string) (sigv4.Secret, bool) {
	if key == AccessKey {
		return sigv4.Secret{Key: SecretKey}, true
	}
	c, ok := identity.Find(key, token)
	return sigv4.Secret{Key: c.SecretKey, Token: c.Token, Expires: c.Expires}, ok
}

// isDenied: by the name of the operation, or that and how the key, or a listing's prefix, begins.
func (r *request) isDenied() bool {
	key := r.key
	if key == "" {
		key = r.query.Get("prefix")
	}
	for _, deny := range r.set.Deny {
		if op, below, _ := strings.Cut(deny, " "); op == r.op && strings.HasPrefix(key, below) {
			return true
		}
	}
	return false
}

// authorize: what the settings forbid, and who pays.
func (r *request) authorize() *sigv4.Fault {
	switch {
	case contains(r.set.Missing, r.op):
		return notImplemented("%s", r.op)
	case r.isDenied():
		return denied("%s on %s", r.op, r.bucket)
	}
	if owner := r.Header.Get("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != r.set.Owner {
		return denied("the bucket's owner is not %s", owner)
	}
	payer := r.Header.Get("X-Amz-Request-Payer")
	if payer != "" && payer != "requester" {
		return bad(400, "InvalidArgument", "x-amz-request-payer must be requester")
	}
	if r.set.RequesterPays {
		if payer == "" {
			return denied("the requester must say that it pays")
		}
		r.w.Header().Set("X-Amz-Request-Charged", "requester")
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.buckets[r.bucket] == nil && r.op != "CreateBucket" {
		return bad(404, "NoSuchBucket", "the bucket %s does not exist", r.bucket)
	}
	return nil
}

// Control is what tests talk to: beside log and settings,
//
//	GET /objects   what there is; DELETE removes all objects and uploads
func (s *Server) Control() http.Handler {
	mux := control.Handler(s.Log, s.Settings)
	mux.HandleFunc("/objects", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch r.Method {
		case "GET":
			control.Answer(w, s.describe())
		case "DELETE":
			for name := range s.buckets {
				s.buckets[name] = newBucket()
			}
		default:
			control.Refuse(w, "GET DELETE")
		}
	})
	return mux
}
