package strict

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"time"

	"stowage/s3/sigv4"
)

const (
	maxParts   = 10000
	namespace  = "http://s3.amazonaws.com/doc/2006-03-01/"
	maxRequest = 4 << 20 // the body of CompleteMultipartUpload
)

type part struct {
	data     []byte
	etag     string
	checksum string
	modified time.Time
}

type upload struct {
	key       string
	header    http.Header
	algorithm string // "" or SHA256
	parts     map[int]*part
	initiated time.Time
	done      *object // completed, and kept for RepeatedComplete
}

func (u *upload) numbers() []int {
	var out []int
	for n := range u.parts {
		out = append(out, n)
	}
	sort.Ints(out)
	return out
}

func (r *request) createUpload() *sigv4.Fault {
	kept, f := r.newHeader()
	if f != nil {
		return f
	}
	algorithm, kind := r.Header.Get("X-Amz-Checksum-Algorithm"), r.Header.Get("X-Amz-Checksum-Type")
	if algorithm != "" && algorithm != "SHA256" {
		return notImplemented("x-amz-checksum-algorithm: %s", algorithm)
	}
	if kind != "" && (kind != "COMPOSITE" || algorithm == "") {
		return bad(400, "InvalidRequest", "x-amz-checksum-type: %s is not for the algorithm %q", kind, algorithm)
	}
	id := randomID() + randomID()
	r.s.mu.Lock()
	r.s.buckets[r.bucket].uploads[id] = &upload{key: r.key, header: kept, algorithm: algorithm,
		parts: map[int]*part{}, initiated: r.now.UTC()}
	r.s.mu.Unlock()
	r.echo(kept, sseHeaders...)
	if algorithm != "" {
		r.w.Header().Set("X-Amz-Checksum-Algorithm", algorithm)
		r.w.Header().Set("X-Amz-Checksum-Type", "COMPOSITE")
	}
	return r.answerXML(struct {
		XMLName  xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
		Bucket   string
		Key      string
		UploadId string
	}{Bucket: r.bucket, Key: r.key, UploadId: id})
}

// findUpload wants the lock held.
func (r *request) findUpload() (*upload, *sigv4.Fault) {
	u := r.s.buckets[r.bucket].uploads[r.query.Get("uploadId")]
	if u == nil || u.key != r.key || u.done != nil {
		return nil, bad(404, "NoSuchUpload", "the upload does not exist: aborted or completed, or never begun")
	}
	return u, nil
}

func (r *request) uploadPart() *sigv4.Fault {
	n, err := strconv.Atoi(r.query.Get("partNumber"))
	if err != nil || n < 1 || n > maxParts {
		return bad(400, "InvalidArgument", "partNumber must be from 1 to %d", maxParts)
	}
	r.s.mu.Lock()
	u, f := r.findUpload()
	r.s.mu.Unlock()
	if f != nil {
		return f
	}
	data, f := r.readBody()
	if f != nil {
		return f
	}
	p := &part{data: data, etag: r.makeETag(u.header)}
	if p.checksum, f = r.checkChecksum(); f != nil {
		return f
	}
	if (p.checksum != "") != (u.algorithm != "") {
		return bad(400, "InvalidRequest", "checksum type mismatch occurred: the upload has %q, the part %q",
			u.algorithm, p.checksum)
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if _, f := r.findUpload(); f != nil { // aborted meanwhile
		return f
	}
	p.modified = r.now.UTC()
	u.parts[n] = p
	r.w.Header().Set("Etag", p.etag)
	r.echo(u.header, sseHeaders[:2]...)
	if p.checksum != "" {
		r.w.Header().Set("X-Amz-Checksum-Sha256", p.checksum)
	}
	r.answer(200)
	return nil
}

func (r *request) abortUpload() *sigv4.Fault {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if _, f := r.findUpload(); f != nil {
		return f
	}
	delete(r.s.buckets[r.bucket].uploads, r.query.Get("uploadId"))
	r.answer(204)
	return nil
}

type completeRequest struct {
	XMLName xml.Name
	Parts   []struct {
		PartNumber     int
		ETag           string
		ChecksumSHA256 string
		Other          []struct {
			XMLName xml.Name
		} `xml:",any"`
	} `xml:"Part"`
	Other []struct {
		XMLName xml.Name
	} `xml:",any"`
}

func (r *request) readComplete() (*completeRequest, *sigv4.Fault) {
	if r.ContentLength < 0 {
		return nil, bad(411, "MissingContentLength", "Content-Length is missing")
	}
	if r.ContentLength > maxRequest {
		return nil, bad(400, "MalformedXML", "%d bytes of XML: at most %d", r.ContentLength, maxRequest)
	}
	data, f := r.readBody()
	if f != nil {
		return nil, f
	}
	var c completeRequest
	if err := xml.Unmarshal(data, &c); err != nil {
		return nil, bad(400, "MalformedXML", "%v", err)
	}
	name := c.XMLName
	if name.Local != "CompleteMultipartUpload" || (name.Space != "" && name.Space != namespace) || len(c.Other) > 0 {
		return nil, bad(400, "MalformedXML", "the root must be CompleteMultipartUpload, and hold Part only")
	}
	if len(c.Parts) == 0 || len(c.Parts) > maxParts {
		return nil, bad(400, "MalformedXML", "there must be from 1 to %d parts, not %d", maxParts, len(c.Parts))
	}
	last := 0
	for _, p := range c.Parts {
		if len(p.Other) > 0 {
			return nil, bad(400, "MalformedXML", "a Part holds %s", p.Other[0].XMLName.Local)
		}
		if p.PartNumber <= last {
			return nil, bad(400, "InvalidPartOrder", "part %d comes behind part %d", p.PartNumber, last)
		}
		last = p.PartNumber
	}
	return &c, nil
}

// assemble makes the object that the request describes, of an upload's parts. The lock is held.
func (r *request) assemble(u *upload, c *completeRequest) (*object, *sigv4.Fault) {
	o := &object{header: u.header, kind: "COMPOSITE"}
	etags, sums := md5.New(), sha256.New()
	for i, listed := range c.Parts {
		p := u.parts[listed.PartNumber]
		if p == nil || strings.Trim(listed.ETag, `"`) != strings.Trim(p.etag, `"`) {
			f := bad(400, "InvalidPart", "part %d was not uploaded, or has another ETag", listed.PartNumber)
			f.Extra = [][2]string{{"UploadId", r.query.Get("uploadId")},
				{"PartNumber", fmt.Sprint(listed.PartNumber)}, {"ETag", listed.ETag}}
			return nil, f
		}
		if listed.ChecksumSHA256 != p.checksum {
			return nil, bad(400, "InvalidRequest", "part %d must be named with its checksum %q, not %q",
				listed.PartNumber, p.checksum, listed.ChecksumSHA256)
		}
		if i < len(c.Parts)-1 && int64(len(p.data)) < r.set.MinPartSize {
			return nil, bad(400, "EntityTooSmall", "part %d has %d bytes: at least %d, but for the last", listed.PartNumber,
				len(p.data), r.set.MinPartSize)
		}
		raw, err := hex.DecodeString(strings.Trim(p.etag, `"`))
		if err != nil {
			panic(err)
		}
		etags.Write(raw)
		if p.checksum != "" {
			raw, err := base64.StdEncoding.DecodeString(p.checksum)
			if err != nil {
				panic(err)
			}
			sums.Write(raw)
		}
		o.data = append(o.data, p.data...)
	}
	o.etag = fmt.Sprintf(`"%x-%d"`, etags.Sum(nil), len(c.Parts))
	if u.algorithm != "" {
		o.checksum = fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(sums.Sum(nil)), len(c.Parts))
	}
	return o, r.checkWhole(o)
}

// checkWhole: what the request's headers say of the object.
func (r *request) checkWhole(o *object) *sigv4.Fault {
	if want := r.Header.Get("X-Amz-Checksum-Sha256"); want != "" && want != o.checksum &&
		want != strings.Split(o.checksum, "-")[0] {
		return bad(400, "BadDigest", "x-amz-checksum-sha256 is not %q", o.checksum)
	}
	if kind := r.Header.Get("X-Amz-Checksum-Type"); kind != "" && (kind != "COMPOSITE" || o.checksum == "") {
		return bad(400, "InvalidRequest", "x-amz-checksum-type: %s is not that of the upload", kind)
	}
	if size := r.Header.Get("X-Amz-Mp-Object-Size"); size != "" && size != fmt.Sprint(len(o.data)) {
		return bad(400, "InvalidRequest", "x-amz-mp-object-size is %s, but the parts have %d bytes", size, len(o.data))
	}
	return nil
}

// complete does the work, under the lock.
func (r *request) complete(c *completeRequest) (*object, *sigv4.Fault) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	u := r.s.buckets[r.bucket].uploads[r.query.Get("uploadId")]
	if u != nil && u.done != nil && u.key == r.key && r.set.RepeatedComplete {
		return u.done, nil
	}
	u, f := r.findUpload()
	if f != nil {
		return nil, f
	}
	o, f := r.assemble(u, c)
	if f != nil {
		return nil, f
	}
	if f := r.publish(o, r.set.ConditionalComplete); f != nil {
		return nil, f
	}
	if u.done, u.parts = o, nil; !r.set.RepeatedComplete {
		delete(r.s.buckets[r.bucket].uploads, r.query.Get("uploadId"))
	}
	return o, nil
}

func (r *request) completeUpload() *sigv4.Fault {
	c, f := r.readComplete()
	if f != nil {
		return f
	}
	if r.set.EarlyComplete > 0 {
		return r.completeEarly(c)
	}
	o, f := r.complete(c)
	if f != nil {
		return f
	}
	r.echo(o.header, sseHeaders[:2]...)
	r.w.Header().Set("Content-Type", "application/xml")
	r.answer(200)
	io.WriteString(r.w, xml.Header+r.completeResult(o))
	return nil
}

// completeEarly answers 200 before it is known how it ends, and blanks until then, as S3 may.
func (r *request) completeEarly(c *completeRequest) *sigv4.Fault {
	r.w.Header().Set("Content-Type", "application/xml")
	r.answer(200)
	io.WriteString(r.w, xml.Header)
	end := time.Now().Add(time.Duration(r.set.EarlyComplete) * time.Millisecond)
	for time.Now().Before(end) {
		io.WriteString(r.w, " ")
		r.w.(http.Flusher).Flush()
		time.Sleep(20 * time.Millisecond)
	}
	o, f := r.complete(c)
	if f != nil {
		r.entry.Code, r.entry.Why = f.Code, f.Error()
		io.WriteString(r.w, r.errorBody(f))
		return nil
	}
	io.WriteString(r.w, r.completeResult(o))
	return nil
}

func (r *request) completeResult(o *object) string {
	body := fmt.Sprintf(`<CompleteMultipartUploadResult xmlns="%s"><Location>http://%s/%s</Location>`+
		"<Bucket>%s</Bucket><Key>%s</Key><ETag>%s</ETag>", namespace, escape(r.Host), escape(r.key), escape(r.bucket),
		escape(r.key), escape(o.etag))
	if o.checksum != "" {
		body += "<ChecksumSHA256>" + o.checksum + "</ChecksumSHA256><ChecksumType>COMPOSITE</ChecksumType>"
	}
	return body + "</CompleteMultipartUploadResult>"
}
