package identity

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, s *server) string {
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return h.URL
}

func (s *server) set(t *testing.T, json string) {
	t.Helper()
	if err := s.settings.Change(strings.NewReader(json), true); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Client{Timeout: 300 * time.Millisecond}).Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

type credentials struct{ AccessKeyId, SecretAccessKey, Token, SessionToken, Expiration string }

// good fails the test unless these are credentials that were issued, and that end in ttl.
func (c credentials) good(t *testing.T, ttl time.Duration) {
	t.Helper()
	found, ok := Find(c.AccessKeyId, c.Token+c.SessionToken)
	if !ok || found.SecretKey != c.SecretAccessKey || found.Expires.Format(time.RFC3339) != c.Expiration {
		t.Errorf("not ours: %+v", c)
	}
	if d := time.Until(found.Expires) - ttl; d > time.Second || d < -2*time.Second {
		t.Errorf("they end at %v", found.Expires)
	}
}

func TestFind(t *testing.T) {
	a, b := Issue(time.Hour), Issue(time.Hour)
	if _, ok := Find(a.AccessKey, b.Token); ok || a.AccessKey == b.AccessKey {
		t.Error("the token of another key was taken")
	}
	if _, ok := Find(a.AccessKey, a.Token+"A"); ok {
		t.Error("a changed token was taken")
	}
	if _, ok := Find(a.AccessKey, ""); ok {
		t.Error("no token was taken")
	}
}

func TestSTS(t *testing.T) {
	s := NewSTS()
	at := start(t, s) + "/"
	form := func(change ...string) string {
		v := url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "RoleSessionName": {"stowage-1"},
			"RoleArn": {"arn:aws:iam::111122223333:role/stowage"}, "WebIdentityToken": {"web-identity-token"}}
		for i := 0; i < len(change); i += 2 {
			v.Set(change[i], change[i+1])
		}
		return v.Encode()
	}
	kind := []string{"Content-Type", "application/x-www-form-urlencoded"}
	type response struct {
		Credentials credentials `xml:"AssumeRoleWithWebIdentityResult>Credentials"`
		Code        string      `xml:"Error>Code"`
	}
	want := func(body, code string, ttl time.Duration, headers ...string) {
		t.Helper()
		status, got := ask(t, "POST", at, body, headers...)
		var r response
		if err := xml.Unmarshal([]byte(got), &r); err != nil || r.Code != code || (status == 200) != (code == "") {
			t.Errorf("%d %s, want %q", status, got, code)
		}
		if code == "" {
			r.Credentials.good(t, ttl)
		}
	}
	want(form(), "", time.Hour, kind...)
	want(form("DurationSeconds", "900"), "", 15*time.Minute, kind...)
	want(form("DurationSeconds", "899"), "ValidationError", 0, kind...)
	want(form(), "MalformedInput", 0)
	want(form(), "InvalidClientTokenId", 0, append(kind, "Authorization", "x")...)
	want(form("WebIdentityToken", "other"), "InvalidIdentityToken", 0, kind...)
	want(form("RoleArn", "arn:other"), "AccessDenied", 0, kind...)
	want(form("RoleSessionName", "a b"), "ValidationError", 0, kind...)
	want(form("Action", "AssumeRole"), "InvalidAction", 0, kind...)
	want(form("Rolearn", "x"), "ValidationError", 0, kind...)
	s.set(t, `{"ttl_s": 5, "fail": 1, "fail_status": 400, "fail_body": "<ErrorResponse><Error><Code>IDPCommunicationError</Code></Error></ErrorResponse>"}`)
	want(form(), "IDPCommunicationError", 0, kind...)
	want(form(), "", 5*time.Second, kind...)
	if log := s.log.Entries(); len(log) != 12 || log[5].Why == "" {
		t.Errorf("%d %+v", len(log), log[5])
	}
}

func TestContainer(t *testing.T) {
	s := NewContainer()
	at := start(t, s)
	status, got := ask(t, "GET", at+"/v1/credentials", "", "Authorization", "container-token")
	var c credentials
	if err := json.Unmarshal([]byte(got), &c); err != nil || status != 200 {
		t.Fatal(status, got)
	}
	c.good(t, time.Hour)
	if status, got := ask(t, "GET", at+"/v1/credentials", ""); status != 401 {
		t.Error(status, got)
	}
	if status, got := ask(t, "GET", at+"/v1/other", "", "Authorization", "container-token"); status != 404 {
		t.Error(status, got)
	}
	s.set(t, `{"token": "", "path": "/x", "delay_ms": 100}`)
	begin := time.Now()
	if status, got := ask(t, "GET", at+"/x", ""); status != 200 || time.Since(begin) < 100*time.Millisecond {
		t.Error(status, got)
	}
}

func TestIMDS(t *testing.T) {
	s := NewIMDS()
	at := start(t, s) + "/latest/"
	role := at + "meta-data/iam/security-credentials/"
	ttl := []string{"X-aws-ec2-metadata-token-ttl-seconds", "21600"}
	want := func(wanted int, method, url string, headers ...string) string {
		t.Helper()
		status, got := ask(t, method, url, "", headers...)
		if status != wanted {
			t.Errorf("%s %s: %d %s, want %d", method, url, status, got, wanted)
		}
		return got
	}
	want(401, "GET", role)
	want(400, "PUT", at+"api/token")
	want(400, "PUT", at+"api/token", ttl[0], "21601")
	want(405, "GET", at+"api/token", ttl...)
	want(403, "PUT", at+"api/token", append(ttl, "X-Forwarded-For", "1.2.3.4")...)
	session := []string{"X-aws-ec2-metadata-token", want(200, "PUT", at+"api/token", ttl...)}
	if got := want(200, "GET", role, session...); got != "instance-role" {
		t.Error(got)
	}
	var c credentials
	if err := json.Unmarshal([]byte(want(200, "GET", role+"instance-role", session...)), &c); err != nil {
		t.Error(err)
	}
	c.good(t, 6*time.Hour)
	want(404, "GET", role+"other", session...)
	want(200, "GET", at+"meta-data/placement/region", session...)
	s.set(t, `{"session_ttl_s": 0.1}`)
	session[1] = want(200, "PUT", at+"api/token", ttl...)
	time.Sleep(150 * time.Millisecond)
	want(401, "GET", role, session...)
	s.set(t, `{"hop_limit": true}`)
	want(0, "PUT", at+"api/token", ttl...)
	s.set(t, `{"role": ""}`)
	session[1] = want(200, "PUT", at+"api/token", ttl...)
	want(404, "GET", role, session...)
	s.set(t, `{"disabled": true}`)
	want(403, "PUT", at+"api/token", ttl...)
}
