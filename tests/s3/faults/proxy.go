// Package faults is a proxy between an S3 client and its server that lets everything pass unchanged, byte for
// byte where signatures are concerned, until a rule says otherwise. HTTP/1.1 on both sides; towards the client
// TLS, if it is given a certificate.
package faults

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"stowage/s3/control"
)

// Settings are what tests change, beside the rules.
type Settings struct {
	// Upstream is the server's URL, without a path.
	Upstream string `json:"upstream"`
	// Latency in milliseconds, in each direction, of connections that are made from now on.
	Latency float64 `json:"latency_ms"`
	// Hang is how long, in milliseconds, a connection that hangs is kept.
	Hang int `json:"hang_ms"`
}

// Proxy is an http.Handler; Listener must be what it listens with, for the latency.
type Proxy struct {
	Settings  *control.Settings[Settings]
	Log       *control.Log
	rules     rules
	transport *http.Transport
}

func New(upstream string) *Proxy {
	return &Proxy{
		Settings: control.NewSettings(func() Settings { return Settings{Upstream: upstream, Hang: 120000} }),
		Log:      &control.Log{},
		transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256, ExpectContinueTimeout: time.Second,
			WriteBufferSize: 256 << 10, ReadBufferSize: 256 << 10,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // its own server, on loopback
	}
}

// Listener wraps what the proxy listens with.
func (p *Proxy) Listener(l net.Listener) net.Listener {
	return &listener{l, func() time.Duration {
		return time.Duration(p.Settings.Get().Latency * float64(time.Millisecond))
	}}
}

func unmarshalStrictly(raw []byte, to interface{}) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// exchange is one request on its way through.
type exchange struct {
	p     *Proxy
	w     http.ResponseWriter
	r     *http.Request
	rule  Rule // the zero rule changes nothing
	set   Settings
	entry *control.Entry
	read  *int64
}

type countingBody struct {
	io.ReadCloser
	n *int64
}

func (c countingBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	atomic.AddInt64(c.n, int64(n))
	return n, err
}

func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{p: p, w: w, r: r, set: p.Settings.Get(), entry: control.NewEntry(r), read: new(int64)}
	if r.ContentLength != 0 {
		r.Body = countingBody{r.Body, x.read}
	}
	if rule := p.rules.pick(r); rule != nil {
		x.rule = *rule
		if x.entry.Rule = rule.Name; rule.Name == "" {
			x.entry.Rule = "unnamed"
		}
	}
	x.serve()
	x.entry.Bytes = atomic.LoadInt64(x.read)
	p.Log.Add(x.entry)
}

func (x *exchange) serve() {
	rule := &x.rule
	if rule.Delay > 0 {
		time.Sleep(time.Duration(rule.Delay) * time.Millisecond)
	}
	switch {
	case rule.ResetRequest != nil:
		io.CopyN(io.Discard, x.r.Body, *rule.ResetRequest)
		x.reset()
		return
	case rule.HangRequest != nil:
		io.CopyN(io.Discard, x.r.Body, *rule.HangRequest)
		x.hang()
		return
	case rule.Status != 0 && !rule.Forward:
		x.answer()
		return
	}
	resp, err := x.forward()
	if err != nil {
		x.entry.Why = err.Error()
		x.reset() // what the client would have seen of a server that went away
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 == 2 {
		x.p.rules.wake(x.r)
	}
	x.entry.Status = resp.StatusCode
	if rule.Status != 0 {
		io.Copy(io.Discard, resp.Body)
		x.answer()
		return
	}
	x.pass(resp)
}

// answer is the rule's own.
func (x *exchange) answer() {
	if x.rule.Hasty {
		x.w.Header().Set("Connection", "close")
	} else {
		io.Copy(io.Discard, x.r.Body)
	}
	for name, value := range x.rule.Headers {
		x.w.Header().Set(name, value)
	}
	x.w.Header().Set("Content-Length", strconv.Itoa(len(x.rule.Body)))
	x.entry.Status = x.rule.Status
	x.w.WriteHeader(x.rule.Status)
	io.WriteString(x.w, x.rule.Body)
}

// forward asks the server, with the same target, host and headers.
func (x *exchange) forward() (*http.Response, error) {
	to, err := url.Parse(x.set.Upstream)
	if err != nil {
		return nil, err
	}
	out := (&http.Request{Method: x.r.Method, Host: x.r.Host, Header: x.r.Header.Clone(), Body: x.r.Body,
		ContentLength: x.r.ContentLength, TransferEncoding: x.r.TransferEncoding,
		URL: &url.URL{Scheme: to.Scheme, Host: to.Host, Opaque: x.r.RequestURI}}).WithContext(x.r.Context())
	if out.ContentLength == 0 {
		out.Body = http.NoBody
	}
	out.Header.Del("Connection")
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header.Set("User-Agent", "") // else there would be Go's
	}
	return x.p.transport.RoundTrip(out)
}

// pass hands on the server's answer, with what the rule does to it.
func (x *exchange) pass(resp *http.Response) {
	rule := &x.rule
	var body io.Reader = resp.Body
	if rule.Corrupt != nil {
		body = &corruptor{r: body, at: *rule.Corrupt}
	}
	if rule.Rate > 0 {
		body = &slowReader{body, rule.Rate}
	}
	for name, value := range rule.SetHeaders {
		if resp.Header.Set(name, value); value == "" {
			resp.Header.Del(name)
		}
	}
	resp.Header.Del("Connection")
	if rule.Lengthen > 0 && resp.ContentLength >= 0 {
		resp.Header.Set("Content-Length", strconv.FormatInt(resp.ContentLength+rule.Lengthen, 10))
		body = io.MultiReader(body, io.LimitReader(filler{}, rule.Lengthen))
	}
	if rule.ResetResponse != nil || rule.HangResponse != nil || rule.Truncate != nil || rule.Surplus > 0 {
		x.passRaw(resp, body)
		return
	}
	header := x.w.Header()
	for name, values := range resp.Header {
		header[name] = values
	}
	if _, ok := header["Date"]; !ok {
		header["Date"] = nil // else there would be Go's
	}
	if _, ok := header["Content-Type"]; !ok {
		header["Content-Type"] = nil
	}
	x.w.WriteHeader(resp.StatusCode)
	if _, err := io.CopyBuffer(onlyWriter{x.w}, body, make([]byte, 256<<10)); err != nil {
		x.entry.Why = err.Error()
		x.reset()
	}
}

// onlyWriter hides ReadFrom, which would first read some bytes to tell the content's type.
type onlyWriter struct{ io.Writer }

// passRaw writes the answer on the bare connection, so that it can end before it is complete.
func (x *exchange) passRaw(resp *http.Response, body io.Reader) {
	rule := &x.rule
	conn := x.hijack()
	if conn == nil {
		return
	}
	n := int64(-1)
	for _, limit := range []*int64{rule.ResetResponse, rule.HangResponse, rule.Truncate} {
		if limit != nil {
			n = *limit
		}
	}
	if n >= 0 || rule.Surplus > 0 {
		var head bytes.Buffer
		head.WriteString("HTTP/1.1 " + resp.Status + "\r\n")
		resp.Header.Write(&head)
		head.WriteString("\r\n")
		conn.Write(head.Bytes())
		if n >= 0 {
			body = io.LimitReader(body, n)
		}
		io.Copy(conn, body)
		io.Copy(conn, io.LimitReader(filler{}, rule.Surplus))
	}
	switch {
	case rule.ResetResponse != nil:
		x.arrive()
		resetConn(conn)
	case rule.HangResponse != nil:
		x.keep(conn)
	case rule.Surplus > 0:
		x.arrive()
		conn.Close()
	default:
		conn.Close()
	}
}

// arrive waits until what was written is with the client: a reset may overtake it.
func (x *exchange) arrive() {
	time.Sleep(50*time.Millisecond + time.Duration(x.set.Latency*float64(time.Millisecond)))
}

func (x *exchange) hijack() net.Conn {
	conn, _, err := x.w.(http.Hijacker).Hijack()
	if err != nil {
		x.entry.Why = err.Error()
		panic(http.ErrAbortHandler)
	}
	conn.SetDeadline(time.Time{})
	return conn
}

func (x *exchange) reset() {
	if conn := x.hijack(); conn != nil {
		resetConn(conn)
	}
}

func (x *exchange) hang() {
	if conn := x.hijack(); conn != nil {
		x.keep(conn)
	}
}

// keep holds a connection without reading or writing, and resets it when the time is up.
func (x *exchange) keep(conn net.Conn) {
	time.AfterFunc(time.Duration(x.set.Hang)*time.Millisecond, func() { resetConn(conn) })
}

// resetConn ends a connection with RST.
func resetConn(conn net.Conn) {
	for {
		switch c := conn.(type) {
		case *tls.Conn:
			conn = c.NetConn()
		case *slowConn:
			c.in.end(net.ErrClosed)
			conn = c.Conn
		case *net.TCPConn:
			c.SetLinger(0)
			c.Close()
			return
		default:
			panic(errors.New("a connection that is no TCP"))
		}
	}
}

// Control is what tests talk to: beside log and settings,
//
//	GET /rules    with their counts; POST adds one or a list, PUT replaces all, DELETE removes all
func (p *Proxy) Control() http.Handler {
	mux := control.Handler(p.Log, p.Settings)
	mux.HandleFunc("/rules", func(w http.ResponseWriter, r *http.Request) {
		var list []*Rule
		switch r.Method {
		case "POST", "PUT":
			var err error
			if list, err = readRules(r.Body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
		case "GET", "DELETE":
		default:
			control.Refuse(w, "GET POST PUT DELETE")
			return
		}
		p.rules.mu.Lock()
		defer p.rules.mu.Unlock()
		if r.Method == "PUT" || r.Method == "DELETE" {
			p.rules.list = nil
		}
		p.rules.list = append(p.rules.list, list...)
		control.Answer(w, append([]*Rule{}, p.rules.list...))
	})
	return mux
}
