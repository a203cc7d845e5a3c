package main

import (
	"bytes"
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
	bucketNice   = "19"    // it stands for another machine: it has the processors when those that are measured wait
)

// A bucket is in a gateway of our own, in memory, and what reaches it: Stowage and other clients.
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
	config string // its file
	prefix string // in the bucket, its own
}

// bucket starts the gateway, the first time.
func (b *bench) bucket() (*bucket, error) {
	if b.onBucket != nil {
		return b.onBucket, nil
	}
	b.progress("starting the gateway")
	os.Setenv("RGW_MEMORY", fmt.Sprint(int64(bucketMemory)))
	os.Setenv("RGW_NICE", bucketNice)
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
		c.Process.Kill() // it has nothing to lose, and may be stopped
		c.Wait()
	}
	if err := u.gateway.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "bench: the gateway:", err)
	}
}

// The rest of a configuration, whose last table is [remote.s3]. All options have their defaults but one: the
// benchmark's disk is as full as it happens to be, and nothing shall be dropped for that.
const (
	directly = "[remote]\ntype = \"s3\"\nmode = \"direct\"\n" // nothing local but the staging area
	tiered   = "[local]\nmin_free = \"0\"\n[remote]\ntype = \"s3\"\n"
)

func (u *bucket) tables(mode, endpoint string) string {
	return mode + fmt.Sprintf("[remote.s3]\nendpoint = %q\nbucket = %q\nregion = %q\naccess_key = %q\nsecret_key = %q\n",
		endpoint, bucketName, u.gateway.Region, u.gateway.AccessKey, u.gateway.SecretKey)
}

// stowage starts one on the bucket and on nothing else, below a prefix of its own.
func (u *bucket) stowage(name, endpoint string) (*remote, error) {
	return u.started(u.remote(name, filepath.Join(u.b.tmpfs, "s3-"+name), directly, endpoint))
}

// node starts one with local bytes in root before the bucket.
func (u *bucket) node(name, root, endpoint string) (*remote, error) {
	return u.started(u.remote(name, root, tiered, endpoint))
}

// remote is one that is not started yet.
func (u *bucket) remote(name, root, mode, endpoint string) (*remote, error) {
	r := &remote{
		server: &server{
			name: "stowage on a bucket", socket: filepath.Join(u.b.tmpfs, "s3-"+name+".sock"),
			log: filepath.Join(u.b.tmpfs, "s3-"+name+".log"),
		},
		config: filepath.Join(u.b.tmpfs, "s3-"+name+".toml"), prefix: name,
	}
	text := fmt.Sprintf("root = %q\n%sprefix = %q\n", root, u.tables(mode, endpoint), r.prefix)
	r.server.argv = []string{u.b.stowage, "serve", "--config", r.config, "--address", r.server.socket}
	u.b.extra = append(u.b.extra, r.server)
	return r, os.WriteFile(r.config, []byte(text), 0o600)
}

func (u *bucket) started(r *remote, err error) (*remote, error) {
	if err == nil {
		err = r.server.start(u.b.ctx)
	}
	if err == nil {
		r.store, err = r.server.store()
	}
	return r, err
}

// tell is Stowage's command line, and what it prints.
func (r *remote) tell(ctx context.Context, command string, args ...string) ([]byte, error) {
	args = append([]string{command, "--config", r.config, "--address", r.server.socket}, args...)
	cmd := exec.CommandContext(ctx, r.server.argv[0], args...)
	cmd.Env = plainEnvironment()
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("stowage %s: %w: %s", command, err, complaint.Bytes())
	}
	return out, err
}

// proxy starts a fault proxy before the gateway that does nothing but delay, by so much in each direction, and
// returns its URL. It is the last of u.proxies.
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
	cmd.Env = append(plainEnvironment(), "AWS_ACCESS_KEY_ID="+g.AccessKey, "AWS_SECRET_ACCESS_KEY="+g.SecretKey,
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
