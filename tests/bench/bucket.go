package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/content"
	"stowage/s3/gateway"
)

const (
	bucketName   = "bench"
	bucketMemory = 8 * gib // of the gateway, which would block if it were full; what is deleted goes seconds later
)

// A bucket is in a gateway of our own, in memory, and what reaches it: Stowage, with nothing local but its staging
// area on tmpfs, and other clients.
type bucket struct {
	b       *bench
	gateway *gateway.Gateway
	file    string // on tmpfs, of the large blob's size: what other clients send
	direct  *remote
	proxies []*exec.Cmd
}

// A remote is a Stowage on the bucket.
type remote struct {
	server *server
	store  content.Store
}

// bucket starts the gateway, the first time.
func (b *bench) bucket() (*bucket, error) {
	if b.onBucket != nil {
		return b.onBucket, nil
	}
	b.progress("starting the gateway")
	os.Setenv("RGW_MEMORY", fmt.Sprint(int64(bucketMemory)))
	g, err := gateway.Start(b.gateway, "--bucket", bucketName)
	if err != nil {
		return nil, err
	}
	u := &bucket{b: b, gateway: g, file: filepath.Join(b.tmpfs, "upload")}
	b.onBucket = u
	if err := os.WriteFile(u.file, b.source.text[:b.largeSize()], 0o600); err != nil {
		return nil, err
	}
	u.direct, err = u.stowage("direct", g.Endpoint)
	return u, err
}

func (u *bucket) close() {
	for _, c := range u.proxies {
		c.Process.Signal(syscall.SIGTERM)
		c.Wait()
	}
	if err := u.gateway.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: the gateway:", err)
	}
}

// stowage starts one on the bucket alone, below a prefix of its own. All of its options have their defaults.
func (u *bucket) stowage(name, endpoint string) (*remote, error) {
	return u.stowageIn("direct", name, endpoint)
}

// stowageIn has the mode, too: "tiered" is with local bytes in front of the bucket.
func (u *bucket) stowageIn(mode, name, endpoint string) (*remote, error) {
	root, config := filepath.Join(u.b.tmpfs, "s3-"+name), filepath.Join(u.b.tmpfs, "s3-"+name+".toml")
	text := fmt.Sprintf("root = %q\n[remote]\ntype = \"s3\"\nmode = %q\n[remote.s3]\nendpoint = %q\nbucket = %q\n"+
		"prefix = %q\nregion = %q\naccess_key = %q\nsecret_key = %q\n",
		root, mode, endpoint, bucketName, name, u.gateway.Region, u.gateway.AccessKey, u.gateway.SecretKey)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	s := &server{
		name: "stowage on a bucket", socket: filepath.Join(u.b.tmpfs, "s3-"+name+".sock"),
		log: filepath.Join(u.b.tmpfs, "s3-"+name+".log"),
	}
	s.argv = []string{u.b.stowage, "serve", "--config", config, "--address", s.socket}
	u.b.extra = append(u.b.extra, s)
	if err := s.start(u.b.ctx); err != nil {
		return nil, err
	}
	cs, err := s.store()
	return &remote{s, cs}, err
}

// proxy starts a fault proxy before the gateway that does nothing but delay, by so much in each direction, and
// returns its URL.
func (u *bucket) proxy(each time.Duration) (string, error) {
	cmd := exec.Command(u.b.s3server, "faults", "-upstream", u.gateway.Endpoint)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	u.proxies = append(u.proxies, cmd)
	var url, control string
	if _, err := fmt.Fscan(out, &url, &control); err != nil {
		return "", fmt.Errorf("the proxy says nothing: %w", err)
	}
	set := fmt.Sprintf(`{"latency_ms": %g}`, millis(each))
	req, err := http.NewRequestWithContext(u.b.ctx, "PATCH", control+"/settings", strings.NewReader(set))
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(resp.Body)
		return "", fmt.Errorf("the proxy, told %s: %s: %s", set, resp.Status, text)
	}
	return url, nil
}

// --- other clients ---

// curl makes one signed request for a key.
func (u *bucket) curl(key string, args ...string) (time.Duration, error) {
	g := u.gateway
	args = append(args, "--silent", "--show-error", "--fail", "--aws-sigv4", "aws:amz:"+g.Region+":s3",
		"--user", g.AccessKey+":"+g.SecretKey, "--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
		g.Endpoint+"/"+bucketName+"/"+key)
	return u.timed(exec.CommandContext(u.b.ctx, "curl", args...))
}

func (u *bucket) curlPut(key string) (time.Duration, error) {
	return u.curl(key, "--upload-file", u.file)
}
func (u *bucket) curlGet(key string) (time.Duration, error) {
	return u.curl(key, "--output", "/dev/null")
}
func (u *bucket) curlDelete(key string) error {
	_, err := u.curl(key, "--request", "DELETE")
	return err
}

// awsCopy is `aws s3 cp`, with its defaults and nothing of the user's.
func (u *bucket) awsCopy(from, to string) (time.Duration, error) {
	g := u.gateway
	cmd := exec.CommandContext(u.b.ctx, u.b.aws, "--endpoint-url", g.Endpoint, "s3", "cp", "--only-show-errors", from, to)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AWS_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "AWS_ACCESS_KEY_ID="+g.AccessKey, "AWS_SECRET_ACCESS_KEY="+g.SecretKey,
		"AWS_DEFAULT_REGION="+g.Region, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
		"AWS_EC2_METADATA_DISABLED=true")
	return u.timed(cmd)
}

func (u *bucket) timed(cmd *exec.Cmd) (time.Duration, error) {
	// An interrupt from the terminal is for us alone; the context ends the command.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	start := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", filepath.Base(cmd.Path), err, out)
	}
	return time.Since(start), nil
}

// ingested is one pull-like ingest of a new blob of the large size. It is left there.
func (u *bucket) ingested(ctx context.Context, cs content.Store) (*blob, time.Duration, error) {
	in := &ingest{blob: u.b.source.blob(u.b.largeSize()), declare: true}
	in.ref = u.b.ref(in.blob, true)
	err := in.run(ctx, cs)
	return in.blob, in.total, err
}
