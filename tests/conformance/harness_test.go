// Package conformance tests a Stowage daemon from outside, over its socket: containerd's own suite, the
// contract that containerd relies on, and what kill -9, a full disk and a lost index leave behind.
//
// STOWAGE_BIN names the daemon's binary. STOWAGE_SLOW multiplies the time limits, for builds with
// sanitizers. STOWAGE_PRELOAD is preloaded into the daemon. STOWAGE_CRASH_ROUNDS sets the length of the
// crash loop, STOWAGE_CRASH_SEED repeats one.
//
// Each test has daemons and servers of its own. Those that wait more than they compute run beside each other, after
// the others (t.Parallel).
package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// What any sanitizer writes when it has found something.
var sanitizerMarks = []string{
	"AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "MemorySanitizer", "runtime error:",
}

func TestMain(m *testing.M) {
	if os.Getenv("STOWAGE_BIN") == "" {
		fmt.Fprintln(os.Stderr, "STOWAGE_BIN must name the daemon's binary")
		os.Exit(2)
	}
	logrus.SetOutput(io.Discard) // of containerd's packages, which log what they find wrong
	os.Exit(m.Run())
}

// slow stretches a time limit for builds that run under a sanitizer.
func slow(d time.Duration) time.Duration {
	if f, err := strconv.ParseFloat(os.Getenv("STOWAGE_SLOW"), 64); err == nil && f > 1 {
		return time.Duration(float64(d) * f)
	}
	return d
}

func underSanitizer() bool { return slow(1000) > 1000 }

// daemon is one running `stowage serve` with a root and a socket of its own.
type daemon struct {
	root string
	sock string
	log  string
	env  []string // of its configuration, beside the root

	dir    string // holds the socket and the log; removed at the end
	cmd    *exec.Cmd
	exited chan struct{} // closed once the process is reaped

	mu    sync.Mutex
	conns []*grpc.ClientConn
}

// launch starts a daemon on root, with the blobs where the run wants them, and waits until it serves.
func launch(root string) (*daemon, error) { return launchWith(root, remoteEnvironment(root)) }

// launchWith has a configuration of its own. The socket lies in a short directory, for the path of a unix
// socket has 107 bytes at most.
func launchWith(root string, env []string) (*daemon, error) {
	dir, err := os.MkdirTemp("/tmp", "stw-")
	if err != nil {
		return nil, err
	}
	d := &daemon{root: root, dir: dir, sock: filepath.Join(dir, "s"), log: filepath.Join(dir, "log"),
		env: env}
	if err := d.spawn(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return d, nil
}

// spawn starts the process, also for a second time on the same root and socket.
func (d *daemon) spawn() error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd = exec.Command(os.Getenv("STOWAGE_BIN"), "serve", "--local", d.root, "--address", d.sock)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.Env = cleanEnvironment()
	if lib := os.Getenv("STOWAGE_PRELOAD"); lib != "" {
		d.cmd.Env = append(d.cmd.Env, "LD_PRELOAD="+lib)
	}
	d.cmd.Env = append(d.cmd.Env, d.env...)
	// Its own default is longer than a test's patience.
	d.cmd.Env = append(d.cmd.Env, "STOWAGE_GRPC_DRAIN_TIMEOUT=3s")
	// No daemon outlives the tests, not even tests that were killed.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	d.exited = exited
	go func(cmd *exec.Cmd) {
		cmd.Wait()
		close(exited)
	}(d.cmd)
	if err := d.awaitServing(slow(20 * time.Second)); err != nil {
		d.kill()
		return fmt.Errorf("%w; its log ends:\n%s", err, d.logTail())
	}
	return nil
}

// cleanEnvironment is ours without STOWAGE_... and AWS_..., which are configuration to the daemon: neither the
// test's nor the user's belongs there.
func cleanEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "STOWAGE_") && !strings.HasPrefix(v, "AWS_") {
			env = append(env, v)
		}
	}
	return env
}

func (d *daemon) awaitServing(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		select {
		case <-d.exited:
			return fmt.Errorf("the daemon ended at its start: %v", d.cmd.ProcessState)
		default:
		}
		if conn, err := net.Dial("unix", d.sock); err == nil {
			conn.Close()
			return nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("the daemon does not serve %s after %v", d.sock, limit)
}

func (d *daemon) logTail() string {
	b, _ := os.ReadFile(d.log)
	if len(b) > 6000 {
		b = b[len(b)-6000:]
	}
	return string(b)
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

func (d *daemon) closeConns() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		c.Close()
	}
	d.conns = nil
}

// kill ends the daemon as a power switch does, for what a process can see of it.
func (d *daemon) kill() {
	d.cmd.Process.Kill()
	<-d.exited
	d.closeConns()
}

// stop asks the daemon to end, and demands that it does so in time, with status 0 and nothing in its
// log that a sanitizer wrote.
func (d *daemon) stop() error {
	d.closeConns()
	select {
	case <-d.exited:
		return fmt.Errorf("the daemon was gone already: %v; its log ends:\n%s", d.cmd.ProcessState, d.logTail())
	default:
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	return d.awaitExit(slow(30 * time.Second))
}

func (d *daemon) awaitExit(limit time.Duration) error {
	select {
	case <-d.exited:
	case <-time.After(limit):
		d.cmd.Process.Signal(syscall.SIGABRT)
		<-d.exited
		return fmt.Errorf("the daemon did not end within %v of SIGTERM; its log ends:\n%s", limit, d.logTail())
	}
	if !d.cmd.ProcessState.Success() {
		return fmt.Errorf("the daemon ended badly: %v; its log ends:\n%s", d.cmd.ProcessState, d.logTail())
	}
	return d.logReport()
}

func (d *daemon) logReport() error {
	b, err := os.ReadFile(d.log)
	if err != nil {
		return err
	}
	// It runs at level info: a refused request is the client's affair.
	if bytes.Contains(b, []byte("level=debug")) {
		return fmt.Errorf("the log tells what its level leaves out:\n%s", d.logTail())
	}
	for _, mark := range sanitizerMarks {
		if at := bytes.Index(b, []byte(mark)); at >= 0 {
			end := at + 6000
			if end > len(b) {
				end = len(b)
			}
			return fmt.Errorf("a sanitizer reports:\n%s", b[at:end])
		}
	}
	return nil
}

func (d *daemon) remove() { os.RemoveAll(d.dir) }

// dialNow makes a connection of its own, which the caller closes.
func (d *daemon) dialNow(ctx context.Context) (*grpc.ClientConn, error) {
	return grpc.DialContext(ctx, d.sock, grpc.WithInsecure(), grpc.WithBlock(),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", addr)
		}),
		// Fixed windows: Debian's grpc-go, where it sizes them itself, raises the limit of open streams and
		// that of new ones in two steps (updateFlowControl), and resets a stream that was begun in between.
		grpc.WithInitialWindowSize(1<<20), grpc.WithInitialConnWindowSize(4<<20),
		grpc.WithDefaultCallOptions(grpc.MaxCallSendMsgSize(256<<20)))
}

// dial makes a connection that is closed when the daemon ends.
func (d *daemon) dial() (*grpc.ClientConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), slow(10*time.Second))
	defer cancel()
	conn, err := d.dialNow(ctx)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.conns = append(d.conns, conn)
	d.mu.Unlock()
	return conn, nil
}

// start runs a daemon for one test on a fresh root.
func start(t *testing.T) *daemon {
	t.Helper()
	return startOn(t, t.TempDir())
}

func startOn(t *testing.T, root string) *daemon {
	t.Helper()
	return startWith(t, root, remoteEnvironment(root))
}

func startWith(t *testing.T, root string, env []string) *daemon {
	t.Helper()
	d, err := launchWith(root, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer d.remove()
		select {
		case <-d.exited: // the test has ended it itself, and judged how
			d.closeConns()
			if err := d.logReport(); err != nil {
				t.Error(err)
			}
			return
		default:
		}
		if t.Failed() {
			t.Logf("the daemon's log ends:\n%s", d.logTail())
		}
		if err := d.stop(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// restart ends the daemon in the given way and starts it again on the same root and socket.
func (d *daemon) restart(t *testing.T, hard bool) {
	t.Helper()
	if hard {
		d.kill()
	} else if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.again(t)
}

// again starts the daemon that has ended.
func (d *daemon) again(t *testing.T) {
	t.Helper()
	if err := d.spawn(); err != nil {
		t.Fatal(err)
	}
}

func (d *daemon) client(t *testing.T) api.ContentClient {
	t.Helper()
	return api.NewContentClient(d.conn(t))
}

func (d *daemon) conn(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := d.dial()
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// mustServe fails the test unless the daemon answers on a fresh connection.
func (d *daemon) mustServe(t *testing.T) {
	t.Helper()
	conn := d.conn(t)
	r, err := grpc_health_v1.NewHealthClient(conn).Check(ctxFor(t), &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatalf("the daemon no longer serves: %v", err)
	}
	if r.Status != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Fatalf("health is %v", r.Status)
	}
}

// usage is what the daemon holds of the machine.
type usage struct {
	fds, threads, rssKiB int
}

func (d *daemon) usage(t *testing.T) usage {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d", d.pid())
	fds, err := os.ReadDir(proc + "/fd")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile(proc + "/status")
	if err != nil {
		t.Fatal(err)
	}
	u := usage{fds: len(fds)}
	for _, line := range strings.Split(string(status), "\n") {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "Threads:":
			u.threads, _ = strconv.Atoi(f[1])
		case "VmRSS:":
			u.rssKiB, _ = strconv.Atoi(f[1])
		}
	}
	return u
}

// ctxFor bounds every call of a test: no test may hang.
func ctxFor(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), slow(60*time.Second))
	t.Cleanup(cancel)
	return ctx
}

// eventually polls until ok, and fails with what it says after the limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(slow(limit))
	for {
		good, seen := ok()
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not so after %v: %s", what, slow(limit), seen)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
