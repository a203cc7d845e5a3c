package faults

import (
	"io"
	"time"
)

// filler is an endless body that nobody asked for.
type filler struct{}

func (filler) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// corruptor flips the byte at an offset.
type corruptor struct {
	r  io.Reader
	at int64 // from here on
}

func (c *corruptor) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.at >= 0 && c.at < int64(n) {
		p[c.at] ^= 0xff
	}
	c.at -= int64(n)
	return n, err
}

// slowReader gives so many bytes a second.
type slowReader struct {
	r    io.Reader
	rate int64
}

func (s *slowReader) Read(p []byte) (int, error) {
	step := s.rate/20 + 1
	if int64(len(p)) > step {
		p = p[:step]
	}
	n, err := s.r.Read(p)
	time.Sleep(time.Duration(n) * time.Second / time.Duration(s.rate))
	return n, err
}
