package strict

import (
	"encoding/base64"
	"encoding/xml"
	"sort"
	"strconv"
	"strings"
	"time"

	"stowage/s3/sigv4"
)

const xmlTime = "2006-01-02T15:04:05.000Z"

// pageSize reads a parameter that asks for at most so many: more than the cap is cut, as on S3.
func (r *request) pageSize(name string) (int, *sigv4.Fault) {
	s := r.query.Get(name)
	if s == "" {
		return r.set.PageSize, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return 0, bad(400, "InvalidArgument", "%s must be a number, not %q", name, s)
	}
	if n > r.set.PageSize {
		n = r.set.PageSize
	}
	return n, nil
}

// encoder is for names in answers, as encoding-type asks for.
func (r *request) encoder() (func(string) string, *sigv4.Fault) {
	switch r.query.Get("encoding-type") {
	case "":
		return func(s string) string { return s }, nil
	case "url":
		return func(s string) string { return sigv4.Encode(s, true) }, nil
	}
	return nil, bad(400, "InvalidArgument", "encoding-type must be url")
}

type listedObject struct {
	Key               string
	LastModified      string
	ETag              string
	ChecksumAlgorithm string `xml:",omitempty"`
	Size              int
	StorageClass      string
}

type prefixes struct{ Prefix string }

type listResult struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name                  string
	Prefix                string
	Delimiter             string `xml:",omitempty"`
	StartAfter            string `xml:",omitempty"`
	EncodingType          string `xml:",omitempty"`
	KeyCount              int
	MaxKeys               int
	IsTruncated           bool
	ContinuationToken     string `xml:",omitempty"`
	NextContinuationToken string `xml:",omitempty"`
	Contents              []listedObject
	CommonPrefixes        []prefixes
}

// A continuation token is opaque: nothing that looks like a key, so that nobody builds one.
func token(key string) string { return base64.StdEncoding.EncodeToString([]byte("after=" + key)) }

func (r *request) after() (string, *sigv4.Fault) {
	if !r.query.Has("continuation-token") {
		return r.query.Get("start-after"), nil
	}
	raw, err := base64.StdEncoding.DecodeString(r.query.Get("continuation-token"))
	if err != nil || !strings.HasPrefix(string(raw), "after=") {
		return "", bad(400, "InvalidArgument", "the continuation token is none of ours")
	}
	return strings.TrimPrefix(string(raw), "after="), nil
}

func (r *request) listObjects() *sigv4.Fault {
	max, f := r.pageSize("max-keys")
	if f != nil {
		return f
	}
	encode, f := r.encoder()
	if f != nil {
		return f
	}
	after, f := r.after()
	if f != nil {
		return f
	}
	prefix, delimiter := r.query.Get("prefix"), r.query.Get("delimiter")
	out := listResult{Name: r.bucket, Prefix: encode(prefix), Delimiter: encode(delimiter), MaxKeys: max,
		StartAfter: encode(r.query.Get("start-after")), EncodingType: r.query.Get("encoding-type"),
		ContinuationToken: r.query.Get("continuation-token")}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	objects := r.s.buckets[r.bucket].objects
	keys := []string{}
	for key := range objects {
		if strings.HasPrefix(key, prefix) && key > after {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	last := ""
	for _, key := range keys {
		common := commonPrefix(key, prefix, delimiter)
		if common != "" && (common == last || strings.HasPrefix(after, common)) {
			continue
		}
		if out.KeyCount == max {
			out.IsTruncated = max > 0
			break
		}
		out.KeyCount++
		if last = key; common != "" {
			last = common
			out.CommonPrefixes = append(out.CommonPrefixes, prefixes{encode(common)})
			continue
		}
		o := objects[key]
		listed := listedObject{Key: encode(key), LastModified: o.modified.Format(xmlTime), ETag: o.etag, Size: len(o.data),
			StorageClass: "STANDARD"}
		if class := o.header.Get("X-Amz-Storage-Class"); class != "" {
			listed.StorageClass = class
		}
		if o.checksum != "" {
			listed.ChecksumAlgorithm = "SHA256"
		}
		out.Contents = append(out.Contents, listed)
	}
	if out.IsTruncated {
		out.NextContinuationToken = token(last)
	}
	return r.answerXML(out)
}

func commonPrefix(key, prefix, delimiter string) string {
	if delimiter == "" {
		return ""
	}
	if i := strings.Index(key[len(prefix):], delimiter); i >= 0 {
		return key[:len(prefix)+i+len(delimiter)]
	}
	return ""
}

type listedPart struct {
	PartNumber     int
	LastModified   string
	ETag           string
	ChecksumSHA256 string `xml:",omitempty"`
	Size           int
}

func (r *request) listParts() *sigv4.Fault {
	max, f := r.pageSize("max-parts")
	if f != nil {
		return f
	}
	marker := 0
	if s := r.query.Get("part-number-marker"); s != "" {
		var err error
		if marker, err = strconv.Atoi(s); err != nil || marker < 0 {
			return bad(400, "InvalidArgument", "part-number-marker must be a number, not %q", s)
		}
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	u, f := r.findUpload()
	if f != nil {
		return f
	}
	out := struct {
		XMLName              xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
		Bucket               string
		Key                  string
		UploadId             string
		StorageClass         string
		ChecksumAlgorithm    string `xml:",omitempty"`
		PartNumberMarker     int
		NextPartNumberMarker int
		MaxParts             int
		IsTruncated          bool
		Part                 []listedPart
	}{Bucket: r.bucket, Key: r.key, UploadId: r.query.Get("uploadId"), StorageClass: "STANDARD",
		ChecksumAlgorithm: u.algorithm, PartNumberMarker: marker, MaxParts: max}
	for _, n := range u.numbers() {
		if n <= marker {
			continue
		}
		if len(out.Part) == max {
			out.IsTruncated = true
			break
		}
		p := u.parts[n]
		out.Part = append(out.Part, listedPart{n, p.modified.Format(xmlTime), p.etag, p.checksum, len(p.data)})
		out.NextPartNumberMarker = n
	}
	return r.answerXML(out)
}

type listedUpload struct {
	Key          string
	UploadId     string
	StorageClass string
	Initiated    string
}

// uploadsBehind are those not completed, behind a marker, by key and then by the time of their beginning.
func (b *bucket) uploadsBehind(prefix, key, id string) (ids []string) {
	less := func(a, b *upload, ida, idb string) bool {
		if a.key != b.key {
			return a.key < b.key
		}
		if !a.initiated.Equal(b.initiated) {
			return a.initiated.Before(b.initiated)
		}
		return ida < idb
	}
	for i, u := range b.uploads {
		if !strings.HasPrefix(u.key, prefix) || u.done != nil || u.key < key {
			continue
		}
		if u.key == key && (id == "" || b.uploads[id] == nil || !less(b.uploads[id], u, id, i)) {
			continue
		}
		ids = append(ids, i)
	}
	sort.Slice(ids, func(i, j int) bool { return less(b.uploads[ids[i]], b.uploads[ids[j]], ids[i], ids[j]) })
	return ids
}

func (r *request) listUploads() *sigv4.Fault {
	max, f := r.pageSize("max-uploads")
	if f != nil {
		return f
	}
	encode, f := r.encoder()
	if f != nil {
		return f
	}
	key, id := r.query.Get("key-marker"), r.query.Get("upload-id-marker")
	if id != "" && key == "" {
		return bad(400, "InvalidArgument", "upload-id-marker comes with a key-marker only")
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	b := r.s.buckets[r.bucket]
	out := struct {
		XMLName            xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
		Bucket             string
		KeyMarker          string
		UploadIdMarker     string
		NextKeyMarker      string `xml:",omitempty"`
		NextUploadIdMarker string `xml:",omitempty"`
		Prefix             string
		EncodingType       string `xml:",omitempty"`
		MaxUploads         int
		IsTruncated        bool
		Upload             []listedUpload
	}{Bucket: r.bucket, KeyMarker: encode(key), UploadIdMarker: id, Prefix: encode(r.query.Get("prefix")),
		EncodingType: r.query.Get("encoding-type"), MaxUploads: max}
	for _, i := range b.uploadsBehind(r.query.Get("prefix"), key, id) {
		if len(out.Upload) == max {
			out.IsTruncated = true
			break
		}
		u := b.uploads[i]
		out.Upload = append(out.Upload, listedUpload{encode(u.key), i, "STANDARD", u.initiated.Format(time.RFC3339)})
		out.NextKeyMarker, out.NextUploadIdMarker = encode(u.key), i
	}
	if !out.IsTruncated {
		out.NextKeyMarker, out.NextUploadIdMarker = "", ""
	}
	return r.answerXML(out)
}
