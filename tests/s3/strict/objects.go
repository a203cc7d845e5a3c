package strict

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"stowage/s3/sigv4"
)

const maxBody = 5 << 30

type object struct {
	data     []byte
	etag     string // with its quotes
	checksum string // x-amz-checksum-sha256, "" where none was sent
	kind     string // FULL_OBJECT or COMPOSITE
	header   http.Header
	modified time.Time
}

type bucket struct {
	objects map[string]*object
	uploads map[string]*upload
}

func newBucket() *bucket {
	return &bucket{objects: map[string]*object{}, uploads: map[string]*upload{}}
}

// sums are those of a body that has been read.
type sums struct{ sha256, md5 []byte }

// readBody reads all of a body, which must be announced by its length, and checks the sums that signature and
// Content-MD5 tell of it.
func (r *request) readBody() ([]byte, *sigv4.Fault) {
	if r.ContentLength < 0 {
		return nil, bad(411, "MissingContentLength", "Content-Length is missing")
	}
	if r.ContentLength > maxBody {
		return nil, bad(400, "EntityTooLarge", "%d bytes: at most 5 GiB", r.ContentLength)
	}
	data := make([]byte, r.ContentLength)
	sha, sum := sha256.New(), md5.New()
	for at := 0; at < len(data); {
		n, err := r.body.Read(data[at:])
		sha.Write(data[at : at+n])
		sum.Write(data[at : at+n])
		if at += n; err != nil && at < len(data) {
			return nil, bad(400, "IncompleteBody", "%d bytes came, not %d: %v", at, len(data), err)
		}
	}
	r.sums = sums{sha.Sum(nil), sum.Sum(nil)}
	if p := r.claim.Payload; p != sigv4.Unsigned && p != hex.EncodeToString(r.sums.sha256) {
		return nil, bad(400, "XAmzContentSHA256Mismatch", "x-amz-content-sha256 is not that of the body")
	}
	if want := r.Header.Get("Content-Md5"); want != "" && want != base64.StdEncoding.EncodeToString(r.sums.md5) {
		return nil, bad(400, "BadDigest", "Content-MD5 is not that of the body")
	}
	return data, nil
}

// checkChecksum is the checksum that the request tells of the body that was read ("": none). It must be right.
func (r *request) checkChecksum() (string, *sigv4.Fault) {
	want := r.Header.Get("X-Amz-Checksum-Sha256")
	algorithm := r.Header.Get("X-Amz-Sdk-Checksum-Algorithm")
	if algorithm != "" && (algorithm != "SHA256" || want == "") {
		return "", bad(400, "InvalidRequest", "x-amz-sdk-checksum-algorithm is %s, but there is no such checksum", algorithm)
	}
	if want == "" {
		if r.set.RequireChecksum && r.Header.Get("Content-Md5") == "" {
			return "", bad(400, "InvalidRequest", "Content-MD5 or x-amz-checksum-… is required")
		}
		return "", nil
	}
	if raw, err := base64.StdEncoding.DecodeString(want); err != nil || len(raw) != sha256.Size {
		return "", bad(400, "InvalidRequest", "x-amz-checksum-sha256 must be 32 bytes in base64")
	}
	if want != base64.StdEncoding.EncodeToString(r.sums.sha256) {
		return "", bad(400, "BadDigest", "x-amz-checksum-sha256 is not that of the body")
	}
	return want, nil
}

var storageClasses = []string{"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING",
	"GLACIER", "DEEP_ARCHIVE", "GLACIER_IR", "EXPRESS_ONEZONE"}

// newHeader checks what a new object is to have, and returns what is kept of it.
func (r *request) newHeader() (http.Header, *sigv4.Fault) {
	kept := http.Header{}
	for name, values := range r.Header {
		low := strings.ToLower(name)
		if strings.HasPrefix(low, "x-amz-meta-") || low == "content-type" ||
			contains(strings.Fields(headersOfNew), strings.TrimPrefix(low, "x-amz-")) {
			kept[name] = values
		}
	}
	if class := kept.Get("X-Amz-Storage-Class"); class != "" && !contains(storageClasses, class) {
		return nil, bad(400, "InvalidStorageClass", "there is no storage class %s", class)
	}
	if f := checkTags(kept.Get("X-Amz-Tagging")); f != nil {
		return nil, f
	}
	sse := kept.Get("X-Amz-Server-Side-Encryption")
	if r.set.RequireSSE != "" && sse != r.set.RequireSSE {
		return nil, denied("a policy asks for x-amz-server-side-encryption: %s", r.set.RequireSSE)
	}
	return kept, checkSSE(kept, sse)
}

func checkSSE(kept http.Header, sse string) *sigv4.Fault {
	key, context := kept.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"), kept.Get("X-Amz-Server-Side-Encryption-Context")
	bucketKey := kept.Get("X-Amz-Server-Side-Encryption-Bucket-Key-Enabled")
	switch sse {
	case "", "AES256":
		if key != "" || context != "" || bucketKey != "" {
			return bad(400, "InvalidArgument", "a KMS key or context is for x-amz-server-side-encryption: aws:kms")
		}
	case "aws:kms", "aws:kms:dsse":
		if context == "" {
			break
		}
		raw, err := base64.StdEncoding.DecodeString(context)
		pairs := map[string]string{}
		if err != nil || json.Unmarshal(raw, &pairs) != nil {
			return bad(400, "InvalidArgument", "the encryption context must be a JSON object of strings in base64")
		}
	default:
		return bad(400, "InvalidEncryptionAlgorithmError", "there is no encryption %s", sse)
	}
	return nil
}

func checkTags(s string) *sigv4.Fault {
	if s == "" {
		return nil
	}
	tags, err := url.ParseQuery(s)
	if err != nil || len(tags) > 10 {
		return bad(400, "InvalidTag", "x-amz-tagging must be at most 10 tags, encoded as a query")
	}
	for key, values := range tags {
		if len(values) != 1 || key == "" || len(key) > 128 || len(values[0]) > 256 {
			return bad(400, "InvalidTag", "the tag %q is not one that may be", key)
		}
	}
	return nil
}

// echo repeats what an object was made with, as S3 does in its answers.
func (r *request) echo(kept http.Header, names ...string) {
	for _, name := range names {
		if v := kept.Get(name); v != "" {
			r.w.Header().Set(name, v)
		}
	}
}

var sseHeaders = []string{"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id",
	"X-Amz-Server-Side-Encryption-Context", "X-Amz-Server-Side-Encryption-Bucket-Key-Enabled"}

// makeETag is one for the body that was read.
func (r *request) makeETag(kept http.Header) string {
	sum := r.sums.md5
	if r.set.OpaqueETags || strings.HasPrefix(kept.Get("X-Amz-Server-Side-Encryption"), "aws:kms") {
		other := md5.Sum([]byte(randomID()))
		sum = other[:]
	}
	return `"` + hex.EncodeToString(sum) + `"`
}

// publish puts an object in its place, unless the request forbids it and something is there. The lock is held.
func (r *request) publish(o *object, condition string) *sigv4.Fault {
	b := r.s.buckets[r.bucket]
	if match := r.Header.Get("If-None-Match"); match != "" {
		if condition == "refuse" || match != "*" {
			return notImplemented("If-None-Match: %s", match)
		}
		if condition == "check" && b.objects[r.key] != nil {
			f := bad(412, "PreconditionFailed", "at least one of the preconditions did not hold")
			f.Extra = [][2]string{{"Condition", "If-None-Match"}}
			return f
		}
	}
	o.modified = r.now.UTC()
	b.objects[r.key] = o
	return nil
}

func (r *request) putObject() *sigv4.Fault {
	kept, f := r.newHeader()
	if f != nil {
		return f
	}
	data, f := r.readBody()
	if f != nil {
		return f
	}
	o := &object{data: data, header: kept, kind: "FULL_OBJECT", etag: r.makeETag(kept)}
	if o.checksum, f = r.checkChecksum(); f != nil {
		return f
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if f := r.publish(o, r.set.ConditionalPut); f != nil {
		return f
	}
	h := r.w.Header()
	h.Set("Etag", o.etag)
	r.echo(kept, sseHeaders...)
	if o.checksum != "" {
		h.Set("X-Amz-Checksum-Sha256", o.checksum)
		h.Set("X-Amz-Checksum-Type", o.kind)
	}
	r.answer(200)
	return nil
}

func (r *request) find() (*object, *sigv4.Fault) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if o := r.s.buckets[r.bucket].objects[r.key]; o != nil {
		return o, nil
	}
	if contains(r.set.Deny, "ListObjectsV2") {
		return nil, denied("whether %s exists is told to those who may list", r.key)
	}
	f := bad(404, "NoSuchKey", "the key does not exist")
	f.Extra = [][2]string{{"Key", r.key}}
	return nil, f
}

func (r *request) getObject() *sigv4.Fault {
	o, f := r.find()
	if f != nil {
		return f
	}
	h := r.w.Header()
	h.Set("Etag", o.etag)
	h.Set("Last-Modified", o.modified.Format(http.TimeFormat))
	if match := r.Header.Get("If-Match"); match != "" && match != "*" && match != o.etag {
		return bad(412, "PreconditionFailed", "the ETag is %s", o.etag)
	}
	if match := r.Header.Get("If-None-Match"); match != "" && (match == "*" || match == o.etag) {
		return bad(304, "NotModified", "the ETag is %s", o.etag)
	}
	first, last, partial, f := byteRange(r.Header.Get("Range"), int64(len(o.data)))
	if f != nil {
		return f
	}
	status := http.StatusOK
	if partial {
		status = http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, last, len(o.data)))
	}
	h.Set("Accept-Ranges", "bytes")
	h.Set("Content-Length", strconv.FormatInt(last-first+1, 10))
	h.Set("Content-Type", "binary/octet-stream")
	r.echo(o.header, append(sseHeaders[:2:2], "Content-Type", "X-Amz-Storage-Class")...)
	for name, values := range o.header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			h[name] = values
		}
	}
	if r.Header.Get("X-Amz-Checksum-Mode") == "ENABLED" && o.checksum != "" && !partial {
		h.Set("X-Amz-Checksum-Sha256", o.checksum)
		h.Set("X-Amz-Checksum-Type", o.kind)
	}
	r.answer(status)
	if r.Method == "GET" {
		r.w.Write(o.data[first : last+1])
	}
	return nil
}

// byteRange reads a Range header with one range. What cannot be read is ignored, as HTTP has it.
func byteRange(s string, size int64) (first, last int64, partial bool, f *sigv4.Fault) {
	from, to, ok := strings.Cut(strings.TrimPrefix(s, "bytes="), "-")
	if !strings.HasPrefix(s, "bytes=") || !ok {
		return 0, size - 1, false, nil
	}
	unsatisfied := bad(416, "InvalidRange", "the range %s cannot be had of %d bytes", s, size)
	a, errFrom := strconv.ParseInt(from, 10, 64)
	b, errTo := strconv.ParseInt(to, 10, 64)
	switch {
	case from == "" && errTo == nil: // the last b bytes
		if b == 0 || size == 0 {
			return 0, 0, false, unsatisfied
		}
		if b > size {
			b = size
		}
		return size - b, size - 1, true, nil
	case errFrom != nil || (to != "" && (errTo != nil || b < a)):
		return 0, size - 1, false, nil
	case a >= size:
		return 0, 0, false, unsatisfied
	case to == "" || b >= size:
		b = size - 1
	}
	return a, b, true, nil
}

func (r *request) deleteObject() *sigv4.Fault {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	delete(r.s.buckets[r.bucket].objects, r.key)
	r.answer(204)
	return nil
}

// description is what tests see of an object or an upload.
type description struct {
	Bucket   string            `json:"bucket"`
	Key      string            `json:"key"`
	Size     int               `json:"size"`
	ETag     string            `json:"etag,omitempty"`
	SHA256   string            `json:"sha256,omitempty"` // of what is stored, in hex
	Checksum string            `json:"checksum,omitempty"`
	UploadID string            `json:"upload_id,omitempty"`
	Parts    []int             `json:"parts,omitempty"`
	Header   map[string]string `json:"header"`
}

// describe wants the lock held. In order of bucket and key.
func (s *Server) describe() map[string][]description {
	objects, uploads := []description{}, []description{}
	flat := func(h http.Header) map[string]string {
		out := map[string]string{}
		for name := range h {
			out[strings.ToLower(name)] = h.Get(name)
		}
		return out
	}
	for name, b := range s.buckets {
		for key, o := range b.objects {
			sum := sha256.Sum256(o.data)
			objects = append(objects, description{Bucket: name, Key: key, Size: len(o.data), ETag: o.etag,
				SHA256: hex.EncodeToString(sum[:]), Checksum: o.checksum, Header: flat(o.header)})
		}
		for id, u := range b.uploads {
			if u.done != nil {
				continue
			}
			d := description{Bucket: name, Key: u.key, UploadID: id, Parts: u.numbers(), Header: flat(u.header)}
			for _, p := range u.parts {
				d.Size += len(p.data)
			}
			uploads = append(uploads, d)
		}
	}
	for _, list := range [][]description{objects, uploads} {
		sort.Slice(list, func(i, j int) bool {
			a, b := list[i], list[j]
			return a.Bucket+"/"+a.Key+"/"+a.UploadID < b.Bucket+"/"+b.Key+"/"+b.UploadID
		})
	}
	return map[string][]description{"objects": objects, "uploads": uploads}
}
