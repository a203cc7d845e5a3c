package faults

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"stowage/s3/sigv4"
	"stowage/s3/strict"
)

type setup struct {
	t       *testing.T
	p       *Proxy
	s       *strict.Server
	url     string
	control string
	client  *http.Client
}

func start(t *testing.T) *setup {
	s := strict.New("localhost", "layers")
	upstream := httptest.NewServer(s)
	p := New(upstream.URL)
	proxy := httptest.NewUnstartedServer(p)
	proxy.Listener = p.Listener(proxy.Listener)
	proxy.Start()
	control := httptest.NewServer(p.Control())
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}, Timeout: 10 * time.Second}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		proxy.CloseClientConnections()
		proxy.Close()
		upstream.Close()
		control.Close()
	})
	return &setup{t, p, s, proxy.URL, control.URL, client}
}

func (s *setup) rules(json string) {
	s.t.Helper()
	s.post("PUT", "/rules", json)
}

func (s *setup) post(method, path, json string) {
	s.t.Helper()
	r, _ := http.NewRequest(method, s.control+path, strings.NewReader(json))
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		text, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("%s: %s", json, text)
	}
}

// do is a signed request; the error is that of the exchange or of reading the body.
func (s *setup) do(method, target, body string, headers ...string) (*http.Response, string, error) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	sum := sha256.Sum256([]byte(body))
	cred := sigv4.Credentials{AccessKey: strict.AccessKey, SecretKey: strict.SecretKey}
	if err := sigv4.Sign(r, cred, "us-east-1", time.Now(), hex.EncodeToString(sum[:])); err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return resp, string(data), err
}

func (s *setup) want(status int, body, method, target, sent string) *http.Response {
	s.t.Helper()
	resp, got, err := s.do(method, target, sent)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, target, err)
	}
	if resp.StatusCode != status || (body != "" && got != body) {
		s.t.Fatalf("%s %s: %d %q, want %d %q", method, target, resp.StatusCode, got, status, body)
	}
	return resp
}

func (s *setup) requests(op string) (n int) {
	for _, e := range s.s.Log.Entries() {
		if e.Op == op {
			n++
		}
	}
	return n
}

func TestPassesUnchanged(t *testing.T) {
	s := start(t)
	s.want(200, "", "PUT", "/layers/a%20b/c%2Bd~e", "hello world")
	resp := s.want(200, "hello world", "GET", "/layers/a%20b/c%2Bd~e", "")
	if resp.Header.Get("Server") != "stowage-strict" || resp.Header.Get("X-Amz-Request-Id") == "" {
		t.Error(resp.Header)
	}
	s.want(200, "", "GET", "/layers?list-type=2&prefix=a%20b%2F", "")
	if resp = s.want(200, "", "HEAD", "/layers/a%20b/c%2Bd~e", ""); resp.ContentLength != 11 {
		t.Error(resp.ContentLength)
	}
	s.want(404, "", "GET", "/layers/none", "")
	s.want(204, "", "DELETE", "/layers/none", "")
	if n := len(s.p.Log.Entries()); n != 6 {
		t.Error(n)
	}
}

func TestAnswers(t *testing.T) {
	s := start(t)
	s.rules(`{"method": "PUT", "target": "/x$", "skip": 1, "count": 2, "status": 503, "body": "<Error><Code>SlowDown</Code></Error>",
		"headers": {"Retry-After": "1"}}`)
	s.want(200, "", "PUT", "/layers/x", "1")
	resp := s.want(503, "<Error><Code>SlowDown</Code></Error>", "PUT", "/layers/x", "2")
	if resp.Header.Get("Retry-After") != "1" {
		t.Error(resp.Header)
	}
	s.want(503, "", "PUT", "/layers/x", "2")
	s.want(200, "", "PUT", "/layers/x", "3")
	s.want(200, "3", "GET", "/layers/x", "")
	if n := s.requests("PutObject"); n != 2 {
		t.Errorf("%d requests got through", n)
	}
	// The answer is lost, but the work is done; and sleeps until then.
	s.rules(`[{"method": "PUT", "count": 1, "status": 500, "forward": true},
		{"method": "HEAD", "after": {"method": "PUT", "target": "/y"}, "count": 2, "status": 404}]`)
	s.want(404, "", "HEAD", "/layers/y", "")
	s.want(500, "", "PUT", "/layers/y", "done")
	s.want(404, "", "HEAD", "/layers/y", "")
	s.want(404, "", "HEAD", "/layers/y", "")
	s.want(200, "done", "GET", "/layers/y", "")
	s.want(200, "", "HEAD", "/layers/y", "")
	if resp, _, err := s.do("GET", "/layers/y", ""); err != nil || resp.StatusCode != 200 {
		t.Error(err)
	}
}

func TestBrokenAnswers(t *testing.T) {
	s := start(t)
	body := strings.Repeat("0123456789", 10000)
	s.want(200, "", "PUT", "/layers/x", body)
	s.post("PATCH", "/settings", `{"hang_ms": 300}`)
	for _, c := range []struct {
		rule  string
		bytes int
		err   error
	}{
		{`{"reset_response": -1}`, -1, syscall.ECONNRESET},
		{`{"reset_response": 0}`, 0, syscall.ECONNRESET},
		{`{"reset_response": 70000}`, 70000, syscall.ECONNRESET},
		{`{"truncate": -1}`, -1, io.EOF},
		{`{"truncate": 50000}`, 50000, io.ErrUnexpectedEOF},
		{`{"hang_response": -1}`, -1, syscall.ECONNRESET},
		{`{"hang_response": 1000}`, 1000, syscall.ECONNRESET},
		{`{"reset_request": 0}`, -1, syscall.ECONNRESET},
		{`{"hang_request": 0}`, -1, syscall.ECONNRESET},
	} {
		s.rules(c.rule)
		s.client.CloseIdleConnections()
		begin := time.Now()
		resp, got, err := s.do("GET", "/layers/x", "")
		if !errors.Is(err, c.err) || (c.bytes < 0) != (resp == nil) || (c.bytes >= 0 && len(got) != c.bytes) {
			t.Errorf("%s: %v with %d bytes", c.rule, err, len(got))
		}
		if hung := time.Since(begin) > 250*time.Millisecond; hung != strings.Contains(c.rule, "hang") {
			t.Errorf("%s: after %v", c.rule, time.Since(begin))
		}
	}
	s.rules(`{"corrupt": 70000}`)
	_, got, err := s.do("GET", "/layers/x", "")
	if err != nil || len(got) != len(body) || got[70000] != body[70000]^0xff || got[:70000]+body[70000:70001]+got[70001:] != body {
		t.Error("not one byte is corrupt", err)
	}
	s.rules(`{"lengthen": 5}`)
	s.want(200, body+"xxxxx", "GET", "/layers/x", "")
	s.rules(`{"set_headers": {"ETag": "\"other\"", "Date": "Thu, 01 Jan 1970 00:00:00 GMT", "Accept-Ranges": ""}}`)
	resp := s.want(200, body, "GET", "/layers/x", "")
	if resp.Header.Get("ETag") != `"other"` || !strings.HasSuffix(resp.Header.Get("Date"), "1970 00:00:00 GMT") ||
		resp.Header.Get("Accept-Ranges") != "" {
		t.Error(resp.Header)
	}
	s.rules(`{"rate": 200000}`)
	begin := time.Now()
	s.want(200, body, "GET", "/layers/x", "")
	if d := time.Since(begin); d < 400*time.Millisecond {
		t.Errorf("100 kB at 200 kB/s in %v", d)
	}
}

func TestBrokenRequests(t *testing.T) {
	s := start(t)
	body := strings.Repeat("0123456789", 500000)
	s.rules(`{"reset_request": 100000, "count": 1, "name": "r"}`)
	if _, _, err := s.do("PUT", "/layers/x", body); err == nil {
		t.Error("no error")
	}
	if s.requests("PutObject") != 0 {
		t.Error("the server has seen it")
	}
	e := s.p.Log.Entries()[0]
	if e.Bytes != 100000 || e.Rule != "r" {
		t.Errorf("%+v", e)
	}
	s.want(200, "", "PUT", "/layers/x", body)
	s.rules(`{"method": "PUT", "status": 403, "hasty": true}`)
	if resp, _, err := s.do("PUT", "/layers/x", body); err == nil && resp.StatusCode != 403 {
		t.Error(resp.Status)
	}
}

// What is behind the body is there on the wire, where only a client that reads on would see it.
func TestSurplus(t *testing.T) {
	s := start(t)
	s.want(200, "", "PUT", "/layers/x", "abc")
	s.rules(`{"surplus": 4}`)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	target, err := sigv4.Presign("GET", s.url+"/layers/x", sigv4.Credentials{AccessKey: strict.AccessKey, SecretKey: strict.SecretKey},
		"us-east-1", time.Now(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", strings.TrimPrefix(target, s.url), strings.TrimPrefix(s.url, "http://"))
	got, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil || !bytes.HasSuffix(got, []byte("\r\n\r\nabcxxxx")) || !bytes.Contains(got, []byte("Content-Length: 3\r\n")) {
		t.Errorf("%q %v", got, err)
	}
}

func TestLatency(t *testing.T) {
	s := start(t)
	body := make([]byte, 20<<20)
	rand.Read(body)
	s.post("PATCH", "/settings", `{"latency_ms": 30}`)
	begin := time.Now()
	s.want(200, "", "PUT", "/layers/x", "warm up")
	if d := time.Since(begin); d < 120*time.Millisecond || d > time.Second {
		t.Errorf("connecting and one request took %v, not 4 × 30 ms", d)
	}
	begin = time.Now()
	s.want(200, "", "HEAD", "/layers/x", "")
	if d := time.Since(begin); d < 60*time.Millisecond || d > time.Second {
		t.Errorf("one request took %v, not 2 × 30 ms", d)
	}
	begin = time.Now()
	s.want(200, "", "PUT", "/layers/x", string(body))
	s.want(200, string(body), "GET", "/layers/x", "")
	t.Logf("20 MiB there and back in %v", time.Since(begin))
	s.rules(`{"reset_response": 1000}`)
	if _, got, err := s.do("GET", "/layers/x", ""); !errors.Is(err, syscall.ECONNRESET) || len(got) != 1000 {
		t.Errorf("%v with %d bytes", err, len(got))
	}
}

// A pipe's deadline ends a wait that has begun, as net/http needs it for hijacking.
// The last bytes have nothing behind them that would wake who waits for them, but their timer.
func TestPipeGivesAllThatIsDue(t *testing.T) {
	p, buf := newPipe(), make([]byte, 1)
	p.setDeadline(time.Now().Add(10 * time.Second))
	for i := 0; i < 100000; i++ {
		p.put([]byte{1}, time.Now().Add(time.Duration(i%1000)*time.Nanosecond))
		if _, err := p.take(buf); err != nil {
			t.Fatalf("take %d: %v", i, err)
		}
	}
}

func TestPipeDeadline(t *testing.T) {
	p := newPipe()
	time.AfterFunc(50*time.Millisecond, func() { p.setDeadline(time.Now()) })
	if _, err := p.take(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	p.setDeadline(time.Time{})
	p.put([]byte("a"), time.Now().Add(20*time.Millisecond))
	if n, err := p.take(make([]byte, 2)); n != 1 || err != nil {
		t.Error(n, err)
	}
}

func TestRefusedRules(t *testing.T) {
	for _, rule := range []string{`{"stat": 1}`, `{"target": "("}`, `{"status": 500, "truncate": 1}`, `{"body": "x"}`, `[1]`, `x`} {
		if _, err := readRules(strings.NewReader(rule)); err == nil {
			t.Errorf("%s was taken", rule)
		}
	}
}
