package faults

import (
	"net"
	"os"
	"sync"
	"time"
)

const (
	window    = 16 << 20 // bytes under way in one direction
	chunkSize = 64 << 10
)

// listener gives connections a latency: what is sent in either direction arrives that much later, however much
// of it there is, and the first bytes another round trip later, which is what connecting would have cost.
type listener struct {
	net.Listener
	latency func() time.Duration
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	d := l.latency()
	if d <= 0 {
		return c, nil
	}
	s := &slowConn{Conn: c, latency: d, in: newPipe(), out: newPipe()}
	go s.receive()
	go s.send()
	return s, nil
}

type slowConn struct {
	net.Conn
	latency time.Duration
	in, out *pipe
}

// pipe is bytes with the time at which they may be taken. err ends it, behind what it holds.
type pipe struct {
	mu       sync.Mutex
	change   *sync.Cond
	chunks   []chunk
	size     int
	err      error
	deadline time.Time
	timer    *time.Timer
}

type chunk struct {
	data []byte
	due  time.Time
}

func newPipe() *pipe {
	p := &pipe{}
	p.change = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) put(data []byte, due time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && p.size >= window {
		p.change.Wait()
	}
	if p.err != nil {
		return p.err
	}
	p.chunks = append(p.chunks, chunk{data, due})
	p.size += len(data)
	p.change.Broadcast()
	return nil
}

// wake is for timers. It takes the lock, or a short time would be over before who has set it waits for it.
func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.change.Broadcast()
}

// take copies what is due into to, and waits for that until the deadline.
func (p *pipe) take(to []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		now := time.Now()
		if !p.deadline.IsZero() && !now.Before(p.deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		if len(p.chunks) > 0 {
			first := &p.chunks[0]
			if wait := first.due.Sub(now); wait > 0 {
				time.AfterFunc(wait, p.wake)
				p.change.Wait()
				continue
			}
			n := copy(to, first.data)
			p.size -= n
			if first.data = first.data[n:]; len(first.data) == 0 {
				p.chunks = p.chunks[1:]
			}
			p.change.Broadcast()
			return n, nil
		}
		if p.err != nil {
			return 0, p.err
		}
		p.change.Wait()
	}
}

func (p *pipe) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.change.Broadcast()
}

func (p *pipe) setDeadline(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	if p.timer != nil {
		p.timer.Stop()
	}
	if !t.IsZero() {
		p.timer = time.AfterFunc(time.Until(t), p.wake)
	}
	p.change.Broadcast()
}

func (s *slowConn) receive() {
	handshake := 2 * s.latency
	for {
		data := make([]byte, chunkSize)
		n, err := s.Conn.Read(data)
		if n > 0 {
			if s.in.put(data[:n], time.Now().Add(s.latency+handshake)) != nil {
				return
			}
			handshake = 0
		}
		if err != nil {
			s.in.end(err)
			return
		}
	}
}

// send ends when the pipe does, and then with the connection.
func (s *slowConn) send() {
	data := make([]byte, chunkSize)
	for {
		n, err := s.out.take(data)
		if err == nil {
			_, err = s.Conn.Write(data[:n])
		}
		if err != nil {
			s.out.end(err)
			s.Conn.Close()
			return
		}
	}
}

func (s *slowConn) Read(p []byte) (int, error) { return s.in.take(p) }

func (s *slowConn) Write(p []byte) (int, error) {
	due := time.Now().Add(s.latency)
	for done := 0; done < len(p); done += chunkSize {
		end := done + chunkSize
		if end > len(p) {
			end = len(p)
		}
		if err := s.out.put(append([]byte{}, p[done:end]...), due); err != nil {
			return done, err
		}
	}
	return len(p), nil
}

// Close lets what was written arrive first.
func (s *slowConn) Close() error {
	s.in.end(net.ErrClosed)
	s.out.end(net.ErrClosed)
	return nil
}

func (s *slowConn) SetReadDeadline(t time.Time) error {
	s.in.setDeadline(t)
	return nil
}

func (s *slowConn) SetDeadline(t time.Time) error    { return s.SetReadDeadline(t) }
func (s *slowConn) SetWriteDeadline(time.Time) error { return nil }
