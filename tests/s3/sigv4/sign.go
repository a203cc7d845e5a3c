package sigv4

import (
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Credentials are what a client signs with; Token is empty for those that do not end.
type Credentials struct{ AccessKey, SecretKey, Token string }

// mustSign says which headers S3 wants signed where they are sent.
func mustSign(name string) bool {
	return name == "host" || name == "content-md5" || name == "content-type" || strings.HasPrefix(name, "x-amz-")
}

// Sign adds date, payload hash, token and Authorization to r, for S3.
func Sign(r *http.Request, c Credentials, region string, now time.Time, payload string) error {
	date := now.UTC().Format(TimeFormat)
	r.Header.Set("X-Amz-Date", date)
	r.Header.Set("X-Amz-Content-Sha256", payload)
	if c.Token != "" {
		r.Header.Set("X-Amz-Security-Token", c.Token)
	}
	signed := []string{"host"}
	for name := range r.Header {
		if name = strings.ToLower(name); mustSign(name) {
			signed = append(signed, name)
		}
	}
	sort.Strings(signed)
	canonical, err := Canonical(r, signed, payload)
	if err != nil {
		return err
	}
	scope := Scope{date[:8], region, "s3"}
	r.Header.Set("Authorization", Algorithm+" Credential="+c.AccessKey+"/"+scope.String()+
		", SignedHeaders="+strings.Join(signed, ";")+
		", Signature="+Signature(c.SecretKey, scope, StringToSign(date, scope, canonical)))
	return nil
}

// Presign is target with a signature in its query, over no header but the host, good for ttl.
func Presign(method, target string, c Credentials, region string, now time.Time, ttl time.Duration) (string, error) {
	u, err := url.Parse(target)
	if err != nil {
		return "", err
	}
	date := now.UTC().Format(TimeFormat)
	scope := Scope{date[:8], region, "s3"}
	add := []string{
		"X-Amz-Algorithm=" + Algorithm,
		"X-Amz-Credential=" + Encode(c.AccessKey+"/"+scope.String(), false),
		"X-Amz-Date=" + date,
		"X-Amz-Expires=" + strconv.Itoa(int(ttl/time.Second)),
		"X-Amz-SignedHeaders=host",
	}
	if c.Token != "" {
		add = append(add, "X-Amz-Security-Token="+Encode(c.Token, false))
	}
	if u.RawQuery != "" {
		add = append(add, u.RawQuery)
	}
	u.RawQuery = strings.Join(add, "&")
	r, err := http.NewRequest(method, u.String(), nil)
	if err != nil {
		return "", err
	}
	canonical, err := Canonical(r, []string{"host"}, Unsigned)
	if err != nil {
		return "", err
	}
	u.RawQuery += "&X-Amz-Signature=" + Signature(c.SecretKey, scope, StringToSign(date, scope, canonical))
	return u.String(), nil
}
