package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/content/proxy"
	"github.com/containerd/containerd/defaults"
	"github.com/containerd/containerd/pkg/dialer"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// A server is one process of ours that serves content on a socket.
type server struct {
	name   string
	argv   []string
	socket string
	log    string

	cmd    *exec.Cmd
	exited chan struct{}
	conn   *grpc.ClientConn
}

// start returns once the process accepts connections. It may be started again after stop.
func (s *server) start(ctx context.Context) error {
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd = exec.Command(s.argv[0], s.argv[1:]...)
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = plainEnvironment()
	// An interrupt from the terminal is for us alone; and nothing that we started outlives us.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.exited = exited
	go func(cmd *exec.Cmd) {
		cmd.Wait()
		close(exited)
	}(s.cmd)
	return s.await(ctx)
}

// plainEnvironment is without STOWAGE_... and AWS_..., which are configuration to Stowage and to others: the
// user's do not belong into a benchmark.
func plainEnvironment() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STOWAGE_") && !strings.HasPrefix(v, "AWS_") {
			env = append(env, v)
		}
	}
	return env
}

func (s *server) await(ctx context.Context) error {
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.exited:
			return fmt.Errorf("%s ended at its start: %v; its log ends:\n%s", s.name, s.cmd.ProcessState, s.logTail())
		default:
		}
		if c, err := net.Dial("unix", s.socket); err == nil {
			return c.Close()
		}
		time.Sleep(500 * time.Microsecond)
	}
	return fmt.Errorf("%s does not serve %s", s.name, s.socket)
}

func (s *server) logTail() string {
	b, _ := os.ReadFile(s.log)
	if len(b) > 4000 {
		b = b[len(b)-4000:]
	}
	return string(b)
}

// stop ends the process, with SIGKILL if SIGTERM does not.
func (s *server) stop() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		fmt.Fprintf(os.Stderr, "bench: %s does not end with SIGTERM\n", s.name)
		s.cmd.Process.Kill()
		<-s.exited
	}
	s.cmd = nil
}

// store is containerd's client, with the one connection that containerd would have: these are the options
// of services/server in containerd.
func (s *server) store() (content.Store, error) {
	if s.conn == nil {
		config := backoff.DefaultConfig
		config.MaxDelay = 3 * time.Second
		conn, err := grpc.Dial(dialer.DialAddress(s.socket),
			grpc.WithInsecure(),
			grpc.WithConnectParams(grpc.ConnectParams{Backoff: config}),
			grpc.WithContextDialer(dialer.ContextDialer),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(defaults.DefaultMaxRecvMsgSize)),
			grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(defaults.DefaultMaxSendMsgSize)))
		if err != nil {
			return nil, err
		}
		s.conn = conn
	}
	return proxy.NewContentStore(api.NewContentClient(s.conn)), nil
}

// cpu is the processor time that the process has used, of all its threads, also of those that have ended.
func (s *server) cpu() time.Duration {
	var t unix.Timespec
	// What clock_getcpuclockid(3) makes of a pid; in /proc/PID/stat there are only ticks of 10 ms.
	clock := int32(^s.cmd.Process.Pid)<<3 | 2
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// settle waits until the process has nothing to do, or for half a minute.
func (s *server) settle(ctx context.Context) {
	for quiet, end := 0, time.Now().Add(30*time.Second); quiet < 3 && time.Now().Before(end) && ctx.Err() == nil; {
		before := s.cpu()
		time.Sleep(50 * time.Millisecond)
		if s.cpu()-before < 2*time.Millisecond {
			quiet++
		} else {
			quiet = 0
		}
	}
}

// memory is a line of /proc/PID/status, as VmHWM, in bytes.
func (s *server) memory(field string) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for _, line := range bytes.Split(b, []byte("\n")) {
		f := strings.Fields(string(line))
		if len(f) >= 2 && f[0] == field+":" {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n * kib
		}
	}
	return 0
}
