package strict

import (
	"strings"

	"stowage/s3/sigv4"
)

var operations = map[string]func(*request) *sigv4.Fault{
	"HeadBucket":              (*request).headBucket,
	"CreateBucket":            (*request).createBucket,
	"GetBucketLocation":       (*request).getBucketLocation,
	"ListObjectsV2":           (*request).listObjects,
	"ListMultipartUploads":    (*request).listUploads,
	"GetObject":               (*request).getObject,
	"HeadObject":              (*request).getObject,
	"PutObject":               (*request).putObject,
	"DeleteObject":            (*request).deleteObject,
	"CreateMultipartUpload":   (*request).createUpload,
	"UploadPart":              (*request).uploadPart,
	"CompleteMultipartUpload": (*request).completeUpload,
	"AbortMultipartUpload":    (*request).abortUpload,
	"ListParts":               (*request).listParts,
}

// shapes: method, whether there is a key, and the parameter that tells it from others. The first that fits is it.
var shapes = []struct {
	method string
	key    bool
	param  string
	op     string
	params string // all that it may have
}{
	{"HEAD", false, "", "HeadBucket", ""},
	{"PUT", false, "", "CreateBucket", ""},
	{"GET", false, "location", "GetBucketLocation", "location"},
	{"GET", false, "list-type", "ListObjectsV2",
		"list-type prefix delimiter max-keys continuation-token start-after encoding-type fetch-owner"},
	{"GET", false, "uploads", "ListMultipartUploads",
		"uploads prefix key-marker upload-id-marker max-uploads encoding-type"},
	{"GET", true, "uploadId", "ListParts", "uploadId max-parts part-number-marker"},
	{"GET", true, "", "GetObject", ""},
	{"HEAD", true, "", "HeadObject", ""},
	{"PUT", true, "uploadId", "UploadPart", "uploadId partNumber"},
	{"PUT", true, "", "PutObject", ""},
	{"DELETE", true, "uploadId", "AbortMultipartUpload", "uploadId"},
	{"DELETE", true, "", "DeleteObject", ""},
	{"POST", true, "uploads", "CreateMultipartUpload", "uploads"},
	{"POST", true, "uploadId", "CompleteMultipartUpload", "uploadId"},
}

// The headers named x-amz-… and those with a condition that an operation understands. Others are refused: what
// a server does not know it must not ignore, and a typing mistake is one of those.
const (
	headersOfAll  = "date content-sha256 security-token expected-bucket-owner request-payer"
	headersOfData = "checksum-sha256 sdk-checksum-algorithm"
	headersOfNew  = "server-side-encryption server-side-encryption-aws-kms-key-id server-side-encryption-context " +
		"server-side-encryption-bucket-key-enabled storage-class tagging"
)

var headersOf = map[string]string{
	"PutObject":               headersOfData + " " + headersOfNew,
	"CreateMultipartUpload":   "checksum-algorithm checksum-type " + headersOfNew,
	"UploadPart":              headersOfData,
	"CompleteMultipartUpload": "checksum-sha256 checksum-type mp-object-size",
	"GetObject":               "checksum-mode",
	"HeadObject":              "checksum-mode",
}

var conditionsOf = map[string]string{
	"PutObject":               "if-none-match",
	"CompleteMultipartUpload": "if-none-match",
	"GetObject":               "if-match if-none-match",
	"HeadObject":              "if-match if-none-match",
}

func (r *request) nameOperation() *sigv4.Fault {
	if r.bucket == "" {
		return notImplemented("what is asked of all buckets")
	}
	for _, shape := range shapes {
		if r.Method != shape.method || (r.key != "") != shape.key {
			continue
		}
		if shape.param != "" && !r.query.Has(shape.param) {
			continue
		}
		r.op = shape.op
		if f := r.checkParameters(shape.params); f != nil {
			return f
		}
		return r.checkHeaders()
	}
	return notImplemented("%s with the query %q", r.Method, r.URL.RawQuery)
}

func (r *request) checkParameters(allowed string) *sigv4.Fault {
	for name, values := range r.query {
		if name == "x-id" || strings.HasPrefix(name, "X-Amz-") {
			continue
		}
		if !contains(strings.Fields(allowed), name) {
			return notImplemented("the parameter %s of %s", name, r.op)
		}
		if len(values) > 1 {
			return bad(400, "InvalidArgument", "the parameter %s came more than once", name)
		}
	}
	if r.op == "ListObjectsV2" && r.query.Get("list-type") != "2" {
		return notImplemented("ListObjects in another version than 2")
	}
	return nil
}

func (r *request) checkHeaders() *sigv4.Fault {
	amz := strings.Fields(headersOfAll + " " + headersOf[r.op])
	conditions := strings.Fields(conditionsOf[r.op])
	for name := range r.Header {
		name = strings.ToLower(name)
		switch {
		case strings.HasPrefix(name, "x-amz-meta-") && strings.Contains(headersOf[r.op], headersOfNew):
		case strings.HasPrefix(name, "x-amz-") && !contains(amz, name[6:]):
			return notImplemented("the header %s of %s", name, r.op)
		case strings.HasPrefix(name, "if-") && !contains(conditions, name):
			return notImplemented("the header %s of %s", name, r.op)
		}
	}
	if len(r.TransferEncoding) > 0 {
		return notImplemented("Transfer-Encoding: %s", strings.Join(r.TransferEncoding, ", "))
	}
	return nil
}

func (r *request) headBucket() *sigv4.Fault {
	r.w.Header().Set("X-Amz-Bucket-Region", r.set.Region)
	r.answer(200)
	return nil
}

func (r *request) createBucket() *sigv4.Fault {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.buckets[r.bucket] != nil {
		return bad(409, "BucketAlreadyOwnedByYou", "the bucket %s is there already", r.bucket)
	}
	r.s.buckets[r.bucket] = newBucket()
	r.w.Header().Set("Location", "/"+r.bucket)
	r.answer(200)
	return nil
}

func (r *request) getBucketLocation() *sigv4.Fault {
	region := r.set.Region
	if region == "us-east-1" {
		region = ""
	}
	return r.answerXML(struct {
		XMLName struct{} `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
		Region  string   `xml:",chardata"`
	}{Region: region})
}
