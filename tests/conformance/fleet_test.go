package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Several daemons on one bucket, each with local bytes in front of it: what a client of one of them sees. With
// containerds and a real server: tests/e2e/fleet*.bats.

// node starts a daemon of a fleet. The disk that the tests run on may be as full as it is.
func (b *bucket) node(t *testing.T, more ...string) *daemon {
	t.Helper()
	return startWith(t, t.TempDir(), b.environment(append([]string{
		"STOWAGE_REMOTE_MODE=tiered",
		"STOWAGE_REMOTE_CLAIM_INTERVAL=200ms",
		"STOWAGE_LOCAL_MIN_FREE=0",
	}, more...)...))
}

// run is the command line of the daemon's own binary.
func (d *daemon) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), slow(100*time.Second))
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Getenv("STOWAGE_BIN"), append(args, "--local", d.root, "--address", d.sock)...)
	cmd.Env = append(cleanEnvironment(), d.env...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("stowage %s: %w: %s", strings.Join(args, " "), err, errors.String())
	}
	return string(out), err
}

// flush waits until the bucket has what was committed here.
func (d *daemon) flush(t *testing.T) {
	t.Helper()
	_, err := d.run(t, "flush", "--timeout", slow(60*time.Second).String())
	noErr(t, err)
}

// fleetStatus is what `stowage status` says of the bucket and of what is on its way.
type fleetStatus struct {
	Pending, Uploading, Uploaded, Fetching, Fetched int
	CacheBytes                                      int64  `json:"cache_bytes"`
	UploadError                                     string `json:"upload_error"`
	Behind                                          []struct {
		Name, Error string
		Reachable   *bool // nil: nothing has answered yet
	}
}

func (d *daemon) status(t *testing.T) (s fleetStatus) {
	t.Helper()
	out, err := d.run(t, "status", "--format", "json")
	noErr(t, err)
	noErr(t, json.Unmarshal([]byte(out), &s))
	return s
}

// reachable waits until the daemon takes the bucket for that, or for the contrary.
func (d *daemon) reachable(t *testing.T, want bool) {
	t.Helper()
	eventually(t, 75*time.Second, fmt.Sprint("the bucket is reachable: ", want), func() (bool, string) {
		s := d.status(t)
		return len(s.Behind) == 1 && s.Behind[0].Reachable != nil && *s.Behind[0].Reachable == want, fmt.Sprint(s)
	})
}

// localFile is where the daemon keeps a blob's bytes.
func (d *daemon) localFile(dg digest.Digest) string {
	return filepath.Join(d.root, "blobs", dg.Algorithm().String(), dg.Hex())
}

func key(dg digest.Digest) string { return bucketPrefix + "/blobs/sha256/" + dg.Hex() }

// has tells which of the bucket's objects are there, by digest.
func (b *bucket) has(t *testing.T) map[digest.Digest]bool {
	t.Helper()
	out := map[digest.Digest]bool{}
	objects, _ := b.contents(t)
	for _, o := range objects {
		if hex := strings.TrimPrefix(o.Key, bucketPrefix+"/blobs/sha256/"); hex != o.Key {
			if o.SHA256 != hex {
				t.Errorf("the object %s has bytes of sha256:%s", o.Key, o.SHA256)
			}
			out[digest.NewDigestFromHex("sha256", hex)] = true
		}
	}
	return out
}

// asked counts the requests for blobs, of one operation, without those of the probe.
func (b *bucket) asked(op string) (n int) {
	for _, e := range b.requests(op) {
		if strings.HasPrefix(e.Key, bucketPrefix+"/blobs/") && !strings.HasPrefix(e.Key, bucketPrefix+"/blobs/probe-") {
			n++
		}
	}
	return n
}

func mustHave(t *testing.T, c api.ContentClient, dg digest.Digest, size int) {
	t.Helper()
	r, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: dg})
	noErr(t, err)
	if r.Info.Size_ != int64(size) || r.Info.Digest != dg {
		t.Fatalf("%v, not %s of %d bytes", r.Info, dg, size)
	}
}

// absentFrom demands NOT_FOUND, for which the bucket need not have been asked.
func absentFrom(t *testing.T, c api.ContentClient, dg digest.Digest) {
	t.Helper()
	_, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: dg})
	wantCode(t, err, codes.NotFound)
}

// all runs f(0) to f(n-1) on `workers` goroutines, and returns the first failure.
func all(n, workers int, f func(i int) error) error {
	work, failed := make(chan int), make(chan error, workers)
	var wg sync.WaitGroup
	for w := 0; w < workers; w++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var first error
			for i := range work {
				if err := f(i); err != nil && first == nil {
					first = err
				}
			}
			failed <- first
		}()
	}
	for i := 0; i < n; i++ {
		work <- i
	}
	close(work)
	wg.Wait()
	close(failed)
	for err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// A thousand blobs are adopted at once: each is looked for once, however many ask, and all of them come.
func TestFleetAdoptsManyAtOnce(t *testing.T) {
	const n, askers = 1000, 3
	b := newBucket(t)
	one, two := b.node(t), b.node(t, "STOWAGE_REMOTE_PREFETCH=0") // a fetch looks, too
	c, ctx := one.client(t), ctxFor(t)
	noErr(t, all(n, 16, func(i int) error {
		data := noise(int64(i), 2000+i)
		_, err := put(ctx, c, pullRef(i, sum(data)), data, nil)
		return err
	}))
	one.flush(t)
	if have := b.has(t); len(have) != n {
		t.Fatalf("the bucket has %d blobs, not %d", len(have), n)
	}
	looks := b.asked("HeadObject")
	other := two.client(t)
	noErr(t, all(n*askers, 64, func(i int) error {
		i %= n
		data := noise(int64(i), 2000+i)
		r, err := other.Info(ctx, &api.InfoRequest{Digest: sum(data)})
		if err == nil && r.Info.Size_ != int64(len(data)) {
			err = fmt.Errorf("%s has %d bytes, not %d", sum(data), r.Info.Size_, len(data))
		}
		return err
	}))
	if looks = b.asked("HeadObject") - looks; looks > n+n/10 {
		t.Errorf("%d looks for %d blobs", looks, n)
	}
	two.env = append(two.env, "STOWAGE_REMOTE_PREFETCH=8")
	two.restart(t, true) // what was answered is durable
	if l := mustList(t, two.client(t)); len(l) != n {
		t.Fatalf("%d blobs are listed after a kill, not %d", len(l), n)
	}
	other = two.client(t)
	noErr(t, all(n, 16, func(i int) error {
		data := noise(int64(i), 2000+i)
		got, err := get(ctx, other, sum(data), 0, 0)
		if err == nil && !bytes.Equal(got, data) {
			err = fmt.Errorf("%s has other bytes", sum(data))
		}
		return err
	}))
}

// However many read it, and however they read, a blob comes once.
func TestFleetOneTransferForAllReaders(t *testing.T) {
	b := newBucket(t)
	one, two := b.node(t), b.node(t)
	data := noise(1, 24<<20)
	dg := mustPut(t, one.client(t), data)
	one.flush(t)
	b.rules(t, `{"method": "GET", "target": "/blobs/", "rate": 30000000}`)
	c, ctx := two.client(t), ctxFor(t)
	mustHave(t, c, dg, len(data))
	noErr(t, all(8, 8, func(i int) error {
		if i%2 == 0 { // in order
			got, err := get(ctx, c, dg, 0, 0)
			if err == nil && !bytes.Equal(got, data) {
				err = fmt.Errorf("reader %d: other bytes", i)
			}
			return err
		}
		for off := 0; off < len(data); off += 3 << 20 { // as clients do that know what they want
			n := 32 << 10
			if off+n > len(data) {
				n = len(data) - off
			}
			got, err := get(ctx, c, dg, int64(off), int64(n))
			if err != nil || !bytes.Equal(got, data[off:off+n]) {
				return fmt.Errorf("reader %d at %d: %v", i, off, err)
			}
		}
		return nil
	}))
	eventually(t, 20*time.Second, "its bytes are here", func() (bool, string) {
		_, err := os.Stat(two.localFile(dg))
		return err == nil, fmt.Sprint(err)
	})
	// Who read far ahead may have asked for its pieces by itself.
	sent := int64(0)
	for _, e := range b.requests("GetObject") {
		if e.Key == key(dg) {
			var from, to int64
			if _, err := fmt.Sscanf(e.Header["range"], "bytes=%d-%d", &from, &to); err != nil {
				t.Fatalf("a read of all of it: %q", e.Header["range"])
			}
			sent += to - from + 1
		}
	}
	if sent > int64(len(data))*3/2 {
		t.Errorf("%d bytes came for a blob of %d", sent, len(data))
	}
	before := -1
	eventually(t, 20*time.Second, "what was under way has ended", func() (bool, string) {
		last := before
		before = b.asked("GetObject")
		time.Sleep(100 * time.Millisecond)
		return before == last, fmt.Sprint(before)
	})
	if !bytes.Equal(mustGet(t, c, dg), data) {
		t.Fatal("other bytes")
	}
	if n := b.asked("GetObject"); n != before {
		t.Error("what is here was asked for again")
	}
}

// Wrong bytes under a right name: nobody is given the whole of it, nobody else is led there, and who has the
// right ones puts them in their place.
func TestFleetWrongObject(t *testing.T) {
	for _, size := range []int{smallSize, largeSize} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			b := newBucket(t)
			two := b.node(t)
			c := two.client(t)
			data := noise(1, size)
			wrong := append([]byte{}, data...)
			wrong[size/2] ^= 1
			b.account().do(t, "PUT", "/"+key(sum(data)), string(wrong))
			mustHave(t, c, sum(data), size)
			got, err := get(ctxFor(t), c, sum(data), 0, 0)
			wantCode(t, err, codes.DataLoss)
			if len(got) >= size {
				t.Error("all of it was read")
			}
			log, err := os.ReadFile(two.log)
			noErr(t, err)
			if !bytes.Contains(log, []byte(sum(data).String())) {
				t.Errorf("the log does not name it:\n%s", log)
			}
			if _, err := os.Stat(two.localFile(sum(data))); err == nil {
				t.Error("it was kept")
			}
			// As containerd does: what could not be read is removed, and pulled again.
			_, err = c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: sum(data)})
			if status.Code(err) != codes.NotFound {
				noErr(t, err)
			}
			absentFrom(t, c, sum(data))
			_, err = put(ctxFor(t), c, pullRef(1, sum(data)), data, nil)
			noErr(t, err)
			if !bytes.Equal(mustGet(t, c, sum(data)), data) {
				t.Fatal("other bytes")
			}
			two.flush(t)
			if !b.has(t)[sum(data)] {
				t.Error("the right bytes are not in the bucket")
			}
		})
	}
}

// The bucket says nothing: who asks for what is not here is told so in time, and soon at once; it is back as soon
// as it answers again.
func TestFleetSilentBucket(t *testing.T) {
	b := newBucket(t)
	one, two := b.node(t), b.node(t)
	known := noise(1, smallSize)
	mustPut(t, one.client(t), known)
	one.flush(t)
	b.rules(t, `{"hang_request": 0}`)
	c := two.client(t)
	longest := time.Duration(0)
	for i := 0; i < 12; i++ {
		begin := time.Now()
		absentFrom(t, c, sum(noise(int64(100+i), 10)))
		if d := time.Since(begin); d > longest {
			longest = d
		}
	}
	t.Logf("the longest wait was %v", longest)
	if longest > slow(3*time.Second) {
		t.Errorf("one answer took %v, where 500 ms are allowed", longest)
	}
	two.reachable(t, false)
	before := len(b.proxy.Log.Entries())
	begin := time.Now()
	for i := 0; i < 100; i++ {
		absentFrom(t, c, sum(noise(int64(200+i), 10)))
	}
	if d := time.Since(begin); d > slow(2*time.Second) {
		t.Errorf("100 answers took %v though nobody is asked", d)
	}
	if n := len(b.proxy.Log.Entries()) - before; n > 5 {
		t.Errorf("%d requests while the circuit is open", n)
	}
	// Writing goes on.
	data := noise(2, largeSize)
	mustPut(t, c, data)
	if !bytes.Equal(mustGet(t, c, sum(data)), data) {
		t.Fatal("other bytes")
	}
	b.rules(t, `[]`)
	two.reachable(t, true)
	mustHave(t, c, sum(known), len(known))
	two.flush(t)
	if have := b.has(t); !have[sum(data)] {
		t.Error("what was committed meanwhile is not in the bucket")
	}
}

// adoptMany has one node put n blobs of noise, with the seeds 0 to n-1, into the bucket, and the other one adopt them.
func adoptMany(t *testing.T, from, to *daemon, n, size int) {
	t.Helper()
	source, c := from.client(t), to.client(t)
	for i := 0; i < n; i++ {
		mustPut(t, source, noise(int64(i), size))
	}
	from.flush(t)
	for i := 0; i < n; i++ {
		mustHave(t, c, sum(noise(int64(i), size)), size)
	}
}

// coolDown takes a blob's bytes out of the page cache, so that reading them is the disk's business.
func (d *daemon) coolDown(t *testing.T, dg digest.Digest) {
	t.Helper()
	const dontNeed = 4 // POSIX_FADV_DONTNEED
	f, err := os.Open(d.localFile(dg))
	noErr(t, err)
	defer f.Close()
	noErr(t, f.Sync())
	if _, _, e := syscall.Syscall6(syscall.SYS_FADVISE64, f.Fd(), 0, 0, dontNeed, 0, 0); e != 0 {
		t.Fatal(e)
	}
}

// pinMany has so many clients ask for the same pin, and goes on without their answers. What has no bytes here is read for
// that, since it may be a manifest.
func (d *daemon) pinMany(t *testing.T, n int, dg digest.Digest) {
	t.Helper()
	conn := d.conn(t)
	for i := 0; i < n; i++ {
		stream, err := conn.NewStream(ctxFor(t), &grpc.StreamDesc{}, "/stowage.v1.Admin/Pin")
		noErr(t, err)
		noErr(t, stream.SendMsg(&api.InfoRequest{Digest: dg})) // it has the digest in the same field
		noErr(t, stream.CloseSend())
	}
	_, err := api.NewContentClient(conn).Info(ctxFor(t), &api.InfoRequest{Digest: dg})
	noErr(t, err) // it is answered when those before it have been taken up
}

// More readers than there are workers wait for a bucket that gives them nothing, and so do those who pin: all that this
// node can do by itself it does. They are served when the bucket is back, or told that it is not.
func TestFleetReadersOfASilentBucket(t *testing.T) {
	const n, size, workers = 64, 300 << 10, 16
	b := newBucket(t)
	one, two := b.node(t), b.node(t, "STOWAGE_REMOTE_PREFETCH=0", fmt.Sprint("STOWAGE_WORKERS_THREADS=", workers))
	c := two.client(t)
	adoptMany(t, one, two, n, size)
	cold, opened := noise(1000, 4<<20), noise(1001, 4<<20)
	mustPut(t, c, cold)
	mustPut(t, c, opened)
	mustGet(t, c, sum(opened))
	two.flush(t)

	b.rules(t, `{"method": "GET", "target": "/blobs/", "hang_request": 0}`)
	var ended int32
	readers := make(chan error, 1)
	go func() {
		readers <- all(n, n, func(i int) error {
			data := noise(int64(i), size)
			ctx, cancel := context.WithTimeout(context.Background(), slow(120*time.Second))
			defer cancel()
			got, err := get(ctx, c, sum(data), 0, 0)
			atomic.AddInt32(&ended, 1)
			if err == nil && !bytes.Equal(got, data) {
				err = fmt.Errorf("%s has other bytes", sum(data))
			}
			if status.Code(err) == codes.Unavailable {
				err = nil
			}
			return err
		})
	}()
	eventually(t, 20*time.Second, "all of them wait", func() (bool, string) {
		s := two.status(t)
		return s.Fetching == n, fmt.Sprint(s)
	})

	two.pinMany(t, 2*workers, sum(noise(0, size)))

	two.coolDown(t, sum(cold))
	two.coolDown(t, sum(opened))
	if !bytes.Equal(mustGet(t, c, sum(cold)), cold) || !bytes.Equal(mustGet(t, c, sum(opened)), opened) {
		t.Error("other bytes")
	}
	mustHave(t, c, sum(cold), len(cold))
	absentFrom(t, c, absent)
	if l := mustList(t, c); len(l) != n+2 {
		t.Errorf("%d blobs are listed, not %d", len(l), n+2)
	}
	data := noise(1002, largeSize)
	_, err := put(ctxFor(t), c, pullRef(1, sum(data)), data, nil)
	noErr(t, err)
	_, err = c.Update(ctxFor(t), &api.UpdateRequest{Info: api.Info{Digest: sum(data), Labels: map[string]string{"a": "b"}}})
	noErr(t, err)
	_, err = c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: sum(noise(0, size))}) // one that somebody waits for
	noErr(t, err)
	_, err = statuses(ctxFor(t), c)
	noErr(t, err)
	if atomic.LoadInt32(&ended) == n {
		t.Error("nobody waits any more: this has shown nothing")
	}

	b.rules(t, `[]`)
	if err := <-readers; status.Code(err) != codes.NotFound { // what was deleted
		noErr(t, err)
	}
	two.reachable(t, true)
	if data := noise(1, size); !bytes.Equal(mustGet(t, c, sum(data)), data) {
		t.Error("other bytes")
	}
}

// Pinning reads manifests, wherever they are: who pins waits, and nobody else.
func TestFleetPinsOfASilentBucket(t *testing.T) {
	const n, workers = 12, 4
	b := newBucket(t)
	one, two := b.node(t), b.node(t, "STOWAGE_REMOTE_PREFETCH=0", fmt.Sprintf("STOWAGE_WORKERS_THREADS=%d", workers))
	c := two.client(t)
	adoptMany(t, one, two, n, smallSize)
	b.rules(t, `{"method": "GET", "target": "/blobs/", "hang_request": 0}`)
	var begun, ended int32
	pins := make(chan error, 1)
	go func() {
		pins <- all(n, n, func(i int) error {
			atomic.AddInt32(&begun, 1)
			_, err := two.run(t, "pin", sum(noise(int64(i), smallSize)).String())
			atomic.AddInt32(&ended, 1)
			return err
		})
	}()
	eventually(t, 20*time.Second, "all of them wait", func() (bool, string) {
		s := two.status(t)
		return s.Fetching > 0 && atomic.LoadInt32(&begun) == n, fmt.Sprint(s)
	})
	time.Sleep(time.Second) // so that those have come that were sent
	if l := mustList(t, c); len(l) != n {
		t.Errorf("%d blobs are listed, not %d", len(l), n)
	}
	if atomic.LoadInt32(&ended) > 0 {
		t.Error("one has ended: this has shown nothing")
	}
	b.rules(t, `[]`)
	noErr(t, <-pins)
	if out, err := two.run(t, "pin", "--list"); err != nil || strings.Count(out, "sha256:") != n {
		t.Errorf("%v\n%s", err, out)
	}
}

// Who waits for a bucket when the daemon is to end is told so, and does not hold it up.
func TestFleetEndsWhileTheBucketIsSilent(t *testing.T) {
	const n = 6
	b := newBucket(t)
	one, two := b.node(t), b.node(t, "STOWAGE_REMOTE_PREFETCH=0", "STOWAGE_GRPC_DRAIN_TIMEOUT=1s",
		"STOWAGE_REMOTE_S3_FIRST_BYTE_TIMEOUT=5m", "STOWAGE_REMOTE_S3_STALL_TIMEOUT=5m")
	c := two.client(t)
	adoptMany(t, one, two, n, smallSize)
	b.rules(t, `{"method": "GET", "target": "/blobs/", "hang_request": 0}`)
	done := make(chan error, 1)
	go func() {
		done <- all(n, n, func(i int) error {
			if i%2 == 0 {
				_, err := get(ctxFor(t), c, sum(noise(int64(i), smallSize)), 0, 0)
				return wantErr(err)
			}
			_, err := two.run(t, "pin", sum(noise(int64(i), smallSize)).String())
			return wantErr(err)
		})
	}()
	eventually(t, 20*time.Second, "all of them wait", func() (bool, string) {
		s := two.status(t)
		return s.Fetching > n/2, fmt.Sprint(s) // those who read, and the first one who pins
	})
	noErr(t, two.stop()) // which has 30 s
	noErr(t, <-done)
}

func wantErr(err error) error {
	if err == nil {
		return fmt.Errorf("it was served by a bucket that gives nothing")
	}
	return nil
}

// The bucket is asked to remove a blob and does not answer: the collector is told so in time, and comes again.
func TestFleetExclusiveDelete(t *testing.T) {
	for name, rule := range map[string]string{
		"silent":       `{"target": "/blobs/", "hang_request": 0}`,
		"takes a look": `{"method": "DELETE", "target": "/blobs/", "hang_request": 0}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			d := b.node(t, "STOWAGE_REMOTE_OWNER=exclusive", "STOWAGE_REMOTE_S3_FIRST_BYTE_TIMEOUT=5m",
				"STOWAGE_REMOTE_S3_STALL_TIMEOUT=5m")
			data := noise(1, smallSize)
			dg := mustPut(t, d.client(t), data)
			d.flush(t)
			b.rules(t, rule)
			_, err := d.client(t).Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
			wantCode(t, err, codes.Unavailable)
			if !bytes.Equal(mustGet(t, d.client(t), dg), data) {
				t.Error("other bytes")
			}
			b.rules(t, `[]`)
			d.restart(t, false)
			if _, listed := mustList(t, d.client(t))[dg]; !listed {
				t.Error("it is not listed: who collects does not come again")
			}
			d.flush(t)
			_, err = d.client(t).Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
			noErr(t, err)
			if b.has(t)[dg] {
				t.Error("it is in the bucket still")
			}
			absentFrom(t, d.client(t), dg)
		})
	}
}

// What the bucket has of a blob is not sent again, whether the daemon ended while it was being written or while it
// was being brought there afterwards.
func TestFleetUploadResumes(t *testing.T) {
	for _, committed := range []bool{false, true} {
		committed := committed
		t.Run(fmt.Sprint("after its COMMIT: ", committed), func(t *testing.T) {
			b := newBucket(t)
			d := b.node(t)
			data := noise(1, 6*partSize+100)
			ref := pullRef(1, sum(data))
			b.rules(t, `[{"method": "PUT", "target": "partNumber=[123]&"}, {"method": "PUT", "target": "partNumber=", "status": 503}]`)
			w := openStream(t, d.client(t))
			w.must(&api.WriteContentRequest{Action: api.WriteActionStat, Ref: ref, Total: int64(len(data))})
			written := 18 << 20
			if committed {
				written = len(data)
			}
			for off := 0; off < written; off += 1 << 20 {
				end := off + 1<<20
				if end > written {
					end = written
				}
				w.write(data[off:end], int64(off))
			}
			eventually(t, 20*time.Second, "three parts are there", func() (bool, string) {
				return len(b.sentTimes()) >= 3, fmt.Sprint(b.sentTimes())
			})
			if committed {
				w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: int64(len(data)), Expected: sum(data)})
			}
			time.Sleep(slow(200 * time.Millisecond)) // the daemon hears of the last one, and writes it down
			d.kill()
			b.rules(t, `[]`)
			d.again(t)
			if !committed {
				_, err := put(ctxFor(t), d.client(t), ref, data, nil)
				noErr(t, err)
			}
			d.flush(t)
			if !b.has(t)[sum(data)] {
				t.Error("it is not in the bucket")
			}
			for part, n := range b.sentTimes() {
				if n != 1 {
					t.Errorf("%s was sent %d times", part, n)
				}
			}
			b.account().onlyUploads(t)
		})
	}
}

// What is deleted while it waits for the bucket, or is on its way there, leaves nothing there.
func TestFleetDeleteOfPending(t *testing.T) {
	b := newBucket(t)
	d := b.node(t)
	c := d.client(t)
	b.rules(t, `[{"method": "PUT", "target": "partNumber=", "delay_ms": 1000}, {"method": "PUT", "target": "/blobs/", "delay_ms": 1000}]`)
	for i, size := range []int{smallSize, largeSize, 4 * largeSize} {
		data := noise(int64(i), size)
		_, err := put(ctxFor(t), c, pullRef(i, sum(data)), data, nil)
		noErr(t, err)
		_, err = c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: sum(data)})
		noErr(t, err)
	}
	b.rules(t, `[]`)
	d.flush(t)
	b.account().onlyUploads(t)
	d.restart(t, false)
	if l := mustList(t, d.client(t)); len(l) != 0 {
		t.Errorf("%d blobs are listed", len(l))
	}
	if s := d.status(t); s.Pending != 0 {
		t.Errorf("%d are pending", s.Pending)
	}
	if n := len(b.requests("CompleteMultipartUpload")); n != 0 {
		t.Errorf("%d uploads were completed", n)
	}
}

// A blob that is being read is deleted, and another reader begins at that moment.
func TestFleetDeleteWhileItComes(t *testing.T) {
	b := newBucket(t)
	one, two := b.node(t), b.node(t)
	data := noise(1, 12<<20)
	dg := mustPut(t, one.client(t), data)
	one.flush(t)
	b.rules(t, `{"method": "GET", "target": "/blobs/", "rate": 8000000}`)
	c := two.client(t)
	for round := 0; round < 3; round++ {
		mustHave(t, c, dg, len(data))
		s, err := c.Read(ctxFor(t), &api.ReadContentRequest{Digest: dg})
		noErr(t, err)
		m, err := s.Recv()
		noErr(t, err)
		at := len(m.Data)
		_, err = c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
		noErr(t, err)
		if _, listed := mustList(t, c)[dg]; listed {
			t.Fatal("it is listed after its Delete")
		}
		// Who reads already goes on or is told; nobody reads other bytes.
		for m, err = s.Recv(); err == nil; m, err = s.Recv() {
			if !bytes.HasPrefix(data[at:], m.Data) {
				t.Fatalf("other bytes at %d", at)
			}
			at += len(m.Data)
		}
	}
	b.rules(t, `[]`)
	mustHave(t, c, dg, len(data))
	if !bytes.Equal(mustGet(t, c, dg), data) {
		t.Fatal("other bytes")
	}
	if !b.has(t)[dg] {
		t.Error("a Delete has taken it from the others")
	}
}
