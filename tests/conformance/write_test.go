package conformance

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// pullRef is the ref that containerd's metadata layer opens when it pulls.
func pullRef(seq int, d digest.Digest) string { return fmt.Sprintf("default/%d/layer-%s", seq, d) }

// Every answer's offset counts, and its digest, where there is one, is that of all bytes so far. Where the
// stream has not declared what it writes there must be one: the differ asks its writer without a STAT.
func TestWriteAnswers(t *testing.T) {
	c := start(t).client(t)
	data := noise(20, 5<<20+123)
	d := sum(data)
	for name, first := range map[string]*api.WriteContentRequest{
		"undeclared":  {Ref: "buildkit/1/export"},
		"total":       {Ref: "default/1/some", Total: int64(len(data))},
		"expected":    {Ref: "default/2/other", Expected: d},
		"pull":        {Ref: pullRef(3, d), Total: int64(len(data))},
		"pull no tot": {Ref: pullRef(4, d)},
		"wrong guess": {Ref: pullRef(5, absent), Total: int64(len(data))},
		"sha512 ref":  {Ref: pullRef(6, digest.SHA512.FromBytes(data))},
	} {
		t.Run(name, func(t *testing.T) {
			w := openStream(t, c)
			before := time.Now()
			r := w.must(first)
			if r.Offset != 0 || r.Total != first.Total || r.Digest != sum(nil) {
				t.Fatalf("the opening's answer is %+v", r)
			}
			if r.StartedAt.Before(before) || r.StartedAt.After(time.Now()) || r.UpdatedAt.Before(r.StartedAt) {
				t.Fatalf("started %v, updated %v", r.StartedAt, r.UpdatedAt)
			}
			started := r.StartedAt
			step := 700001
			for off := 0; off < len(data); off += step {
				end := off + step
				if end > len(data) {
					end = len(data)
				}
				r := w.write(data[off:end], int64(off))
				if r.Offset != int64(end) {
					t.Fatalf("wrote to %d, the answer says %d", end, r.Offset)
				}
				if r.Digest != "" && r.Digest != sum(data[:end]) || r.Digest == "" && name == "undeclared" {
					t.Fatalf("at %d the digest is %q, want %s", end, r.Digest, sum(data[:end]))
				}
				if off == step {
					st := w.stat()
					if st.Offset != int64(end) || st.Digest != sum(data[:end]) || st.Total != first.Total ||
						!st.StartedAt.Equal(started) || st.UpdatedAt.Before(started) {
						t.Fatalf("STAT at %d says %+v", end, st)
					}
					// A WRITE without data answers as STAT does.
					e := w.must(&api.WriteContentRequest{Action: api.WriteActionWrite, Offset: int64(end)})
					if e.Offset != st.Offset || e.Digest != st.Digest {
						t.Fatalf("an empty WRITE says %+v, STAT %+v", e, st)
					}
					u, err := c.Status(ctxFor(t), &api.StatusRequest{Ref: first.Ref})
					noErr(t, err)
					if s := u.Status; s.Ref != first.Ref || s.Offset != int64(end) || s.Total != first.Total ||
						s.Expected != first.Expected || !s.StartedAt.Equal(started) {
						t.Fatalf("Status says %+v", s)
					}
				}
			}
			r = w.must(&api.WriteContentRequest{
				Action: api.WriteActionCommit, Offset: int64(len(data)), Total: int64(len(data)), Expected: d,
			})
			if r.Offset != int64(len(data)) || r.Total != int64(len(data)) || r.Digest != d ||
				!r.StartedAt.Equal(started) || r.UpdatedAt.Before(started) {
				t.Fatalf("COMMIT's answer is %+v", r)
			}
			w.ended()
			if !bytes.Equal(mustGet(t, c, d), data) {
				t.Fatal("the blob has other bytes")
			}
			_, err := c.Status(ctxFor(t), &api.StatusRequest{Ref: first.Ref})
			wantCode(t, err, codes.NotFound)
			_, err = c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: d})
			noErr(t, err)
		})
	}
}

func TestZeroLengthBlob(t *testing.T) {
	d := start(t)
	c := d.client(t)
	for i, m := range []*api.WriteContentRequest{
		{Action: api.WriteActionCommit, Ref: "nothing"},
		{Action: api.WriteActionCommit, Ref: "nothing", Expected: sum(nil)},
	} {
		w := openStream(t, c)
		r := w.must(m)
		if r.Digest != sum(nil) || r.Offset != 0 {
			t.Fatalf("%d: %+v", i, r)
		}
		w.ended()
		if len(mustGet(t, c, sum(nil))) != 0 || mustList(t, c)[sum(nil)].Size_ != 0 {
			t.Fatal("nothing has bytes")
		}
		_, err := c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: sum(nil)})
		noErr(t, err)
	}
	mustPut(t, c, nil)
	d.restart(t, true)
	if len(mustGet(t, d.client(t), sum(nil))) != 0 {
		t.Fatal("nothing has bytes")
	}
}

// COMMIT as the only message, with everything in it; as `content.WriteBlob` never does and others do.
func TestCommitCarriesAll(t *testing.T) {
	c := start(t).client(t)
	data := noise(21, 100000)
	w := openStream(t, c)
	r := w.must(&api.WriteContentRequest{
		Action: api.WriteActionCommit, Ref: "all at once", Data: data, Total: int64(len(data)), Expected: sum(data),
		Labels: map[string]string{"l": "1"},
	})
	if r.Digest != sum(data) || r.Offset != int64(len(data)) {
		t.Fatalf("%+v", r)
	}
	w.ended()
	i, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: sum(data)})
	noErr(t, err)
	sameLabels(t, i.Info.Labels, map[string]string{"l": "1"})
	t.Run("appended", func(t *testing.T) {
		w := open(t, c, "tail")
		w.write([]byte("head "), 0)
		r := w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: 5, Data: []byte("tail")})
		if r.Digest != sum([]byte("head tail")) || r.Offset != 9 {
			t.Fatalf("%+v", r)
		}
	})
}

func TestOtherAlgorithms(t *testing.T) {
	d := start(t)
	c := d.client(t)
	for i, alg := range []digest.Algorithm{digest.SHA384, digest.SHA512} {
		t.Run(alg.String(), func(t *testing.T) {
			data := noise(int64(30+i), 1<<20+7)
			want := alg.FromBytes(data)
			w := open(t, c, pullRef(1, want))
			w.write(data, 0)
			if r := w.stat(); r.Digest != sum(data) {
				t.Fatalf("the running digest is %s, want %s", r.Digest, sum(data))
			}
			r := w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: int64(len(data)), Expected: want})
			if r.Digest != want || r.Offset != int64(len(data)) {
				t.Fatalf("COMMIT's answer is %+v", r)
			}
			w.ended()
			check := func() {
				t.Helper()
				if !bytes.Equal(mustGet(t, c, want), data) {
					t.Fatal("other bytes")
				}
				l := mustList(t, c)
				if len(l) != 1 || l[want].Size_ != int64(len(data)) {
					t.Fatalf("listed: %+v", l)
				}
			}
			check()
			d.restart(t, true)
			c = d.client(t)
			check()
			_, err := openStream(t, c).send(&api.WriteContentRequest{Ref: "again", Expected: want})
			wantCode(t, err, codes.AlreadyExists)
			_, err = c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: want})
			noErr(t, err)
		})
	}
}

func TestTotalChanges(t *testing.T) {
	c := start(t).client(t)
	parked := func(ref string, total int64) {
		t.Helper()
		w := openStream(t, c)
		w.must(&api.WriteContentRequest{Ref: ref, Total: total})
		w.write([]byte("0123456789"), 0)
		w.park()
	}
	reopen := func(ref string, total int64) *api.WriteContentResponse {
		t.Helper()
		w := openStream(t, c)
		r := w.must(&api.WriteContentRequest{Ref: ref, Total: total})
		st := w.stat()
		if st.Offset != r.Offset || st.Digest != sum([]byte("0123456789")[:r.Offset]) {
			t.Fatalf("opening says %+v, STAT %+v", r, st)
		}
		w.park()
		return st
	}
	parked("same", 100)
	if r := reopen("same", 100); r.Offset != 10 || r.Total != 100 {
		t.Fatalf("the same total: %+v", r)
	}
	if r := reopen("same", 0); r.Offset != 10 {
		t.Fatalf("no total: %+v", r)
	}
	if r := reopen("same", 200); r.Offset != 0 || r.Total != 200 {
		t.Fatalf("another total: %+v, want a restart from 0", r)
	}
	parked("none", 0)
	if r := reopen("none", 100); r.Offset != 10 || r.Total != 100 {
		t.Fatalf("a first total: %+v", r)
	}
}

func TestOffsetZeroTruncates(t *testing.T) {
	c := start(t).client(t)
	for i, ref := range []string{"trunc", pullRef(1, absent)} {
		w := open(t, c, ref)
		w.write(noise(23, 3<<20), 0)
		if r := w.write([]byte("again "), 0); r.Offset != 6 {
			t.Fatalf("offset is %d after a WRITE at 0 of 6 bytes", r.Offset)
		}
		if r := w.stat(); r.Offset != 6 || r.Digest != sum([]byte("again ")) {
			t.Fatalf("%+v", r)
		}
		text := fmt.Sprint("and on ", i)
		w.write([]byte(text), 6)
		r := w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: int64(6 + len(text))})
		if got := mustGet(t, c, r.Digest); string(got) != "again "+text {
			t.Fatalf("%q", got)
		}
	}
	t.Run("commit at 0", func(t *testing.T) {
		w := open(t, c, "trunc-commit")
		w.write([]byte("dropped"), 0)
		r := w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Data: []byte("kept")})
		if r.Offset != 4 || r.Digest != sum([]byte("kept")) {
			t.Fatalf("%+v", r)
		}
	})
}

// However a stream ends without COMMIT, the bytes stay and the lock goes.
func TestParking(t *testing.T) {
	d := start(t)
	data := noise(24, 2<<20+5)
	ends := map[string]func(t *testing.T, w *writer, hangUp func()){
		"half-close": func(t *testing.T, w *writer, _ func()) { w.park() },
		"cancel":     func(t *testing.T, w *writer, _ func()) { w.cancel() },
		"hang up":    func(t *testing.T, w *writer, hangUp func()) { hangUp() },
	}
	for name, end := range ends {
		for _, ref := range []string{"park " + name, pullRef(len(name), sum(data))} {
			t.Run(name+"/"+ref[:4], func(t *testing.T) {
				conn := d.conn(t)
				w := open(t, api.NewContentClient(conn), ref)
				w.write(data[:1<<20], 0)
				w.write(data[1<<20:2<<20], 1<<20)
				started := w.stat().StartedAt
				w.write(data[2<<20:], 2<<20)
				end(t, w, func() { conn.Close() })

				c := d.client(t)
				var r *api.WriteContentResponse
				eventually(t, 5*time.Second, "reopening", func() (bool, string) {
					w = openStream(t, c)
					var err error
					r, err = w.send(&api.WriteContentRequest{Ref: ref})
					if err != nil && status.Code(err) != codes.Unavailable {
						t.Fatal(err)
					}
					return err == nil, fmt.Sprint(err)
				})
				if r.Offset != int64(len(data)) || r.Digest != sum(data) || !r.StartedAt.Equal(started) {
					t.Fatalf("parked %d bytes, found %+v", len(data), r)
				}
				s := mustStatuses(t, c)[ref]
				if s.Offset != r.Offset || !s.StartedAt.Equal(started) || s.UpdatedAt.Before(started) {
					t.Fatalf("listed as %+v", s)
				}
				_, err := c.Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
				noErr(t, err)
			})
		}
	}
	if n := len(mustStatuses(t, d.client(t))); n != 0 {
		t.Fatalf("%d statuses are left", n)
	}
	eventually(t, 5*time.Second, "ingest/ is empty", func() (bool, string) {
		n := ingestFiles(t, d.root)
		return n == 0, fmt.Sprint(n, " files are left")
	})
}

func TestParkedSurvivesRestart(t *testing.T) {
	for _, hard := range []bool{false, true} {
		t.Run(map[bool]string{false: "SIGTERM", true: "kill -9"}[hard], func(t *testing.T) {
			d := start(t)
			c := d.client(t)
			data := noise(25, 40<<20)
			ref := pullRef(1, sum(data))
			w := openStream(t, c)
			w.must(&api.WriteContentRequest{Ref: ref, Total: int64(len(data))})
			for off := 0; off < 39<<20; off += 1 << 20 {
				w.write(data[off:off+1<<20], int64(off))
			}
			started := w.stat().StartedAt
			w.park()
			d.restart(t, hard)
			c = d.client(t)
			s := mustStatuses(t, c)[ref]
			if s.Total != int64(len(data)) || !s.StartedAt.Equal(started) || s.Offset > 39<<20 {
				t.Fatalf("found %+v", s)
			}
			w = openStream(t, c)
			r := w.must(&api.WriteContentRequest{Ref: ref, Total: int64(len(data))})
			if r.Offset > 39<<20 || r.Digest != sum(data[:r.Offset]) {
				t.Fatalf("resumed at %d with %s", r.Offset, r.Digest)
			}
			// What was parked properly is there to the last byte.
			if r.Offset != 39<<20 {
				t.Fatalf("parked at %d, resumed at %d", 39<<20, r.Offset)
			}
			w.write(data[39<<20:], 39<<20)
			w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: 40 << 20, Expected: sum(data)})
			if !bytes.Equal(mustGet(t, c, sum(data)), data) {
				t.Fatal("other bytes")
			}
		})
	}
}

func TestRefs(t *testing.T) {
	d := start(t)
	c := d.client(t)
	refs := []string{
		"a", ".", "..", "/", "../../../../etc/passwd", "default/1/layer-sha256:zz", "with space", "tab\tand\nnewline",
		"ünïcödé/☃/🐳", "colon:colon:", "%2f%00", "-rf", "~", "*", strings.Repeat("r", 300), strings.Repeat("r", 255),
		strings.Repeat("ü", 2048), strings.Repeat("x/", 2048), "CASE", "case", "trailing/", "trailing", "quote\"'`$(x)",
	}
	for i, ref := range refs {
		w := open(t, c, ref)
		w.write([]byte(fmt.Sprint("ref", i)), 0)
		w.park()
	}
	check := func() {
		t.Helper()
		l := mustStatuses(t, c)
		if len(l) != len(refs) {
			t.Fatalf("%d statuses, want %d", len(l), len(refs))
		}
		for i, ref := range refs {
			if l[ref].Offset != int64(len(fmt.Sprint("ref", i))) {
				t.Fatalf("%.60q: %+v", ref, l[ref])
			}
			r, err := c.Status(ctxFor(t), &api.StatusRequest{Ref: ref})
			noErr(t, err)
			if r.Status.Ref != ref {
				t.Fatalf("Status of %.60q speaks of %.60q", ref, r.Status.Ref)
			}
		}
	}
	check()
	d.restart(t, true)
	c = d.client(t)
	check()
	for i, ref := range refs {
		w := open(t, c, ref)
		if r := w.stat(); r.Digest != sum([]byte(fmt.Sprint("ref", i))) {
			t.Fatalf("%.60q has other bytes", ref)
		}
		w.park()
		_, err := c.Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
		noErr(t, err)
	}
	if n := len(mustStatuses(t, c)); n != 0 {
		t.Fatalf("%d statuses are left", n)
	}
}

func TestAbortOfOpenRef(t *testing.T) {
	d := start(t)
	c := d.client(t)
	for _, next := range []*api.WriteContentRequest{
		{Action: api.WriteActionWrite, Offset: 4, Data: []byte("more")},
		{Action: api.WriteActionStat},
		{Action: api.WriteActionCommit, Offset: 4},
	} {
		t.Run(next.Action.String(), func(t *testing.T) {
			ref := "abort " + next.Action.String()
			w := open(t, c, ref)
			w.write([]byte("some"), 0)
			_, err := c.Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
			noErr(t, err)
			_, err = c.Status(ctxFor(t), &api.StatusRequest{Ref: ref})
			wantCode(t, err, codes.NotFound)
			if r, err := w.send(next); err == nil {
				t.Fatalf("the aborted stream goes on: %+v", r)
			}
			eventually(t, 5*time.Second, "reopening", func() (bool, string) {
				w = openStream(t, c)
				r, err := w.send(&api.WriteContentRequest{Ref: ref})
				if err == nil && r.Offset != 0 {
					t.Fatalf("the aborted ref has %d bytes", r.Offset)
				}
				return err == nil, fmt.Sprint(err)
			})
			w.park()
		})
	}
	_, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: sum([]byte("some"))})
	wantCode(t, err, codes.NotFound)
}

func TestLargeMessages(t *testing.T) {
	d := start(t)
	c := d.client(t)
	for _, n := range []int{4<<20 + 1, 16 << 20, 60 << 20} {
		data := noise(int64(n), n)
		w := open(t, c, fmt.Sprint("message of ", n))
		r := w.write(data, 0)
		if r.Offset != int64(n) {
			t.Fatalf("%d of %d bytes", r.Offset, n)
		}
		r = w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: int64(n), Total: int64(n)})
		if r.Digest != sum(data) {
			t.Fatalf("%d bytes give %s", n, r.Digest)
		}
	}
	// Over the cap of 64 MiB: that call is refused, the connection and the ref live on.
	w := open(t, c, "too large")
	w.write([]byte("before"), 0)
	_, err := w.send(&api.WriteContentRequest{Action: api.WriteActionWrite, Offset: 6, Data: make([]byte, 64<<20+1)})
	wantCode(t, err, codes.ResourceExhausted)
	eventually(t, 5*time.Second, "reopening", func() (bool, string) {
		w = openStream(t, c)
		r, err := w.send(&api.WriteContentRequest{Ref: "too large"})
		if err == nil && (r.Offset != 6 || r.Digest != sum([]byte("before"))) {
			t.Fatalf("parked %+v", r)
		}
		return err == nil, fmt.Sprint(err)
	})
}

// Eight clients commit the same bytes at the same instant: one is told OK, the others ALREADY_EXISTS.
func TestCommitRace(t *testing.T) {
	d := start(t)
	clients := make([]api.ContentClient, 8)
	for i := range clients {
		clients[i] = d.client(t)
	}
	for round := 0; round < 20; round++ {
		data := noise(int64(1000+round), 200000+round)
		ready, wg := make(chan struct{}), sync.WaitGroup{}
		errs := make([]error, len(clients))
		for i, c := range clients {
			w := open(t, c, fmt.Sprintf("race-%d-%d", round, i))
			w.write(data, 0)
			wg.Add(1)
			go func(i int) {
				defer wg.Done()
				<-ready
				_, errs[i] = w.send(&api.WriteContentRequest{
					Action: api.WriteActionCommit, Offset: int64(len(data)), Expected: sum(data),
				})
			}(i)
		}
		close(ready)
		wg.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				wantCode(t, err, codes.AlreadyExists)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d commits were told OK", round, won)
		}
		if !bytes.Equal(mustGet(t, clients[0], sum(data)), data) {
			t.Fatal("other bytes")
		}
	}
	eventually(t, 5*time.Second, "no ingest is left", func() (bool, string) {
		return len(mustStatuses(t, clients[0])) == 0 && ingestFiles(t, d.root) == 0, "some are"
	})
}

// Commits and deletes of one digest, crosswise: whatever the order, nothing half-made is ever seen.
func TestCommitDeleteRace(t *testing.T) {
	d := start(t)
	data := noise(26, 300000)
	dg := sum(data)
	stop := time.Now().Add(slow(2 * time.Second))
	var wg sync.WaitGroup
	for i := 0; i < 3; i++ {
		wg.Add(3)
		c := d.client(t)
		go func(i int) {
			defer wg.Done()
			for n := 0; time.Now().Before(stop); n++ {
				_, err := put(ctxFor(t), c, fmt.Sprintf("cd-%d-%d", i, n), data, nil)
				if err != nil && status.Code(err) != codes.AlreadyExists {
					t.Errorf("commit: %v", err)
					return
				}
			}
		}(i)
		go func() {
			defer wg.Done()
			for time.Now().Before(stop) {
				_, err := c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
				if err != nil && status.Code(err) != codes.NotFound {
					t.Errorf("delete: %v", err)
					return
				}
			}
		}()
		go func() {
			defer wg.Done()
			for time.Now().Before(stop) {
				got, err := get(ctxFor(t), c, dg, 0, 0)
				if err != nil && status.Code(err) != codes.NotFound || err == nil && sum(got) != dg {
					t.Errorf("read: %v, %d bytes", err, len(got))
					return
				}
			}
		}()
	}
	wg.Wait()
	c := d.client(t)
	if _, err := put(ctxFor(t), c, "last", data, nil); err != nil {
		wantCode(t, err, codes.AlreadyExists)
	}
	if !bytes.Equal(mustGet(t, c, dg), data) || len(mustList(t, c)) != 1 || blobFiles(t, d.root) != 1 {
		t.Fatal("the store is not what it says")
	}
}

// Streams that say nothing, or too little, end without harm.
func TestSilentStreams(t *testing.T) {
	d := start(t)
	c := d.client(t)
	w := openStream(t, c)
	noErr(t, w.stream.CloseSend())
	if _, err := w.stream.Recv(); err != io.EOF && status.Code(err) != codes.InvalidArgument {
		t.Fatalf("an empty stream ends with %v", err)
	}
	openStream(t, c).cancel()
	w = open(t, c, "opened and left")
	w.cancel()
	d.mustServe(t)
}

// A large blob in containerd's own manner, checked on disk as well: the layout is a promise.
func TestBlobOnDisk(t *testing.T) {
	d := start(t)
	c := d.client(t)
	h := sha256.New()
	w := open(t, c, "big")
	var off int64
	for i := 0; i < 80; i++ {
		chunk := noise(int64(i), 1<<20)
		h.Write(chunk)
		off = w.write(chunk, off).Offset
	}
	r := w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: off})
	want := digest.NewDigest(digest.SHA256, h)
	if r.Digest != want || off != 80<<20 {
		t.Fatalf("committed %s of %d bytes, want %s", r.Digest, off, want)
	}
	if remote() {
		if got := sum(mustGet(t, c, want)); got != want {
			t.Fatalf("the object's bytes are %s, want %s", got, want)
		}
		return
	}
	onDisk := fileDigest(t, blobPath(d.root, "sha256", want.Hex()))
	if onDisk != want {
		t.Fatalf("the file's bytes are %s, want %s", onDisk, want)
	}
}
