package sigv4

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Fault is why a request is refused, in S3's words.
type Fault struct {
	Status int
	Code   string
	Why    string
	Extra  [][2]string // more elements for the answer's body
}

func (f *Fault) Error() string { return f.Code + ": " + f.Why }

func fault(status int, code, format string, args ...interface{}) *Fault {
	return &Fault{Status: status, Code: code, Why: fmt.Sprintf(format, args...)}
}

// Secret is what is known of an access key.
type Secret struct {
	Key     string
	Token   string    // that must come along; empty where none may
	Expires time.Time // zero: never
}

// Verifier holds what a server expects.
type Verifier struct {
	Region  string
	Service string
	Now     func() time.Time
	// Lookup finds the secret of an access key, given the token that came along.
	Lookup func(accessKey, token string) (Secret, bool)
	// AllowUnsigned: UNSIGNED-PAYLOAD is taken, as S3 does over TLS.
	AllowUnsigned bool
}

// Claim is what a request says of itself, and, once it is verified, is true.
type Claim struct {
	AccessKey string
	Scope     Scope
	Time      time.Time
	Presigned bool
	// Payload is the body's SHA-256 in hex, or Unsigned.
	Payload string

	date, signature, token string
	signed                 []string
	expires                time.Duration
}

const skew = 15 * time.Minute

var (
	hexHash     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	headerShape = regexp.MustCompile(
		`^AWS4-HMAC-SHA256 Credential=([^ ,]+), ?SignedHeaders=([^ ,]+), ?Signature=([0-9a-f]{64})$`)
)

// Verify checks all that can be checked before the body has come. The body's hash is the caller's to compare
// with the claim's.
func (v *Verifier) Verify(r *http.Request) (*Claim, *Fault) {
	c, f := v.claim(r)
	if f != nil {
		return c, f
	}
	if f := v.checkScope(c); f != nil {
		return c, f
	}
	if f := checkHeaders(r, c); f != nil {
		return c, f
	}
	if f := v.checkTime(c); f != nil {
		return c, f
	}
	secret, ok := v.Lookup(c.AccessKey, c.token)
	if !ok {
		return c, fault(403, "InvalidAccessKeyId", "the access key %s is not known", c.AccessKey)
	}
	if f := v.checkToken(c, secret); f != nil {
		return c, f
	}
	canonical, err := Canonical(r, c.signed, c.Payload)
	if err != nil {
		return c, fault(400, "InvalidRequest", "%v", err)
	}
	toSign := StringToSign(c.date, c.Scope, canonical)
	want := Signature(secret.Key, c.Scope, toSign)
	if subtle.ConstantTimeCompare([]byte(want), []byte(c.signature)) != 1 {
		f := fault(403, "SignatureDoesNotMatch", "the signature is not that of this request")
		f.Extra = [][2]string{{"AWSAccessKeyId", c.AccessKey}, {"StringToSign", toSign},
			{"SignatureProvided", c.signature}, {"CanonicalRequest", canonical}}
		return c, f
	}
	return c, nil
}

func (v *Verifier) claim(r *http.Request) (*Claim, *Fault) {
	_, query := rawTarget(r)
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, fault(400, "InvalidURI", "%v", err)
	}
	header, inQuery := r.Header.Get("Authorization"), values.Has("X-Amz-Signature")
	switch {
	case header != "" && inQuery:
		return nil, fault(400, "InvalidArgument", "a signature in the header and one in the query")
	case header == "" && !inQuery:
		return nil, fault(403, "AccessDenied", "the request is not signed")
	case inQuery:
		return v.claimOfQuery(r, values)
	}
	return v.claimOfHeader(r, header)
}

func malformed(format string, args ...interface{}) *Fault {
	return fault(400, "AuthorizationHeaderMalformed", format, args...)
}

func (v *Verifier) claimOfHeader(r *http.Request, header string) (*Claim, *Fault) {
	m := headerShape.FindStringSubmatch(header)
	if m == nil {
		return nil, malformed("it must be %s Credential=…, SignedHeaders=…, Signature=…", Algorithm)
	}
	c := &Claim{signed: strings.Split(m[2], ";"), signature: m[3], token: r.Header.Get("X-Amz-Security-Token")}
	if f := c.setCredential(m[1]); f != nil {
		return c, f
	}
	c.date = r.Header.Get("X-Amz-Date")
	c.Payload = r.Header.Get("X-Amz-Content-Sha256")
	switch {
	case c.Payload == "":
		return c, fault(400, "InvalidRequest", "x-amz-content-sha256 is missing")
	case c.Payload == Unsigned && !v.AllowUnsigned:
		return c, fault(400, "InvalidRequest", "%s is for TLS only", Unsigned)
	case strings.HasPrefix(c.Payload, "STREAMING-"):
		return c, fault(501, "NotImplemented", "payloads signed in chunks are not understood")
	case c.Payload != Unsigned && !hexHash.MatchString(c.Payload):
		return c, fault(400, "InvalidArgument", "x-amz-content-sha256 must be %s or a SHA-256 in lower hex", Unsigned)
	}
	return c, c.setTime()
}

func (v *Verifier) claimOfQuery(r *http.Request, q url.Values) (*Claim, *Fault) {
	bad := func(format string, args ...interface{}) *Fault {
		return fault(400, "AuthorizationQueryParametersError", format, args...)
	}
	for name, values := range q {
		if strings.HasPrefix(name, "X-Amz-") && len(values) != 1 {
			return nil, bad("%s must come once", name)
		}
	}
	if q.Get("X-Amz-Algorithm") != Algorithm {
		return nil, bad("X-Amz-Algorithm must be %s", Algorithm)
	}
	c := &Claim{Presigned: true, Payload: Unsigned, date: q.Get("X-Amz-Date"), signature: q.Get("X-Amz-Signature"),
		token: q.Get("X-Amz-Security-Token"), signed: strings.Split(q.Get("X-Amz-SignedHeaders"), ";")}
	seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	if err != nil || seconds < 1 || seconds > 7*24*3600 {
		return c, bad("X-Amz-Expires must be seconds from 1 to 604800")
	}
	c.expires = time.Duration(seconds) * time.Second
	if hash := r.Header.Get("X-Amz-Content-Sha256"); hash != "" {
		c.Payload = hash
	}
	if f := c.setCredential(q.Get("X-Amz-Credential")); f != nil {
		return c, f
	}
	return c, c.setTime()
}

func (c *Claim) setCredential(s string) *Fault {
	parts := strings.Split(s, "/")
	if len(parts) != 5 || parts[0] == "" || parts[4] != "aws4_request" {
		return malformed("the credential must be KEY/DATE/REGION/SERVICE/aws4_request")
	}
	c.AccessKey = parts[0]
	c.Scope = Scope{parts[1], parts[2], parts[3]}
	return nil
}

func (c *Claim) setTime() *Fault {
	t, err := time.Parse(TimeFormat, c.date)
	if err != nil {
		return fault(403, "AccessDenied", "x-amz-date must be like %s", TimeFormat)
	}
	c.Time = t
	return nil
}

func (v *Verifier) checkScope(c *Claim) *Fault {
	if c.Scope.Service != v.Service {
		return malformed("the credential's service must be %q, not %q", v.Service, c.Scope.Service)
	}
	if c.Scope.Date != c.Time.Format(dateFormat) {
		return malformed("the credential's date must be that of x-amz-date")
	}
	if c.Scope.Region != v.Region {
		f := malformed("the region '%s' is wrong; expecting '%s'", c.Scope.Region, v.Region)
		f.Extra = [][2]string{{"Region", v.Region}}
		return f
	}
	return nil
}

// checkHeaders: all that must be signed is, and the list is what it should be.
func checkHeaders(r *http.Request, c *Claim) *Fault {
	if !sort.StringsAreSorted(c.signed) {
		return malformed("the signed headers are not in order")
	}
	signed := map[string]bool{}
	for _, name := range c.signed {
		if name == "" || name != strings.ToLower(name) || signed[name] {
			return malformed("the signed headers must be lower case, and each there once")
		}
		signed[name] = true
	}
	missing := []string{}
	if !signed["host"] {
		missing = append(missing, "host")
	}
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if mustSign(name) && !signed[name] {
			missing = append(missing, name)
		}
		if len(values) > 1 {
			return fault(400, "InvalidArgument", "the header %s came more than once", name)
		}
	}
	if len(missing) > 0 {
		sort.Strings(missing)
		f := fault(403, "AccessDenied", "there were headers present in the request which were not signed")
		f.Extra = [][2]string{{"HeadersNotSigned", strings.Join(missing, ", ")}}
		return f
	}
	return nil
}

func (v *Verifier) checkTime(c *Claim) *Fault {
	now := v.Now()
	if c.Presigned {
		if c.Time.After(now.Add(skew)) {
			return fault(403, "AccessDenied", "the request is not yet valid")
		}
		if now.After(c.Time.Add(c.expires)) {
			return fault(403, "AccessDenied", "the request has expired")
		}
		return nil
	}
	if d := now.Sub(c.Time); d > skew || d < -skew {
		f := fault(403, "RequestTimeTooSkewed",
			"the difference between the request's time and the server's is too large")
		f.Extra = [][2]string{{"RequestTime", c.date}, {"ServerTime", now.UTC().Format("2006-01-02T15:04:05Z")},
			{"MaxAllowedSkewMilliseconds", strconv.Itoa(int(skew / time.Millisecond))}}
		return f
	}
	return nil
}

func (v *Verifier) checkToken(c *Claim, s Secret) *Fault {
	if c.token != s.Token {
		return fault(400, "InvalidToken", "the provided token is malformed or otherwise invalid")
	}
	if !s.Expires.IsZero() && v.Now().After(s.Expires) {
		return fault(400, "ExpiredToken", "the provided token has expired")
	}
	return nil
}
