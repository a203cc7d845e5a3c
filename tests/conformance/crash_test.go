package conformance

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ledger is what the clients of a crash round know: what was acknowledged, and what may or may not have
// happened because the daemon died over it.
type ledger struct {
	mu    sync.Mutex
	blobs map[digest.Digest]*fact
	refs  map[string]*sent
}

type fact struct {
	seed   int64
	size   int
	must   bool              // acknowledged, and no delete was ever asked for
	gone   bool              // the delete was acknowledged, and nothing since
	labels map[string]string // as committed
}

// sent is an ingest that nobody committed.
type sent struct {
	seed        int64
	total       int
	sent, acked int64
	dropped     bool // an abort was asked for, or a commit, of which the answer is unknown
}

func (l *ledger) with(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// worker commits, leaves and deletes until the daemon dies under it.
func (l *ledger) worker(d *daemon, id string, seed int64) {
	rng := rand.New(rand.NewSource(seed))
	conn, err := d.dial()
	if err != nil {
		return
	}
	c := api.NewContentClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), slow(60*time.Second))
	defer cancel()
	for n := 0; ; n++ {
		switch rng.Intn(6) {
		case 0:
			err = l.deleteOne(ctx, c, rng)
		case 1:
			err = l.leaveOne(ctx, c, rng, fmt.Sprintf("%s/%d", id, n))
		default:
			err = l.commitOne(ctx, c, rng, fmt.Sprintf("%s/%d", id, n))
		}
		if err != nil {
			return // the daemon is dead, or dying
		}
	}
}

func sizeOf(rng *rand.Rand) int {
	switch rng.Intn(4) {
	case 0:
		return rng.Intn(100)
	case 1:
		return 1<<20 + rng.Intn(3<<20)
	default:
		return rng.Intn(200000)
	}
}

func (l *ledger) commitOne(ctx context.Context, c api.ContentClient, rng *rand.Rand, ref string) error {
	f := &fact{seed: rng.Int63(), size: sizeOf(rng), labels: map[string]string{"ref": ref}}
	data := noise(f.seed, f.size)
	d := sum(data)
	if rng.Intn(2) == 0 {
		ref = fmt.Sprintf("%s/layer-%s", ref, d)
	}
	l.with(func() {
		if l.blobs[d] != nil {
			f = nil // the empty blob, mostly
			return
		}
		l.blobs[d] = f
	})
	if f == nil {
		return nil
	}
	l.with(func() { l.refs[ref] = &sent{seed: f.seed, total: f.size, sent: int64(f.size), dropped: true} })
	if _, err := put(ctx, c, ref, data, f.labels); err != nil {
		return err
	}
	l.with(func() {
		f.must = true
		delete(l.refs, ref)
	})
	return nil
}

// leaveOne writes a part of a blob and goes away.
func (l *ledger) leaveOne(ctx context.Context, c api.ContentClient, rng *rand.Rand, ref string) error {
	s := &sent{seed: rng.Int63(), total: 1 + sizeOf(rng)}
	data := noise(s.seed, s.total)
	if rng.Intn(2) == 0 {
		ref = fmt.Sprintf("%s/layer-%s", ref, sum(data))
	}
	l.with(func() { l.refs[ref] = s })
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := c.Write(ctx)
	if err != nil {
		return err
	}
	if err := w.Send(&api.WriteContentRequest{Ref: ref, Total: int64(s.total)}); err != nil {
		return err
	}
	if _, err := w.Recv(); err != nil {
		return err
	}
	for part := rng.Intn(4); part > 0 && s.sent < int64(s.total); part-- {
		end := s.sent + 1 + rng.Int63n(int64(s.total)-s.sent)
		chunk, off := data[s.sent:end], s.sent
		l.with(func() { s.sent = end })
		if err := w.Send(&api.WriteContentRequest{Action: api.WriteActionWrite, Offset: off, Data: chunk}); err != nil {
			return err
		}
		if _, err := w.Recv(); err != nil {
			return err
		}
		l.with(func() { s.acked = end })
	}
	return nil
}

func (l *ledger) deleteOne(ctx context.Context, c api.ContentClient, rng *rand.Rand) error {
	var d digest.Digest
	l.with(func() {
		for dg, f := range l.blobs {
			if f.must {
				d = dg
				f.must = false
				break
			}
		}
	})
	if d == "" {
		return nil
	}
	if _, err := c.Delete(ctx, &api.DeleteContentRequest{Digest: d}); err != nil {
		return err
	}
	l.with(func() { l.blobs[d].gone = true })
	return nil
}

// verify holds the restarted daemon against the ledger.
func (l *ledger) verify(t *testing.T, d *daemon) {
	t.Helper()
	c := d.client(t)
	listed := mustList(t, c)
	for dg, info := range listed {
		f := l.blobs[dg]
		if f == nil {
			t.Fatalf("%s of %d bytes is listed, and nobody ever committed it", dg, info.Size_)
		}
		if f.gone {
			t.Fatalf("%s is listed, though its delete was acknowledged", dg)
		}
		if got := mustGet(t, c, dg); sum(got) != dg || int64(len(got)) != info.Size_ {
			t.Fatalf("%s is listed with %d bytes and reads back as %d bytes of %s", dg, info.Size_, len(got), sum(got))
		}
	}
	for dg, f := range l.blobs {
		if !f.must {
			continue
		}
		if _, ok := listed[dg]; !ok {
			t.Fatalf("%s of %d bytes was acknowledged and is not listed", dg, f.size)
		}
		sameLabels(t, listed[dg].Labels, f.labels)
	}
	l.verifyIngests(t, d, c)
	// Over a bucket, what a crash left without a row stays until somebody asks for it.
	if n := blobFiles(t, d.root); n != len(listed) && !(remote() && n > len(listed)) {
		eventually(t, 5*time.Second, "one file for each blob", func() (bool, string) {
			files, blobs := blobFiles(t, d.root), len(mustList(t, c))
			return files == blobs, fmt.Sprintf("%d files, %d blobs", files, blobs)
		})
	}
	// From now on the store is what it says. A blob whose commit was not acknowledged may have lost its
	// labels: it was found on disk.
	listed = mustList(t, c)
	for dg, f := range l.blobs {
		f.labels = listed[dg].Labels
		_, f.must = listed[dg]
		f.gone = !f.must
	}
}

func (l *ledger) verifyIngests(t *testing.T, d *daemon, c api.ContentClient) {
	t.Helper()
	found := mustStatuses(t, c)
	for ref, st := range found {
		s := l.refs[ref]
		if s == nil {
			t.Fatalf("%q is listed with %d bytes, and nobody left it", ref, st.Offset)
		}
		if st.Offset > s.sent {
			t.Fatalf("%q has %d bytes, only %d were ever sent", ref, st.Offset, s.sent)
		}
	}
	eventually(t, 5*time.Second, "ingest/ holds only what is listed", func() (bool, string) {
		n := ingestFiles(t, d.root)
		return n <= len(found), fmt.Sprintf("%d files, %d statuses", n, len(found))
	})
	for ref := range found {
		s := l.refs[ref]
		data := noise(s.seed, s.total)
		w := open(t, c, ref)
		r := w.stat()
		if r.Offset > s.sent || r.Digest != sum(data[:r.Offset]) {
			t.Fatalf("%q resumes at %d (sent: %d, acknowledged: %d) with a digest that is not that of the bytes sent",
				ref, r.Offset, s.sent, s.acked)
		}
		if len(found)%2 == 0 { // every other round all are finished, else dropped
			m := &api.WriteContentRequest{
				Action: api.WriteActionCommit, Offset: r.Offset, Data: data[r.Offset:], Total: int64(s.total), Expected: sum(data),
			}
			if _, err := w.send(m); err != nil {
				wantCode(t, err, codes.AlreadyExists)
			}
			if !bytes.Equal(mustGet(t, c, sum(data)), data) {
				t.Fatalf("%q, resumed and committed, has other bytes", ref)
			}
			l.blobs[sum(data)] = &fact{seed: s.seed, size: s.total}
		} else {
			w.park()
			_, err := c.Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
			noErr(t, err)
		}
	}
	l.refs = map[string]*sent{}
	if n := len(mustStatuses(t, c)); n != 0 {
		t.Fatalf("%d statuses are left", n)
	}
}

// crashRounds is how often a crash test goes round.
func crashRounds(t *testing.T, rounds int) int {
	t.Helper()
	if s := os.Getenv("STOWAGE_CRASH_ROUNDS"); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		noErr(t, err)
	}
	return rounds
}

// crashSeed is another one each time, and told.
func crashSeed(t *testing.T) *rand.Rand {
	t.Helper()
	seed := time.Now().UnixNano()
	if s := os.Getenv("STOWAGE_CRASH_SEED"); s != "" {
		seed, _ = strconv.ParseInt(s, 10, 64)
	}
	t.Logf("STOWAGE_CRASH_SEED=%d", seed)
	return rand.New(rand.NewSource(seed))
}

func TestKill9(t *testing.T) {
	t.Parallel()
	rounds, rng := crashRounds(t, 60), crashSeed(t)
	d := start(t)
	l := &ledger{blobs: map[digest.Digest]*fact{}, refs: map[string]*sent{}}
	for round := 0; round < rounds; round++ {
		var wg sync.WaitGroup
		for w := 0; w < 6; w++ {
			wg.Add(1)
			go func(id string, seed int64) {
				defer wg.Done()
				l.worker(d, id, seed)
			}(fmt.Sprintf("r%d/w%d", round, w), rng.Int63())
		}
		time.Sleep(slow(time.Duration(5+rng.Intn(195)) * time.Millisecond))
		d.kill()
		wg.Wait()
		d.again(t)
		if rng.Intn(8) == 0 { // once more, in the middle of whatever it does at its start
			time.Sleep(time.Duration(rng.Intn(20)) * time.Millisecond)
			d.restart(t, true)
		}
		l.verify(t, d)
		if len(l.blobs) > 400 { // keeps a round's check short
			c := d.client(t)
			for dg, f := range l.blobs {
				if f.must {
					_, err := c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
					noErr(t, err)
				}
			}
			l.blobs = map[digest.Digest]*fact{}
		}
	}
}

// stock fills root with blobs and one parked ingest, and leaves it without a daemon.
func stock(t *testing.T, root string) map[digest.Digest][]byte {
	t.Helper()
	d := startOn(t, root)
	c := d.client(t)
	blobs := map[digest.Digest][]byte{}
	for i := 0; i < 300; i++ {
		b := noise(int64(i), i*37)
		blobs[mustPutLabels(t, c, b, map[string]string{"n": fmt.Sprint(i)})] = b
	}
	w := open(t, c, "parked")
	w.write(noise(1, 100000), 0)
	w.park()
	noErr(t, d.stop())
	return blobs
}

// TestLostIndex: the bytes are the truth. Whatever becomes of the index, every blob is served at once and
// listed again soon, and the store works on.
func TestLostIndex(t *testing.T) {
	localOnly(t, "nothing is searched there at the start")
	index := func(root string) string { return filepath.Join(root, "meta.mdb") }
	size := func(t *testing.T, path string) int64 {
		t.Helper()
		fi, err := os.Stat(path)
		noErr(t, err)
		return fi.Size()
	}
	overwrite := func(t *testing.T, path string, off int64, b []byte) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		noErr(t, err)
		defer f.Close()
		_, err = f.WriteAt(b, off)
		noErr(t, err)
	}
	cases := map[string]func(t *testing.T, root string){
		"deleted": func(t *testing.T, root string) { noErr(t, os.Remove(index(root))) },
		"deleted with its lock": func(t *testing.T, root string) {
			noErr(t, os.Remove(index(root)))
			os.Remove(index(root) + "-lock")
		},
		"empty":             func(t *testing.T, root string) { noErr(t, os.Truncate(index(root), 0)) },
		"cut to 100 bytes":  func(t *testing.T, root string) { noErr(t, os.Truncate(index(root), 100)) },
		"cut to one page":   func(t *testing.T, root string) { noErr(t, os.Truncate(index(root), 4096)) },
		"cut to three":      func(t *testing.T, root string) { noErr(t, os.Truncate(index(root), 3*4096)) },
		"cut in half":       func(t *testing.T, root string) { noErr(t, os.Truncate(index(root), size(t, index(root))/2)) },
		"last page cut off": func(t *testing.T, root string) { noErr(t, os.Truncate(index(root), size(t, index(root))-4096)) },
		"header zeroed":     func(t *testing.T, root string) { overwrite(t, index(root), 0, make([]byte, 2*4096)) },
		"header garbage":    func(t *testing.T, root string) { overwrite(t, index(root), 0, noise(1, 2*4096)) },
		"no index at all": func(t *testing.T, root string) {
			noErr(t, os.Truncate(index(root), 0))
			overwrite(t, index(root), 0, noise(2, 50000))
		},
		"all zero": func(t *testing.T, root string) { overwrite(t, index(root), 0, make([]byte, size(t, index(root)))) },
		"zeroes in the middle": func(t *testing.T, root string) {
			n := size(t, index(root))
			overwrite(t, index(root), n/2, make([]byte, n/2))
		},
		"lock garbage": func(t *testing.T, root string) {
			noErr(t, os.WriteFile(index(root)+"-lock", noise(3, 8192), 0o600))
		},
	}
	for i := int64(0); i < 12; i++ {
		i := i
		cases[fmt.Sprint("garbage in the middle ", i)] = func(t *testing.T, root string) {
			rng := rand.New(rand.NewSource(i))
			pages := size(t, index(root)) / 4096
			for n := rng.Int63n(4); n >= 0; n-- {
				overwrite(t, index(root), (2+rng.Int63n(pages-2))*4096+rng.Int63n(2048), noise(rng.Int63(), 1+rng.Intn(2048)))
			}
		}
	}
	model := filepath.Join(t.TempDir(), "model")
	blobs := stock(t, model)
	for name, ruin := range cases {
		ruin := ruin
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(t.TempDir(), "root")
			if out, err := exec.Command("cp", "-a", "--sparse=always", model, root).CombinedOutput(); err != nil {
				t.Fatalf("cp: %v: %s", err, out)
			}
			ruin(t, root)
			d := startOn(t, root)
			allThere(t, d, blobs)
			d.restart(t, false)
			allThere(t, d, blobs)
			d.restart(t, true)
			allThere(t, d, blobs)
		})
	}
}

func allThere(t *testing.T, d *daemon, blobs map[digest.Digest][]byte) {
	t.Helper()
	c := d.client(t)
	for dg, b := range blobs {
		i, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: dg})
		if err != nil || i.Info.Size_ != int64(len(b)) {
			t.Fatalf("Info of %s (%d bytes): %v", dg, len(b), err)
		}
		if !bytes.Equal(mustGet(t, c, dg), b) {
			t.Fatalf("%s has other bytes", dg)
		}
	}
	eventually(t, 10*time.Second, "all blobs are listed", func() (bool, string) {
		l := mustList(t, c)
		for dg, b := range blobs {
			if l[dg].Size_ != int64(len(b)) || l[dg].Digest != dg {
				return false, fmt.Sprintf("%d are, %s is not", len(l), dg)
			}
		}
		return len(l) == len(blobs), fmt.Sprintf("%d are listed, there are %d", len(l), len(blobs))
	})
	for dg := range blobs {
		_, err := openStream(t, c).send(&api.WriteContentRequest{Ref: "exists?", Expected: dg})
		wantCode(t, err, codes.AlreadyExists)
		break
	}
	// And it works on.
	b := noise(time.Now().UnixNano(), 5000)
	dg := mustPutLabels(t, c, b, map[string]string{"after": "ruin"})
	if i, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: dg}); err != nil || i.Info.Labels["after"] != "ruin" {
		t.Fatalf("%v, %v", i, err)
	}
	_, err := c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
	noErr(t, err)
}

// What lies below root and is no blob must neither be served nor stand in the way.
func TestStrangersOnDisk(t *testing.T) {
	localOnly(t, "there are no blobs on the disk")
	d := start(t)
	c := d.client(t)
	dg := mustPut(t, c, []byte("mine"))
	noErr(t, d.stop())
	for _, name := range []string{
		"blobs/sha256/README", "blobs/sha256/abc", "blobs/sha256/.hidden", "blobs/md5/" + absent.Hex(), "blobs/file", "ingest/stranger",
	} {
		noErr(t, os.MkdirAll(filepath.Dir(filepath.Join(d.root, name)), 0o755))
		noErr(t, os.WriteFile(filepath.Join(d.root, name), []byte("?"), 0o644))
	}
	noErr(t, os.MkdirAll(filepath.Join(d.root, "blobs/sha256", sum([]byte("dir")).Hex()), 0o755))
	noErr(t, os.MkdirAll(filepath.Join(d.root, "ingest/0123456789abcdef"), 0o755))
	d.again(t)
	c = d.client(t)
	time.Sleep(200 * time.Millisecond)
	if l := mustList(t, c); len(l) != 1 {
		t.Fatalf("%v", l)
	}
	if s := mustStatuses(t, c); len(s) != 0 {
		t.Fatalf("%v", s)
	}
	if string(mustGet(t, c, dg)) != "mine" {
		t.Fatal("other bytes")
	}
	if _, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: sum([]byte("dir"))}); err == nil {
		t.Fatal("a directory counts as a blob")
	}
}

// A blob put there by hand (an import, a backup that was restored) is found.
func TestBlobsFoundOnDisk(t *testing.T) {
	localOnly(t, "there are no blobs on the disk")
	d := start(t)
	mustPut(t, d.client(t), []byte("first"))
	noErr(t, d.stop())
	data := noise(60, 70000)
	noErr(t, os.WriteFile(blobPath(d.root, "sha256", sum(data).Hex()), data, 0o444))
	d.again(t)
	c := d.client(t)
	if !bytes.Equal(mustGet(t, c, sum(data)), data) {
		t.Fatal("other bytes")
	}
	eventually(t, 10*time.Second, "it is listed", func() (bool, string) {
		l := mustList(t, c)
		return len(l) == 2 && l[sum(data)].Size_ == 70000, fmt.Sprint(l)
	})
}

// A blob whose file somebody took away is no longer there: containerd fetches it again.
func TestBlobsLostOnDisk(t *testing.T) {
	localOnly(t, "there are no blobs on the disk")
	d := start(t)
	c := d.client(t)
	data := noise(61, 70000)
	dg := mustPut(t, c, data)
	noErr(t, d.stop())
	noErr(t, os.Remove(blobPath(d.root, "sha256", dg.Hex())))
	d.again(t)
	c = d.client(t)
	_, err := get(ctxFor(t), c, dg, 0, 0)
	wantCode(t, err, codes.NotFound)
	eventually(t, 10*time.Second, "Info and List agree", func() (bool, string) {
		_, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: dg})
		return status.Code(err) == codes.NotFound && len(mustList(t, c)) == 0, fmt.Sprint(err)
	})
	mustPut(t, c, data)
	if !bytes.Equal(mustGet(t, c, dg), data) {
		t.Fatal("other bytes")
	}
}
