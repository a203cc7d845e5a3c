package sigv4

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The examples of "Signature Calculations for the Authorization Header" in the S3 API reference.
const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	exampleHost   = "examplebucket.s3.amazonaws.com"
	emptyHash     = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

var exampleTime = time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)

func exampleVerifier() *Verifier {
	return &Verifier{
		Region: "us-east-1", Service: "s3", Now: func() time.Time { return exampleTime },
		Lookup: func(key, token string) (Secret, bool) {
			return Secret{Key: exampleSecret}, key == exampleKey
		},
	}
}

type example struct {
	name, method, target, payload, signed, signature string
	headers                                          map[string]string
}

var examples = []example{
	{"GET object", "GET", "/test.txt", emptyHash, "host;range;x-amz-content-sha256;x-amz-date",
		"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
		map[string]string{"Range": "bytes=0-9"}},
	{"PUT object", "PUT", "/test$file.text", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
		"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
		"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
		map[string]string{"Date": "Fri, 24 May 2013 00:00:00 GMT", "X-Amz-Storage-Class": "REDUCED_REDUNDANCY"}},
	{"GET lifecycle", "GET", "/?lifecycle", emptyHash, "host;x-amz-content-sha256;x-amz-date",
		"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", nil},
	{"list objects", "GET", "/?max-keys=2&prefix=J", emptyHash, "host;x-amz-content-sha256;x-amz-date",
		"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", nil},
}

func (e example) request() *http.Request {
	r := httptest.NewRequest(e.method, e.target, nil)
	r.Host = exampleHost
	for name, value := range e.headers {
		r.Header.Set(name, value)
	}
	r.Header.Set("X-Amz-Date", exampleTime.Format(TimeFormat))
	r.Header.Set("X-Amz-Content-Sha256", e.payload)
	r.Header.Set("Authorization", Algorithm+" Credential="+exampleKey+"/20130524/us-east-1/s3/aws4_request,"+
		"SignedHeaders="+e.signed+",Signature="+e.signature)
	return r
}

func TestPublishedExamples(t *testing.T) {
	for _, e := range examples {
		if _, f := exampleVerifier().Verify(e.request()); f != nil {
			t.Errorf("%s: %v\n%v", e.name, f, f.Extra)
		}
	}
}

func TestPublishedPresignedExample(t *testing.T) {
	r := httptest.NewRequest("GET", "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE"+
		"%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"+
		"&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", nil)
	r.Host = exampleHost
	if _, f := exampleVerifier().Verify(r); f != nil {
		t.Errorf("%v\n%v", f, f.Extra)
	}
	late := exampleVerifier()
	late.Now = func() time.Time { return exampleTime.Add(24*time.Hour + time.Second) }
	if _, f := late.Verify(r); f == nil || f.Code != "AccessDenied" {
		t.Errorf("taken after its end: %v", f)
	}
}

// Whatever is changed in a good request, it is refused, and for the right reason.
func TestRefused(t *testing.T) {
	put := examples[1]
	replace := func(r *http.Request, old, new string) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), old, new, 1))
	}
	cases := []struct {
		name, code string
		change     func(r *http.Request)
	}{
		{"method", "SignatureDoesNotMatch", func(r *http.Request) { r.Method = "GET" }},
		{"path", "SignatureDoesNotMatch", func(r *http.Request) { r.RequestURI = "/test%24file.tex" }},
		{"query", "SignatureDoesNotMatch", func(r *http.Request) { r.RequestURI += "?acl" }},
		{"host", "SignatureDoesNotMatch", func(r *http.Request) { r.Host = "other." + r.Host }},
		{"signed header", "SignatureDoesNotMatch", func(r *http.Request) { r.Header.Set("X-Amz-Storage-Class", "STANDARD") }},
		{"payload hash", "SignatureDoesNotMatch", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", emptyHash) }},
		{"no payload hash", "InvalidRequest", func(r *http.Request) { r.Header.Del("X-Amz-Content-Sha256") }},
		{"unsigned payload", "InvalidRequest", func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", Unsigned) }},
		{"unsigned x-amz header", "AccessDenied", func(r *http.Request) { r.Header.Set("X-Amz-Acl", "private") }},
		{"unsigned content-md5", "AccessDenied", func(r *http.Request) { r.Header.Set("Content-Md5", "x") }},
		{"unsigned content-type", "AccessDenied", func(r *http.Request) { r.Header.Set("Content-Type", "x/y") }},
		{"unsigned host", "AccessDenied", func(r *http.Request) { replace(r, "host;", "") }},
		{"signed header that is not there", "InvalidRequest", func(r *http.Request) { r.Header.Del("Date") }},
		{"order of headers", "AuthorizationHeaderMalformed", func(r *http.Request) { replace(r, "date;host", "host;date") }},
		{"double header", "InvalidArgument", func(r *http.Request) { r.Header.Add("X-Amz-Storage-Class", "STANDARD") }},
		{"region", "AuthorizationHeaderMalformed", func(r *http.Request) { replace(r, "us-east-1", "eu-west-1") }},
		{"service", "AuthorizationHeaderMalformed", func(r *http.Request) { replace(r, "/s3/", "/iam/") }},
		{"date in the scope", "AuthorizationHeaderMalformed", func(r *http.Request) { replace(r, "20130524", "20130523") }},
		{"access key", "InvalidAccessKeyId", func(r *http.Request) { replace(r, exampleKey, "AKIAOTHER") }},
		{"token", "InvalidToken", func(r *http.Request) {
			r.Header.Set("X-Amz-Security-Token", "t")
			replace(r, "x-amz-date;", "x-amz-date;x-amz-security-token;")
			replace(r, "x-amz-security-token;x-amz-storage-class", "x-amz-security-token;x-amz-storage-class")
		}},
		{"no signature", "AccessDenied", func(r *http.Request) { r.Header.Del("Authorization") }},
		{"shape", "AuthorizationHeaderMalformed", func(r *http.Request) { replace(r, "Signature=", "Sig=") }},
		{"time", "RequestTimeTooSkewed", func(r *http.Request) { r.Header.Set("X-Amz-Date", "20130524T001501Z") }},
		{"shape of the time", "AccessDenied", func(r *http.Request) { r.Header.Set("X-Amz-Date", "2013-05-24") }},
	}
	for _, c := range cases {
		r := put.request()
		c.change(r)
		if _, f := exampleVerifier().Verify(r); f == nil || f.Code != c.code {
			t.Errorf("%s: want %s, got %v", c.name, c.code, f)
		}
	}
}

func TestSignAndPresign(t *testing.T) {
	c := Credentials{exampleKey, exampleSecret, "to/k+en="}
	v := exampleVerifier()
	v.Lookup = func(key, token string) (Secret, bool) { return Secret{Key: exampleSecret, Token: c.Token}, true }
	target := "http://" + exampleHost + "/a%20b/c%2Bd/" + url.PathEscape("ü~*'()!") + "?list-type=2&prefix=a%2Fb%20c&delimiter"
	r := httptest.NewRequest("GET", target, nil)
	r.RequestURI = strings.TrimPrefix(target, "http://"+exampleHost)
	if err := Sign(r, c, "us-east-1", exampleTime, emptyHash); err != nil {
		t.Fatal(err)
	}
	if _, f := v.Verify(r); f != nil {
		t.Errorf("signed: %v\n%v", f, f.Extra)
	}
	signed, err := Presign("GET", target, c, "us-east-1", exampleTime, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	r = httptest.NewRequest("GET", signed, nil)
	r.RequestURI = strings.TrimPrefix(signed, "http://"+exampleHost)
	if _, f := v.Verify(r); f != nil {
		t.Errorf("presigned: %v\n%v", f, f.Extra)
	}
	v.Now = func() time.Time { return exampleTime.Add(time.Hour) }
	v.Lookup = func(key, token string) (Secret, bool) {
		return Secret{Key: exampleSecret, Token: c.Token, Expires: exampleTime.Add(time.Minute)}, true
	}
	r = httptest.NewRequest("GET", "/", nil)
	if err := Sign(r, c, "us-east-1", v.Now(), emptyHash); err != nil {
		t.Fatal(err)
	}
	if _, f := v.Verify(r); f == nil || f.Code != "ExpiredToken" {
		t.Errorf("an expired token: %v", f)
	}
}

func TestQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"":                   "",
		"uploads":            "uploads=",
		"b=2&a=1&b=10&a-b=3": "a=1&a-b=3&b=10&b=2",
		"k=%2f%7e&x=a%20b":   "k=%2F~&x=a%20b",
	} {
		if got, err := canonicalQuery(raw, ""); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", raw, got, err, want)
		}
	}
	for _, raw := range []string{"a+b", "a;b", "%zz", "=x"} {
		if got, err := canonicalQuery(raw, ""); err == nil {
			t.Errorf("%q became %q", raw, got)
		}
	}
}
