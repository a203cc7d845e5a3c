package strict

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"stowage/s3/identity"
	"stowage/s3/sigv4"
)

// client signs as it should; a test changes the request before or after that.
type client struct {
	t      *testing.T
	s      *Server
	url    string
	cred   sigv4.Credentials
	region string
}

func newClient(t *testing.T) *client {
	s := New("localhost", "layers")
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return &client{t, s, server.URL, sigv4.Credentials{AccessKey: AccessKey, SecretKey: SecretKey}, "us-east-1"}
}

func (c *client) settings(json string) {
	c.t.Helper()
	if err := c.s.Settings.Change(strings.NewReader(json), true); err != nil {
		c.t.Fatal(err)
	}
}

type answer struct {
	*http.Response
	body string
	code string
}

func hashOf(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

func checksum(body string) string {
	sum := sha256.Sum256([]byte(body))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// do sends METHOD TARGET with headers given as name, value, …
func (c *client) do(method, target, body string, headers ...string) answer {
	c.t.Helper()
	return c.doHash(method, target, body, hashOf(body), headers...)
}

func (c *client) doHash(method, target, body, hash string, headers ...string) answer {
	c.t.Helper()
	r, err := http.NewRequest(method, c.url+target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if err := sigv4.Sign(r, c.cred, c.region, time.Now(), hash); err != nil {
		c.t.Fatal(err)
	}
	return c.send(r)
}

func (c *client) send(r *http.Request) answer {
	c.t.Helper()
	resp, err := (&http.Transport{DisableCompression: true}).RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{Response: resp, body: string(data)}
	var e struct{ Code string }
	if xml.Unmarshal(data, &e) == nil {
		a.code = e.Code
	}
	return a
}

// want fails the test unless the answer has this status and error code.
func (a answer) want(t *testing.T, status int, code string) answer {
	t.Helper()
	if a.StatusCode != status || a.code != code {
		t.Errorf("want %d %s, got %d %s: %s", status, code, a.StatusCode, a.code, a.body)
	}
	return a
}

func (a answer) header(t *testing.T, name, want string) {
	t.Helper()
	if got := a.Header.Get(name); got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func TestObject(t *testing.T) {
	c := newClient(t)
	c.do("GET", "/layers/a%20b/c%2Bd", "").want(t, 404, "NoSuchKey")
	put := c.do("PUT", "/layers/a%20b/c%2Bd", "hello world", "x-amz-checksum-sha256", checksum("hello world")).want(t, 200, "")
	sum := md5.Sum([]byte("hello world"))
	put.header(t, "ETag", `"`+hex.EncodeToString(sum[:])+`"`)
	put.header(t, "X-Amz-Checksum-Sha256", checksum("hello world"))
	head := c.do("HEAD", "/layers/a%20b/c%2Bd", "", "x-amz-checksum-mode", "ENABLED").want(t, 200, "")
	head.header(t, "Content-Length", "11")
	head.header(t, "X-Amz-Checksum-Sha256", checksum("hello world"))
	for _, r := range []struct{ ask, body, answered string }{
		{"bytes=0-4", "hello", "bytes 0-4/11"}, {"bytes=6-", "world", "bytes 6-10/11"},
		{"bytes=-3", "rld", "bytes 8-10/11"}, {"bytes=9-99", "ld", "bytes 9-10/11"},
	} {
		got := c.do("GET", "/layers/a%20b/c%2Bd", "", "Range", r.ask).want(t, 206, "")
		if got.body != r.body {
			t.Errorf("%s: %q", r.ask, got.body)
		}
		got.header(t, "Content-Range", r.answered)
	}
	c.do("GET", "/layers/a%20b/c%2Bd", "", "Range", "bytes=11-").want(t, 416, "InvalidRange")
	c.do("GET", "/layers/a%20b/c%2Bd", "", "If-Match", put.Header.Get("ETag")).want(t, 200, "")
	c.do("GET", "/layers/a%20b/c%2Bd", "", "If-Match", `"x"`).want(t, 412, "PreconditionFailed")
	c.do("DELETE", "/layers/a%20b/c%2Bd", "").want(t, 204, "")
	c.do("DELETE", "/layers/a%20b/c%2Bd", "").want(t, 204, "")
	if got := c.do("HEAD", "/layers/a%20b/c%2Bd", "").want(t, 404, ""); got.body != "" {
		t.Error("a body to HEAD")
	}
	c.do("PUT", "/layers/empty", "").want(t, 200, "")
	c.do("GET", "/layers/empty", "").want(t, 200, "").header(t, "Content-Length", "0")
	c.do("GET", "/other/x", "").want(t, 404, "NoSuchBucket")
}

func TestConditionalPut(t *testing.T) {
	c := newClient(t)
	c.do("PUT", "/layers/x", "1", "If-None-Match", "*").want(t, 200, "")
	c.do("PUT", "/layers/x", "2", "If-None-Match", "*").want(t, 412, "PreconditionFailed")
	c.do("PUT", "/layers/x", "2", "If-None-Match", `"e"`).want(t, 501, "NotImplemented")
	c.do("PUT", "/layers/x", "2", "If-Match", `"e"`).want(t, 501, "NotImplemented")
	c.settings(`{"conditional_put": "refuse"}`)
	c.do("PUT", "/layers/x", "2", "If-None-Match", "*").want(t, 501, "NotImplemented")
	c.settings(`{"conditional_put": "ignore"}`)
	c.do("PUT", "/layers/x", "2", "If-None-Match", "*").want(t, 200, "")
	if got := c.do("GET", "/layers/x", ""); got.body != "2" {
		t.Errorf("%q", got.body)
	}
}

// What is said of a body must be true of it.
func TestBodies(t *testing.T) {
	c := newClient(t)
	c.doHash("PUT", "/layers/x", "abc", hashOf("abd")).want(t, 400, "XAmzContentSHA256Mismatch")
	c.doHash("PUT", "/layers/x", "abc", sigv4.Unsigned).want(t, 400, "InvalidRequest")
	c.doHash("GET", "/layers/x", "", hashOf("abd")).want(t, 400, "XAmzContentSHA256Mismatch")
	c.do("GET", "/layers/x", "abc").want(t, 400, "InvalidRequest")
	c.do("PUT", "/layers/x", "abc", "x-amz-checksum-sha256", checksum("abd")).want(t, 400, "BadDigest")
	c.do("PUT", "/layers/x", "abc", "x-amz-checksum-sha256", "abd").want(t, 400, "InvalidRequest")
	c.do("PUT", "/layers/x", "abc", "x-amz-sdk-checksum-algorithm", "SHA256").want(t, 400, "InvalidRequest")
	c.do("PUT", "/layers/x", "abc", "x-amz-checksum-crc32", "AAAAAA==").want(t, 501, "NotImplemented")
	c.do("PUT", "/layers/x", "abc", "Content-MD5", "AAAA").want(t, 400, "BadDigest")
	c.settings(`{"require_checksum": true}`)
	c.do("PUT", "/layers/x", "abc").want(t, 400, "InvalidRequest")
	c.do("PUT", "/layers/x", "abc", "x-amz-checksum-sha256", checksum("abc")).want(t, 200, "")
	c.settings(`{"unsigned_payload_http": true}`)
	c.doHash("PUT", "/layers/x", "abc", sigv4.Unsigned).want(t, 200, "")
	r, _ := http.NewRequest("PUT", c.url+"/layers/x", io.MultiReader(strings.NewReader("abc")))
	if err := sigv4.Sign(r, c.cred, c.region, time.Now(), hashOf("abc")); err != nil {
		t.Fatal(err)
	}
	c.send(r).want(t, 501, "NotImplemented") // chunked
}

func TestHeadersOfObjects(t *testing.T) {
	c := newClient(t)
	kms := []string{"x-amz-server-side-encryption", "aws:kms", "x-amz-server-side-encryption-aws-kms-key-id", "k1",
		"x-amz-server-side-encryption-context", base64.StdEncoding.EncodeToString([]byte(`{"a":"b"}`))}
	put := c.do("PUT", "/layers/x", "abc", append(kms, "x-amz-storage-class", "STANDARD_IA", "x-amz-tagging", "a=b&c=d")...)
	put.want(t, 200, "").header(t, "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", "k1")
	if sum := md5.Sum([]byte("abc")); strings.Contains(put.Header.Get("ETag"), hex.EncodeToString(sum[:])) {
		t.Error("the ETag under KMS is the MD5")
	}
	head := c.do("HEAD", "/layers/x", "").want(t, 200, "")
	head.header(t, "X-Amz-Server-Side-Encryption", "aws:kms")
	head.header(t, "X-Amz-Storage-Class", "STANDARD_IA")
	c.do("PUT", "/layers/x", "abc", kms[2:4]...).want(t, 400, "InvalidArgument")
	c.do("PUT", "/layers/x", "abc", "x-amz-server-side-encryption", "rot13").want(t, 400, "InvalidEncryptionAlgorithmError")
	c.do("PUT", "/layers/x", "abc", "x-amz-storage-class", "CHEAP").want(t, 400, "InvalidStorageClass")
	c.do("PUT", "/layers/x", "abc", "x-amz-tagging", "a=b&a=c").want(t, 400, "InvalidTag")
	c.do("PUT", "/layers/x", "abc", "x-amz-storage-clas", "STANDARD").want(t, 501, "NotImplemented")
	c.settings(`{"require_sse": "AES256"}`)
	c.do("PUT", "/layers/x", "abc").want(t, 403, "AccessDenied")
	c.do("PUT", "/layers/x", "abc", "x-amz-server-side-encryption", "AES256").want(t, 200, "")
}

func TestBucketsThatRefuse(t *testing.T) {
	c := newClient(t)
	c.settings(`{"deny": ["PutObject", "ListObjectsV2"], "missing": ["CreateMultipartUpload"]}`)
	c.do("PUT", "/layers/x", "abc").want(t, 403, "AccessDenied")
	c.do("GET", "/layers/x", "").want(t, 403, "AccessDenied") // may not list
	c.do("POST", "/layers/x?uploads", "").want(t, 501, "NotImplemented")
	c.settings(`{"deny": ["PutObject a/", "ListObjectsV2 a/"]}`)
	c.do("PUT", "/layers/a/x", "abc").want(t, 403, "AccessDenied")
	c.do("PUT", "/layers/b/x", "abc").want(t, 200, "")
	c.do("GET", "/layers/b/y", "").want(t, 404, "NoSuchKey")
	c.do("GET", "/layers?list-type=2&prefix=a%2Fb", "").want(t, 403, "AccessDenied")
	c.do("GET", "/layers?list-type=2&prefix=b%2F", "").want(t, 200, "")
	c.settings(`{"requester_pays": true, "owner": "444455556666"}`)
	c.do("HEAD", "/layers", "").want(t, 403, "")
	c.do("HEAD", "/layers", "", "x-amz-request-payer", "requester").want(t, 200, "").header(t, "X-Amz-Request-Charged", "requester")
	c.do("GET", "/layers?list-type=2", "", "x-amz-request-payer", "requester", "x-amz-expected-bucket-owner", "111122223333").
		want(t, 403, "AccessDenied")
	c.settings(`{"clock_offset_s": 1000}`)
	skewed := c.do("GET", "/layers/x", "").want(t, 403, "RequestTimeTooSkewed")
	date, err := http.ParseTime(skewed.Header.Get("Date"))
	if d := time.Until(date); err != nil || d < 990*time.Second || d > 1010*time.Second {
		t.Errorf("the Date is not that of the server's clock: %v %v", d, err)
	}
}

func TestRegions(t *testing.T) {
	c := newClient(t)
	c.settings(`{"region": "eu-central-1"}`)
	a := c.do("GET", "/layers/x", "").want(t, 400, "AuthorizationHeaderMalformed")
	a.header(t, "X-Amz-Bucket-Region", "eu-central-1")
	if !strings.Contains(a.body, "<Region>eu-central-1</Region>") {
		t.Error(a.body)
	}
	c.settings(`{"region": "eu-central-1", "wrong_region": "301"}`)
	a = c.do("HEAD", "/layers", "").want(t, 301, "")
	a.header(t, "X-Amz-Bucket-Region", "eu-central-1")
	c.do("GET", "/layers/x", "").want(t, 301, "PermanentRedirect")
	c.region = "eu-central-1"
	c.do("GET", "/layers/x", "").want(t, 404, "NoSuchKey")
	c.settings(`{"redirect_to": "http://127.0.0.1:1"}`)
	c.do("GET", "/layers/x?x-id=1", "").want(t, 307, "TemporaryRedirect").header(t, "Location", "http://127.0.0.1:1/layers/x?x-id=1")
}

func TestAddressing(t *testing.T) {
	c := newClient(t)
	plain := c.url
	c.do("PUT", "/layers/x", "abc").want(t, 200, "")
	u, _ := url.Parse(plain)
	virtual := func(method, target string) answer {
		r, _ := http.NewRequest(method, plain+target, nil)
		r.Host = "layers.localhost:" + u.Port()
		if err := sigv4.Sign(r, c.cred, c.region, time.Now(), emptyHash); err != nil {
			t.Fatal(err)
		}
		return c.send(r)
	}
	if got := virtual("GET", "/x").want(t, 200, ""); got.body != "abc" {
		t.Errorf("%q", got.body)
	}
	virtual("GET", "/?list-type=2").want(t, 200, "")
	c.settings(`{"addressing": "path"}`)
	virtual("GET", "/x").want(t, 400, "InvalidRequest")
	c.settings(`{"addressing": "virtual"}`)
	virtual("GET", "/x").want(t, 200, "")
	c.do("GET", "/layers/x", "").want(t, 400, "InvalidRequest")
}

func TestIssuedCredentials(t *testing.T) {
	c := newClient(t)
	issued := identity.Issue(time.Hour)
	c.cred = sigv4.Credentials{AccessKey: issued.AccessKey, SecretKey: issued.SecretKey, Token: issued.Token}
	c.do("PUT", "/layers/x", "abc").want(t, 200, "")
	signed, err := sigv4.Presign("GET", c.url+"/layers/x", c.cred, c.region, time.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := http.NewRequest("GET", signed, nil)
	c.send(r).want(t, 200, "")
	c.cred.Token = ""
	c.do("GET", "/layers/x", "").want(t, 403, "InvalidAccessKeyId")
	issued = identity.Issue(-time.Minute)
	c.cred = sigv4.Credentials{AccessKey: issued.AccessKey, SecretKey: issued.SecretKey, Token: issued.Token}
	c.do("GET", "/layers/x", "").want(t, 400, "ExpiredToken")
}

func TestLog(t *testing.T) {
	c := newClient(t)
	c.do("PUT", "/layers/x%20y", "abc", "x-amz-storage-class", "STANDARD").want(t, 200, "")
	c.do("GET", "/layers/nope", "")
	control := httptest.NewServer(c.s.Control())
	defer control.Close()
	var got []byte
	resp, err := http.Get(control.URL + "/log")
	if err == nil {
		got, err = io.ReadAll(resp.Body)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"op": "PutObject"`, `"key": "x y"`, `"target": "/layers/x%20y"`, `"bytes": 3`,
		`"x-amz-storage-class": "STANDARD"`, `"code": "NoSuchKey"`, `"access_key": "` + AccessKey + `"`, `"status": 404`} {
		if !bytes.Contains(got, []byte(want)) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if err := c.s.Settings.Change(strings.NewReader(`{"denny": []}`), false); err == nil {
		t.Error("a setting that does not exist was taken")
	}
	if objects := fmt.Sprint(c.s.describe()["objects"]); !strings.Contains(objects, hashOf("abc")) {
		t.Error(objects)
	}
}
