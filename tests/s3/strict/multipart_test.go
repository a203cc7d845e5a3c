package strict

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"strings"
	"testing"
)

func (c *client) create(key string, headers ...string) string {
	c.t.Helper()
	var r struct{ UploadId string }
	a := c.do("POST", "/layers/"+key+"?uploads", "", headers...).want(c.t, 200, "")
	if err := xml.Unmarshal([]byte(a.body), &r); err != nil || r.UploadId == "" {
		c.t.Fatal(a.body)
	}
	return r.UploadId
}

func (c *client) part(key, id string, n int, body string, headers ...string) answer {
	c.t.Helper()
	return c.do("PUT", fmt.Sprintf("/layers/%s?partNumber=%d&uploadId=%s", key, n, id), body, headers...)
}

// listing is the body for Complete: part numbers, ETags and checksums in turn.
func listing(fields ...interface{}) string {
	b := "<CompleteMultipartUpload>"
	for i := 0; i < len(fields); i += 3 {
		b += fmt.Sprintf("<Part><PartNumber>%d</PartNumber><ETag>%s</ETag>", fields[i], fields[i+1])
		if fields[i+2] != "" {
			b += fmt.Sprintf("<ChecksumSHA256>%s</ChecksumSHA256>", fields[i+2])
		}
		b += "</Part>"
	}
	return b + "</CompleteMultipartUpload>"
}

func (c *client) complete(key, id, body string, headers ...string) answer {
	c.t.Helper()
	return c.do("POST", "/layers/"+key+"?uploadId="+id, body, headers...)
}

func etagOf(body string) string {
	sum := md5.Sum([]byte(body))
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func TestMultipart(t *testing.T) {
	c := newClient(t)
	c.settings(`{"min_part_size": 4}`)
	id := c.create("x")
	c.part("x", id, 2, "bb").want(t, 200, "").header(t, "ETag", etagOf("bb"))
	c.part("x", id, 1, "wrong").want(t, 200, "")
	c.part("x", id, 1, "aaaa").want(t, 200, "")
	c.part("x", id, 0, "a").want(t, 400, "InvalidArgument")
	c.part("x", id, 10001, "a").want(t, 400, "InvalidArgument")
	c.part("y", id, 1, "a").want(t, 404, "NoSuchUpload")
	c.part("x", id, 1, "a", "x-amz-checksum-sha256", checksum("a")).want(t, 400, "InvalidRequest")
	c.part("x", id, 1, "a", "x-amz-storage-class", "STANDARD").want(t, 501, "NotImplemented")

	a, b := etagOf("aaaa"), etagOf("bb")
	c.complete("x", id, listing(2, b, "", 1, a, "")).want(t, 400, "InvalidPartOrder")
	c.complete("x", id, listing(1, a, "", 1, a, "")).want(t, 400, "InvalidPartOrder")
	c.complete("x", id, listing(1, b, "")).want(t, 400, "InvalidPart")
	c.complete("x", id, listing(1, a, "", 3, b, "")).want(t, 400, "InvalidPart")
	c.complete("x", id, listing(1, a, checksum("aaaa"))).want(t, 400, "InvalidRequest")
	c.complete("x", id, listing()).want(t, 400, "MalformedXML")
	c.complete("x", id, "<Complete/>").want(t, 400, "MalformedXML")
	c.complete("x", id, strings.Replace(listing(1, a, ""), "<Part>", "<Part><X/>", 1)).want(t, 400, "MalformedXML")
	c.complete("x", id, listing(1, a, ""), "x-amz-mp-object-size", "5").want(t, 400, "InvalidRequest")
	whole := c.complete("x", id, listing(1, a, "", 2, b, ""), "x-amz-mp-object-size", "6").want(t, 200, "")
	if !strings.Contains(whole.body, "-2&#34;</ETag>") {
		t.Error(whole.body)
	}
	if got := c.do("GET", "/layers/x", ""); got.body != "aaaabb" {
		t.Errorf("%q", got.body)
	}
	c.complete("x", id, listing(1, a, "", 2, b, "")).want(t, 404, "NoSuchUpload")
	c.do("DELETE", "/layers/x?uploadId="+id, "").want(t, 404, "NoSuchUpload")
	if left := c.s.describe()["uploads"]; len(left) != 0 {
		t.Error(left)
	}

	c.settings(`{"min_part_size": 5}`)
	id = c.create("y")
	c.part("y", id, 1, "aaaa").want(t, 200, "")
	c.part("y", id, 10000, "bb").want(t, 200, "")
	c.complete("y", id, listing(1, a, "", 10000, b, "")).want(t, 400, "EntityTooSmall")
	c.do("DELETE", "/layers/y?uploadId="+id, "").want(t, 204, "")
	c.part("y", id, 1, "aaaa").want(t, 404, "NoSuchUpload")
}

func TestRepeatedComplete(t *testing.T) {
	c := newClient(t)
	c.settings(`{"repeated_complete": true}`)
	id := c.create("x")
	c.part("x", id, 1, "aa").want(t, 200, "")
	list := listing(1, etagOf("aa"), "")
	c.complete("x", id, list).want(t, 200, "")
	c.complete("x", id, list).want(t, 200, "")
	c.part("x", id, 2, "b").want(t, 404, "NoSuchUpload")
	if left := c.s.describe()["uploads"]; len(left) != 0 {
		t.Error(left)
	}
}

func TestMultipartChecksums(t *testing.T) {
	c := newClient(t)
	c.settings(`{"min_part_size": 1}`)
	c.do("POST", "/layers/x?uploads", "", "x-amz-checksum-algorithm", "CRC32").want(t, 501, "NotImplemented")
	id := c.create("x", "x-amz-checksum-algorithm", "SHA256")
	c.part("x", id, 1, "aa").want(t, 400, "InvalidRequest")
	c.part("x", id, 1, "aa", "x-amz-checksum-sha256", checksum("ab")).want(t, 400, "BadDigest")
	c.part("x", id, 1, "aa", "x-amz-checksum-sha256", checksum("aa")).want(t, 200, "").
		header(t, "X-Amz-Checksum-Sha256", checksum("aa"))
	c.part("x", id, 2, "b", "x-amz-checksum-sha256", checksum("b")).want(t, 200, "")
	raw := []byte{}
	for _, p := range []string{"aa", "b"} {
		sum := sha256.Sum256([]byte(p))
		raw = append(raw, sum[:]...)
	}
	sum := sha256.Sum256(raw)
	composite := base64.StdEncoding.EncodeToString(sum[:]) + "-2"
	both := listing(1, etagOf("aa"), checksum("aa"), 2, etagOf("b"), checksum("b"))
	c.complete("x", id, listing(1, etagOf("aa"), "", 2, etagOf("b"), "")).want(t, 400, "InvalidRequest")
	c.complete("x", id, both, "x-amz-checksum-sha256", checksum("aab")).want(t, 400, "BadDigest")
	a := c.complete("x", id, both, "x-amz-checksum-sha256", composite).want(t, 200, "")
	if !strings.Contains(a.body, "<ChecksumSHA256>"+composite+"</ChecksumSHA256>") {
		t.Error(a.body)
	}
	head := c.do("HEAD", "/layers/x", "", "x-amz-checksum-mode", "ENABLED")
	head.header(t, "X-Amz-Checksum-Sha256", composite)
	head.header(t, "X-Amz-Checksum-Type", "COMPOSITE")
}

func TestConditionalComplete(t *testing.T) {
	c := newClient(t)
	upload := func() (string, string) {
		id := c.create("x")
		c.part("x", id, 1, "aa").want(t, 200, "")
		return id, listing(1, etagOf("aa"), "")
	}
	id, list := upload()
	c.do("PUT", "/layers/x", "other").want(t, 200, "")
	c.complete("x", id, list, "If-None-Match", "*").want(t, 412, "PreconditionFailed")
	if got := c.do("GET", "/layers/x", ""); got.body != "other" {
		t.Errorf("overwritten: %q", got.body)
	}
	c.settings(`{"conditional_complete": "refuse"}`)
	c.complete("x", id, list, "If-None-Match", "*").want(t, 501, "NotImplemented")
	c.settings(`{"conditional_complete": "ignore"}`)
	c.complete("x", id, list, "If-None-Match", "*").want(t, 200, "")

	c.settings(`{"early_complete_ms": 50}`)
	id, list = upload()
	a := c.complete("x", id, list, "If-None-Match", "*").want(t, 200, "PreconditionFailed")
	if !strings.Contains(a.body, "?>\n  ") {
		t.Errorf("no blanks: %q", a.body)
	}
	a = c.complete("x", id, list).want(t, 200, "")
	if !strings.Contains(a.body, "<CompleteMultipartUploadResult") {
		t.Error(a.body)
	}
}

// Pages of every kind of list, to the end, with names that need encoding.
func TestLists(t *testing.T) {
	c := newClient(t)
	c.settings(`{"page_size": 2}`)
	names := []string{"a b", "d/1", "d/2", "d/3", "e+f", "z"}
	for _, n := range names {
		key := strings.NewReplacer(" ", "%20", "+", "%2B").Replace(n)
		c.do("PUT", "/layers/"+key, n).want(t, 200, "")
	}
	type result struct {
		IsTruncated                            bool
		NextContinuationToken                  string
		NextKeyMarker, NextUploadIdMarker      string
		NextPartNumberMarker                   string
		Contents, CommonPrefixes, Upload, Part []struct{ Key, Prefix, UploadId, PartNumber string }
	}
	walk := func(target string, next func(result) string) (got []string, pages int) {
		at := ""
		for pages < 10 {
			var r result
			a := c.do("GET", target+at, "").want(t, 200, "")
			if err := xml.Unmarshal([]byte(a.body), &r); err != nil {
				t.Fatal(err, a.body)
			}
			pages++
			for _, list := range [][]struct{ Key, Prefix, UploadId, PartNumber string }{r.Contents, r.CommonPrefixes, r.Upload, r.Part} {
				for _, x := range list {
					got = append(got, x.Key+x.Prefix+x.PartNumber)
				}
			}
			if at = next(r); !r.IsTruncated {
				break
			}
		}
		return
	}
	check := func(what, got, want string, pages, wantPages int) {
		t.Helper()
		if got != want || pages != wantPages {
			t.Errorf("%s: %s in %d pages; want %s in %d", what, got, pages, want, wantPages)
		}
	}
	byToken := func(r result) string {
		return "&continuation-token=" + strings.NewReplacer("=", "%3D", "+", "%2B", "/", "%2F").Replace(r.NextContinuationToken)
	}
	got, pages := walk("/layers?list-type=2", byToken)
	check("all", strings.Join(got, ","), strings.Join(names, ","), pages, 3)
	got, pages = walk("/layers?list-type=2&delimiter=%2F", byToken)
	check("folders", strings.Join(got, ","), "a b,d/,e+f,z", pages, 2)
	got, pages = walk("/layers?list-type=2&prefix=d%2F&start-after=d%2F1", byToken)
	check("prefix", strings.Join(got, ","), "d/2,d/3", pages, 1)
	got, pages = walk("/layers?list-type=2&encoding-type=url&max-keys=1", byToken)
	check("encoded", strings.Join(got, ","), "a%20b,d/1,d/2,d/3,e%2Bf,z", pages, 6)
	c.do("GET", "/layers?list-type=2&continuation-token=z", "").want(t, 400, "InvalidArgument")
	c.do("GET", "/layers", "").want(t, 501, "NotImplemented")

	id := ""
	for _, n := range []string{"u", "u", "u", "v"} {
		id = c.create(n)
	}
	got, pages = walk("/layers?uploads", func(r result) string {
		return "&key-marker=" + r.NextKeyMarker + "&upload-id-marker=" + r.NextUploadIdMarker
	})
	check("uploads", strings.Join(got, ","), "u,u,u,v", pages, 2)
	got, pages = walk("/layers?uploads&prefix=v", func(r result) string { return "" })
	check("uploads of v", strings.Join(got, ","), "v", pages, 1)
	for n := 1; n <= 5; n++ {
		c.part("v", id, n*2, "x").want(t, 200, "")
	}
	got, pages = walk("/layers/v?uploadId="+id, func(r result) string { return "&part-number-marker=" + r.NextPartNumberMarker })
	check("parts", strings.Join(got, ","), "2,4,6,8,10", pages, 3)
}
