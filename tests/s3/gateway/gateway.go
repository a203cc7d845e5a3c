// Package gateway runs tests/s3/rgw.sh, a Ceph RADOS gateway, for tests and measurements that are written in Go.
package gateway

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Gateway is a running one. TLSEndpoint and CA are empty without --tls.
type Gateway struct {
	Endpoint, TLSEndpoint, CA    string
	AccessKey, SecretKey, Region string

	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // what it prints; closed at its end
}

const patience = 90 * time.Second

// Start runs the script with its flags (--tls, --bluestore, --bucket NAME …) and waits until the gateway serves.
// It ends with Stop, and with this process.
func Start(script string, flags ...string) (*Gateway, error) {
	g := &Gateway{cmd: exec.Command(script, flags...), lines: make(chan string, 16)}
	g.cmd.Stderr = os.Stderr
	// A group of its own: Ctrl-C ends it by the end of its input, in its turn.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if g.in, err = g.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			g.lines <- s.Text()
		}
		close(g.lines)
	}()
	values := map[string]*string{"RGW_ENDPOINT": &g.Endpoint, "RGW_TLS_ENDPOINT": &g.TLSEndpoint, "RGW_CA": &g.CA,
		"RGW_ACCESS_KEY": &g.AccessKey, "RGW_SECRET_KEY": &g.SecretKey, "RGW_REGION": &g.Region}
	for {
		line, err := g.line()
		if err != nil {
			g.Stop()
			return nil, fmt.Errorf("%s: %w", script, err)
		}
		if line == "ready" {
			return g, nil
		}
		name, value, _ := strings.Cut(line, "=")
		if to := values[name]; to != nil {
			*to = value
		}
	}
}

func (g *Gateway) line() (string, error) {
	select {
	case line, ok := <-g.lines:
		if !ok {
			return "", fmt.Errorf("the gateway has ended")
		}
		return line, nil
	case <-time.After(patience):
		return "", fmt.Errorf("no answer in %v", patience)
	}
}

func (g *Gateway) order(s string) error {
	if _, err := io.WriteString(g.in, s+"\n"); err != nil {
		return err
	}
	line, err := g.line()
	if err == nil && line != "ok" {
		err = fmt.Errorf("%s: %s", s, line)
	}
	return err
}

// Kill is SIGKILL: to the gateway, and with --bluestore to the whole cluster.
func (g *Gateway) Kill() error { return g.order("kill") }

// Resume starts again what Kill ended, with the same data, and waits until it serves.
func (g *Gateway) Resume() error { return g.order("resume") }

// Stop ends it and removes its data.
func (g *Gateway) Stop() error {
	g.in.Close()
	for range g.lines {
	}
	return g.cmd.Wait()
}
