package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// A small message may unpack to any size, so none is unpacked.
func TestCompressedMessages(t *testing.T) {
	d := start(t)
	c := d.client(t)
	_, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: sum(noise(1, 10))}, grpc.UseCompressor("gzip"))
	wantCode(t, err, codes.Unimplemented, "compressed")
	s, err := c.Write(ctxFor(t), grpc.UseCompressor("gzip"))
	noErr(t, err)
	noErr(t, s.Send(&api.WriteContentRequest{Action: api.WriteActionWrite, Ref: "zeros", Data: make([]byte, 32<<20)}))
	_, err = s.Recv()
	wantCode(t, err, codes.Unimplemented, "compressed")
	if n := len(mustStatuses(t, c)); n != 0 {
		t.Fatalf("%d ingests are left", n)
	}
	d.mustServe(t)
}

func TestHealth(t *testing.T) {
	d := start(t)
	h := grpc_health_v1.NewHealthClient(d.conn(t))
	t.Run("Check", func(t *testing.T) {
		r, err := h.Check(ctxFor(t), &grpc_health_v1.HealthCheckRequest{})
		noErr(t, err)
		if r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Fatalf("%v", r.Status)
		}
	})
	t.Run("Check unknown", func(t *testing.T) {
		_, err := h.Check(ctxFor(t), &grpc_health_v1.HealthCheckRequest{Service: "no.such.Service"})
		wantCode(t, err, codes.NotFound)
	})
	t.Run("Watch", func(t *testing.T) {
		w, err := h.Watch(ctxFor(t), &grpc_health_v1.HealthCheckRequest{})
		noErr(t, err)
		r, err := w.Recv()
		noErr(t, err)
		if r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Fatalf("%v", r.Status)
		}
	})
	t.Run("Watch unknown", func(t *testing.T) {
		w, err := h.Watch(ctxFor(t), &grpc_health_v1.HealthCheckRequest{Service: "no.such.Service"})
		noErr(t, err)
		r, err := w.Recv()
		noErr(t, err)
		if r.Status != grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN {
			t.Fatalf("%v", r.Status)
		}
	})
	t.Run("Watch ends with the daemon", func(t *testing.T) {
		w, err := h.Watch(ctxFor(t), &grpc_health_v1.HealthCheckRequest{})
		noErr(t, err)
		_, err = w.Recv()
		noErr(t, err)
		noErr(t, d.cmd.Process.Signal(syscall.SIGTERM))
		for err == nil {
			var r *grpc_health_v1.HealthCheckResponse
			r, err = w.Recv()
			if err == nil && r.Status != grpc_health_v1.HealthCheckResponse_NOT_SERVING {
				t.Fatalf("a daemon that ends says %v", r.Status)
			}
		}
		noErr(t, d.awaitExit(slow(30*time.Second))) // a watcher must not hold up the end
	})
}

// A thousand streams opened and dropped, in every manner, leave nothing behind.
func TestStreamsLeaveNothing(t *testing.T) {
	d := start(t)
	c := d.client(t)
	big := mustPut(t, c, noise(50, 4<<20))
	round := func(n int) {
		var wg sync.WaitGroup
		for w := 0; w < 8; w++ {
			wg.Add(1)
			go func(w int) {
				defer wg.Done()
				for i := w; i < n; i += 8 {
					if err := dropStream(c, fmt.Sprintf("drop-%d", i), i); err != nil {
						t.Errorf("stream %d: %v", i, err)
					}
				}
			}(w)
		}
		wg.Wait()
		eventually(t, 10*time.Second, "aborting what is parked", func() (bool, string) {
			l, err := statuses(ctxFor(t), c)
			noErr(t, err)
			for ref := range l {
				c.Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
			}
			return len(l) == 0, fmt.Sprint(len(l), " are left")
		})
	}
	round(200)
	backNear(t, d, d.usage(t), func() { round(1000) })
	if n := ingestFiles(t, d.root); n != 0 {
		t.Fatalf("%d files are left in ingest/", n)
	}
	if sum(mustGet(t, c, big)) != big {
		t.Fatal("wrong bytes")
	}
}

// dropStream opens one stream and leaves it in one of several ways.
func dropStream(c api.ContentClient, ref string, how int) error {
	ctx, cancel := context.WithTimeout(context.Background(), slow(20*time.Second))
	defer cancel()
	if how%5 == 0 {
		_, err := c.List(ctx, &api.ListContentRequest{})
		return err
	}
	s, err := c.Write(ctx)
	if err != nil || how%5 == 1 {
		return err
	}
	if err := s.Send(&api.WriteContentRequest{Ref: ref}); err != nil || how%5 == 2 {
		return err
	}
	if _, err := s.Recv(); err != nil {
		return err
	}
	if err := s.Send(&api.WriteContentRequest{Action: api.WriteActionWrite, Data: make([]byte, 100000)}); err != nil || how%5 == 3 {
		return err
	}
	_, err = s.Recv()
	return err
}

// Connections that come and go cost nothing either.
func TestConnectionsLeaveNothing(t *testing.T) {
	d := start(t)
	round := func(n int) {
		for i := 0; i < n; i++ {
			conn, err := d.dial()
			noErr(t, err)
			if i%2 == 0 {
				_, err = api.NewContentClient(conn).Info(ctxFor(t), &api.InfoRequest{Digest: absent})
				wantCode(t, err, codes.NotFound)
			}
			conn.Close()
		}
	}
	round(50)
	backNear(t, d, d.usage(t), func() { round(500) })
}

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frame is one HTTP/2 frame.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	head := []byte{
		byte(n >> 16), byte(n >> 8), byte(n), kind, flags,
		byte(stream >> 24), byte(stream >> 16), byte(stream >> 8), byte(stream),
	}
	return append(head, payload...)
}

func TestGarbage(t *testing.T) {
	d := start(t)
	rng := rand.New(rand.NewSource(51))
	random := func(n int) []byte {
		b := make([]byte, n)
		rng.Read(b)
		return b
	}
	settings := frame(4, 0, 0, nil)
	greeting := append([]byte(preface), settings...)
	with := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{greeting}, parts...), nil) }
	cases := map[string][]byte{
		"nothing":             {},
		"one byte":            {'P'},
		"half a preface":      []byte(preface[:11]),
		"HTTP/1":              []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"TLS hello":           append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, random(500)...),
		"random":              random(1 << 16),
		"preface, then noise": append([]byte(preface), random(1<<16)...),
		"half a settings":     greeting[:len(greeting)-4],
		"header block broken": with(frame(1, 4, 1, random(300))),
		"huge frame":          with([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1}),
		"data without stream": with(frame(0, 1, 99, random(100))),
		"window of zero":      with(frame(8, 0, 0, []byte{0, 0, 0, 0})),
		"window overflow":     with(frame(8, 0, 0, []byte{0x7f, 0xff, 0xff, 0xff})),
		"reset idle stream":   with(frame(3, 0, 7, []byte{0, 0, 0, 8})),
		"push promise":        with(frame(5, 4, 1, random(20))),
		"goaway":              with(frame(7, 0, 0, make([]byte, 8))),
		"pings":               with(bytes.Repeat(frame(6, 0, 0, make([]byte, 8)), 2000)),
		"settings flood":      with(bytes.Repeat(settings, 2000)),
	}
	for i := 0; i < 50; i++ {
		cases[fmt.Sprint("random ", i)] = with(frame(byte(rng.Intn(12)), byte(rng.Intn(256)), uint32(rng.Intn(5)), random(rng.Intn(200))))
	}
	for name, b := range cases {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("unix", d.sock)
			noErr(t, err)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(slow(10 * time.Second)))
			conn.Write(b) // the daemon may hang up at any moment
			conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			io.Copy(io.Discard, conn)
			d.mustServe(t)
		})
	}
}

// Connections that say nothing stay without harm, and hold up neither others nor the daemon's end.
func TestSilentConnections(t *testing.T) {
	t.Parallel()
	d := start(t)
	for i := 0; i < 200; i++ {
		conn, err := net.Dial("unix", d.sock)
		noErr(t, err)
		defer conn.Close()
		if i%2 == 0 {
			conn.Write([]byte(preface))
		}
	}
	d.mustServe(t)
	begin := time.Now()
	noErr(t, d.stop())
	if took := time.Since(begin); took > slow(20*time.Second) {
		t.Fatalf("the end took %v", took)
	}
}

// A message that breaks off in its middle parks the stream's ingest as a hang-up does.
func TestHalfAMessage(t *testing.T) {
	d := start(t)
	p := newCutter(t, d.sock)
	c := p.client(t)
	w := open(t, c, "cut")
	w.write([]byte("whole"), 0)
	p.cutAfter(100000)
	if _, err := w.send(&api.WriteContentRequest{Action: api.WriteActionWrite, Offset: 5, Data: make([]byte, 1<<20)}); err == nil {
		t.Fatal("the connection was cut, and yet there is an answer")
	}
	good := d.client(t)
	eventually(t, 5*time.Second, "reopening", func() (bool, string) {
		r, err := openStream(t, good).send(&api.WriteContentRequest{Ref: "cut"})
		if err == nil && (r.Offset != 5 || r.Digest != sum([]byte("whole"))) {
			t.Fatalf("parked %+v", r)
		}
		return err == nil, fmt.Sprint(err)
	})
}

// cutter forwards a connection to the daemon, and can cut it after so many bytes more.
type cutter struct {
	sock string
	mu   sync.Mutex
	left int // bytes still to forward; -1: no limit
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "stw-")
	noErr(t, err)
	p := &cutter{sock: dir + "/c", left: -1}
	ln, err := net.Listen("unix", p.sock)
	noErr(t, err)
	t.Cleanup(func() {
		ln.Close()
		os.RemoveAll(dir)
	})
	go func() {
		for {
			from, err := ln.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("unix", to)
			if err != nil {
				from.Close()
				continue
			}
			go func() {
				io.Copy(from, up)
				from.Close()
			}()
			go p.forward(up, from)
		}
	}()
	return p
}

func (p *cutter) forward(up, from net.Conn) {
	defer up.Close()
	defer from.Close()
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		if p.left >= 0 {
			if n >= p.left {
				n, err = p.left, io.EOF
			}
			p.left -= n
		}
		p.mu.Unlock()
		if _, werr := up.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (p *cutter) cutAfter(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = n
}

func (p *cutter) client(t *testing.T) api.ContentClient {
	t.Helper()
	return (&daemon{sock: p.sock}).client(t)
}

// SIGTERM: a stream that is open gets its time, what is new is refused, and what is not finished then is
// parked, with its offset and digest.
func TestDrain(t *testing.T) {
	t.Parallel()
	data := noise(52, 3<<20)
	dg := sum(data)
	t.Run("stream that ends in time", func(t *testing.T) {
		t.Parallel()
		d := start(t)
		w := open(t, d.client(t), "in time")
		w.write(data[:1<<20], 0)
		noErr(t, d.cmd.Process.Signal(syscall.SIGTERM))
		refusedSoon(t, d)
		w.write(data[1<<20:], 1<<20)
		begin := time.Now()
		if r := w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: 3 << 20, Expected: dg}); r.Digest != dg {
			t.Fatalf("%+v", r)
		}
		w.ended()
		noErr(t, d.awaitExit(slow(30*time.Second)))
		if took := time.Since(begin); took > slow(3*time.Second) {
			t.Fatalf("the daemon went on for %v after its last stream", took)
		}
		d.again(t)
		if !bytes.Equal(mustGet(t, d.client(t), dg), data) {
			t.Fatal("other bytes")
		}
	})
	t.Run("stream that does not end", func(t *testing.T) {
		t.Parallel()
		for _, ref := range []string{"parked", pullRef(1, dg)} {
			d := start(t)
			w := open(t, d.client(t), ref)
			w.write(data[:1<<20], 0)
			noErr(t, d.cmd.Process.Signal(syscall.SIGTERM))
			time.Sleep(200 * time.Millisecond)
			w.write(data[1<<20:2<<20], 1<<20)
			noErr(t, d.awaitExit(slow(40*time.Second)))
			d.closeConns()
			d.again(t)
			w = open(t, d.client(t), ref)
			if r := w.stat(); r.Offset != 2<<20 || r.Digest != sum(data[:2<<20]) {
				t.Fatalf("2 MiB were acknowledged, there are %d bytes of %s", r.Offset, r.Digest)
			}
			w.write(data[2<<20:], 2<<20)
			w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: 3 << 20, Expected: dg})
		}
	})
	t.Run("reader that does not read", func(t *testing.T) {
		t.Parallel()
		d := start(t)
		c := d.client(t)
		big := mustPut(t, c, noise(53, 32<<20))
		s, err := c.Read(ctxFor(t), &api.ReadContentRequest{Digest: big})
		noErr(t, err)
		_, err = s.Recv()
		noErr(t, err)
		noErr(t, d.cmd.Process.Signal(syscall.SIGTERM))
		noErr(t, d.awaitExit(slow(40*time.Second)))
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		d := start(t)
		open(t, d.client(t), "open")
		noErr(t, d.cmd.Process.Signal(syscall.SIGTERM))
		noErr(t, d.cmd.Process.Signal(syscall.SIGTERM))
		select {
		case <-d.exited: // a second signal may end it at once, in its own way
		case <-time.After(slow(40 * time.Second)):
			t.Fatal("the daemon did not end")
		}
	})
}

// refusedSoon demands that a new call, on a new connection, is turned away in a way that clients retry.
func refusedSoon(t *testing.T, d *daemon) {
	t.Helper()
	eventually(t, 2*time.Second, "new calls are refused", func() (bool, string) {
		raw, err := net.Dial("unix", d.sock)
		if err != nil {
			return true, ""
		}
		raw.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		conn, err := d.dialNow(ctx)
		if err != nil {
			return true, ""
		}
		defer conn.Close()
		_, err = api.NewContentClient(conn).Info(ctx, &api.InfoRequest{Digest: absent})
		return status.Code(err) == codes.Unavailable, fmt.Sprint(err)
	})
}

// Two daemons on one root would ruin it: the second must refuse, and the first must not notice. A socket
// that a dead daemon has left must not keep the next one from starting.
func TestSecondDaemon(t *testing.T) {
	d := start(t)
	dg := mustPut(t, d.client(t), []byte("first"))
	if second, err := launch(d.root); err == nil {
		second.kill()
		second.remove()
		t.Fatal("a second daemon serves the same root")
	}
	mustGet(t, d.client(t), dg)
	d.restart(t, true)
	if _, err := os.Stat(d.sock); err != nil {
		t.Fatal(err)
	}
	mustGet(t, d.client(t), dg)
}
