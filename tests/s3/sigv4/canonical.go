// Package sigv4 is AWS Signature Version 4 for the servers of the tests, which verify with it, and for their
// own tests and tools, which sign with it. It is written from the published description alone and shares
// nothing with what Stowage signs with, so that the two can prove each other.
package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

const (
	Algorithm = "AWS4-HMAC-SHA256"
	Unsigned  = "UNSIGNED-PAYLOAD"
	// TimeFormat is that of x-amz-date, in UTC.
	TimeFormat = "20060102T150405Z"
	dateFormat = "20060102"
)

// Scope is what a signature is good for, as it stands in a credential behind the access key.
type Scope struct{ Date, Region, Service string }

func (s Scope) String() string { return s.Date + "/" + s.Region + "/" + s.Service + "/aws4_request" }

// Encode percent-encodes all but the unreserved characters of RFC 3986, and the slash where it is kept.
func Encode(s string, keepSlash bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9',
			c == '-', c == '.', c == '_', c == '~', c == '/' && keepSlash:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// canonicalPath is S3's: encoded once, and never normalised ("." and "//" are part of a key).
func canonicalPath(raw string) (string, error) {
	if raw == "" {
		return "/", nil
	}
	path, err := url.PathUnescape(raw)
	if err != nil {
		return "", err
	}
	return Encode(path, true), nil
}

// canonicalQuery sorts by encoded name, then by encoded value, without the parameter `except`. A raw "+" is
// refused, for readers differ on whether it means a space.
func canonicalQuery(raw, except string) (string, error) {
	if raw == "" {
		return "", nil
	}
	if strings.ContainsAny(raw, "+;") {
		return "", errors.New(`the query holds a bare "+" or ";": both must be percent-encoded`)
	}
	type pair struct{ name, value string }
	var pairs []pair
	for _, part := range strings.Split(raw, "&") {
		name, value, _ := strings.Cut(part, "=")
		n, err := url.PathUnescape(name)
		if err != nil {
			return "", err
		}
		v, err := url.PathUnescape(value)
		if err != nil {
			return "", err
		}
		if n == "" {
			return "", errors.New("the query has a parameter without a name")
		}
		if n != except {
			pairs = append(pairs, pair{Encode(n, false), Encode(v, false)})
		}
	}
	sort.SliceStable(pairs, func(i, j int) bool {
		if pairs[i].name != pairs[j].name {
			return pairs[i].name < pairs[j].name
		}
		return pairs[i].value < pairs[j].value
	})
	var b strings.Builder
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.name + "=" + p.value)
	}
	return b.String(), nil
}

// headerValue is the canonical value of one header of r; net/http keeps two of them elsewhere.
func headerValue(r *http.Request, name string) (string, bool) {
	switch name {
	case "host":
		if r.Host == "" {
			return r.URL.Host, true
		}
		return r.Host, true
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10), r.ContentLength >= 0
	}
	values, ok := r.Header[http.CanonicalHeaderKey(name)]
	if !ok {
		return "", false
	}
	var out []string
	for _, v := range values {
		out = append(out, strings.Join(strings.Fields(v), " "))
	}
	return strings.Join(out, ","), true
}

// rawPath and rawQuery are what stood on the request line.
func rawTarget(r *http.Request) (path, query string) {
	if r.RequestURI == "" {
		return r.URL.EscapedPath(), r.URL.RawQuery
	}
	path, query, _ = strings.Cut(r.RequestURI, "?")
	return path, query
}

// Canonical is the canonical request over the signed headers, which must be in order.
func Canonical(r *http.Request, signed []string, payload string) (string, error) {
	rawPath, rawQuery := rawTarget(r)
	path, err := canonicalPath(rawPath)
	if err != nil {
		return "", err
	}
	query, err := canonicalQuery(rawQuery, "X-Amz-Signature")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n%s\n", r.Method, path, query)
	for _, name := range signed {
		value, ok := headerValue(r, name)
		if !ok {
			return "", fmt.Errorf("the signed header %s is not there", name)
		}
		fmt.Fprintf(&b, "%s:%s\n", name, value)
	}
	fmt.Fprintf(&b, "\n%s\n%s", strings.Join(signed, ";"), payload)
	return b.String(), nil
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// StringToSign is what the key is applied to; date as in x-amz-date.
func StringToSign(date string, scope Scope, canonical string) string {
	return Algorithm + "\n" + date + "\n" + scope.String() + "\n" + hexSum(canonical)
}

func mac(key []byte, s string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return h.Sum(nil)
}

// Signature is that of a string to sign, in hex.
func Signature(secret string, scope Scope, toSign string) string {
	key := mac([]byte("AWS4"+secret), scope.Date)
	key = mac(key, scope.Region)
	key = mac(key, scope.Service)
	key = mac(key, "aws4_request")
	return hex.EncodeToString(mac(key, toSign))
}
