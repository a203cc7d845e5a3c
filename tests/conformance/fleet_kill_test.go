package conformance

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fleetBlob is one blob of the kill loop, and what is known of it on each node.
type fleetBlob struct {
	seed int64
	size int
	// Acknowledged, as a COMMIT or as an Info that found it; a Delete that may have happened ends it.
	here [2]bool
	// Held while it is adopted, or deleted, on a node: of the two at once nobody could tell which came first.
	turn [2]sync.Mutex
}

func (f *fleetBlob) data() []byte { return noise(f.seed, f.size) }

// fleetLedger is what the clients know.
type fleetLedger struct {
	mu    sync.Mutex
	blobs map[digest.Digest]*fleetBlob
}

// some is a blob that a node has.
func (l *fleetLedger) some(rng *rand.Rand, node int) (digest.Digest, *fleetBlob) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for dg, f := range l.blobs { // in an order of Go's own choice
		if f.here[node] && rng.Intn(3) == 0 {
			return dg, f
		}
	}
	return "", nil
}

func (l *fleetLedger) set(f *fleetBlob, node int, here bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f.here[node] = here
}

// fleetSizes: mostly one request, else several parts.
var fleetSizes = []int{100, smallSize, smallSize, 900000, partSize - 7, 2*partSize + 1}

// client is one client's round on a node: it ends when the daemon does.
func (l *fleetLedger) client(d *daemon, node int, rng *rand.Rand) error {
	conn, err := d.dial()
	if err != nil {
		return nil
	}
	c := api.NewContentClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), slow(60*time.Second))
	defer cancel()
	for {
		var err error
		switch rng.Intn(8) {
		case 0, 1, 2:
			err = l.put(ctx, c, node, rng)
		case 3, 4, 5:
			err = l.adopt(ctx, c, node, rng)
		case 6:
			err = l.read(ctx, c, node, rng)
		case 7:
			err = l.remove(ctx, c, node, rng)
		}
		if err != nil {
			return err
		}
		select {
		case <-d.exited:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("node %d: its client has no end", node)
		default:
		}
	}
}

func (l *fleetLedger) put(ctx context.Context, c api.ContentClient, node int, rng *rand.Rand) error {
	f := &fleetBlob{seed: rng.Int63(), size: fleetSizes[rng.Intn(len(fleetSizes))]}
	data := f.data()
	ref := pullRef(rng.Intn(1000000), sum(data))
	if rng.Intn(4) == 0 { // its name is not known before the end
		ref = fmt.Sprint("unnamed-", rng.Int63())
	}
	if _, err := put(ctx, c, ref, data, nil); err != nil {
		return nil // the daemon has died
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f.here[node] = true
	l.blobs[sum(data)] = f
	return nil
}

// adopt asks for what the other node has, which may be in the bucket by now.
func (l *fleetLedger) adopt(ctx context.Context, c api.ContentClient, node int, rng *rand.Rand) error {
	dg, f := l.some(rng, 1-node)
	if f == nil {
		return nil
	}
	f.turn[node].Lock()
	r, err := c.Info(ctx, &api.InfoRequest{Digest: dg})
	if err == nil {
		l.set(f, node, true)
	}
	f.turn[node].Unlock()
	if err != nil {
		return nil
	}
	if r.Info.Size_ != int64(f.size) {
		return fmt.Errorf("node %d says that %s has %d bytes, not %d", node, dg, r.Info.Size_, f.size)
	}
	return l.check(ctx, c, node, dg, f, rng)
}

func (l *fleetLedger) read(ctx context.Context, c api.ContentClient, node int, rng *rand.Rand) error {
	dg, f := l.some(rng, node)
	if f == nil {
		return nil
	}
	return l.check(ctx, c, node, dg, f, rng)
}

// check reads a piece, or all of it. What comes is right, or nothing comes.
func (l *fleetLedger) check(ctx context.Context, c api.ContentClient, node int, dg digest.Digest, f *fleetBlob,
	rng *rand.Rand) error {
	off, n, data := 0, f.size, f.data()
	if rng.Intn(2) == 0 {
		off = rng.Intn(f.size)
		n = 1 + rng.Intn(f.size-off)
	}
	got, err := get(ctx, c, dg, int64(off), int64(n))
	if !bytes.HasPrefix(data[off:off+n], got) || (err == nil && len(got) != n) {
		return fmt.Errorf("node %d: other bytes in %s at %d", node, dg, off)
	}
	if status.Code(err) == codes.DataLoss {
		return fmt.Errorf("node %d: %s: %w", node, dg, err)
	}
	return nil
}

func (l *fleetLedger) remove(ctx context.Context, c api.ContentClient, node int, rng *rand.Rand) error {
	dg, f := l.some(rng, node)
	if f == nil {
		return nil
	}
	f.turn[node].Lock()
	defer f.turn[node].Unlock()
	l.set(f, node, false) // whatever the answer will be
	c.Delete(ctx, &api.DeleteContentRequest{Digest: dg})
	return nil
}

// listed demands of a node that what it has acknowledged is listed.
func (l *fleetLedger) listed(t *testing.T, d *daemon, node int) {
	t.Helper()
	list := mustList(t, d.client(t))
	for dg, f := range l.blobs {
		if f.here[node] && list[dg].Size_ != int64(f.size) {
			t.Fatalf("node %d has acknowledged %s, and lists it as %v", node, dg, list[dg])
		}
	}
}

// readable demands that it is right, too.
func (l *fleetLedger) readable(t *testing.T, d *daemon, node int) {
	t.Helper()
	c := d.client(t)
	for dg, f := range l.blobs {
		if !f.here[node] {
			continue
		}
		// The circuit may be open still.
		eventually(t, 75*time.Second, "it can be read", func() (bool, string) {
			got, err := get(ctxFor(t), c, dg, 0, 0)
			if err == nil && !bytes.Equal(got, f.data()) {
				t.Fatalf("node %d has other bytes for %s", node, dg)
			}
			if err != nil && status.Code(err) != codes.Unavailable {
				t.Fatalf("node %d: %s: %v", node, dg, err)
			}
			return err == nil, fmt.Sprintf("node %d: %s: %v", node, dg, err)
		})
	}
}

// What goes wrong with the bucket in a round; mostly nothing.
var fleetTroubles = []string{
	`[]`, `[]`, `[]`,
	`{"method": "PUT", "target": "partNumber=", "delay_ms": 40}`,
	`{"method": "GET", "target": "/blobs/", "rate": 20000000}`,
	`{"method": "GET", "target": "/blobs/", "reset_response": 1000000, "skip": 1, "count": 3}`,
	`{"method": "PUT", "reset_request": 100000, "count": 4}`,
	`{"method": "POST", "count": 2, "status": 500, "forward": true}`,
	`{"count": 30, "status": 503}`,
}

// Both nodes are killed, again and again, while they write, upload, adopt, fetch and delete.
func TestFleetKill9(t *testing.T) {
	t.Parallel()
	rng := crashSeed(t)
	b := newBucket(t)
	var d [2]*daemon
	for i := range d {
		d[i] = b.node(t, "STOWAGE_REMOTE_S3_MAX_ATTEMPTS=2")
	}
	l := &fleetLedger{blobs: map[digest.Digest]*fleetBlob{}}
	kills := 0
	for rounds := crashRounds(t, 60); kills < rounds; {
		b.rules(t, fleetTroubles[rng.Intn(len(fleetTroubles))])
		failed := make(chan error, 6)
		var wg sync.WaitGroup
		for i := 0; i < cap(failed); i++ {
			node, own := i%2, rand.New(rand.NewSource(rng.Int63()))
			wg.Add(1)
			go func() {
				defer wg.Done()
				failed <- l.client(d[node], node, own)
			}()
		}
		first := rng.Intn(2)
		time.Sleep(slow(time.Duration(100+rng.Intn(900)) * time.Millisecond))
		d[first].kill()
		time.Sleep(time.Duration(rng.Intn(100)) * time.Millisecond)
		d[1-first].kill()
		kills += 2
		wg.Wait()
		close(failed)
		for err := range failed {
			noErr(t, err)
		}
		b.rules(t, `[]`)
		for i := range d {
			d[i].again(t)
			if rng.Intn(4) == 0 { // in the middle of what it does about that
				time.Sleep(time.Duration(rng.Intn(50)) * time.Millisecond)
				d[i].restart(t, true)
				kills++
			}
		}
		for i := range d {
			l.listed(t, d[i], i)
		}
		l.forget(t, b, d, 40)
	}
	for i := range d {
		l.readable(t, d[i], i)
		for ref := range mustStatuses(t, d[i].client(t)) {
			_, err := d[i].client(t).Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
			noErr(t, err)
		}
		d[i].flush(t)
	}
	have, listed := b.has(t), 0
	for i := range d {
		for dg := range mustList(t, d[i].client(t)) {
			listed++
			if !have[dg] {
				t.Errorf("node %d lists %s, and after a flush the bucket does not have it", i, dg)
			}
		}
	}
	b.account().dropUnheard(t)
	b.account().onlyUploads(t)
	t.Logf("%d kills; %d blobs are listed, %d in the bucket", kills, listed, len(have))
	if kills > 50 && listed == 0 {
		t.Error("nothing was acknowledged: this has tested nothing")
	}
	// Somebody who comes later finds all of it.
	l.found(t, b, have)
}

// forget removes blobs where there are more than `most`, from the bucket, too: a round stays short, and the bucket,
// which is in memory, small.
func (l *fleetLedger) forget(t *testing.T, b *bucket, d [2]*daemon, most int) {
	t.Helper()
	if len(l.blobs) <= most {
		return
	}
	var gone []digest.Digest
	for dg := range l.blobs {
		if gone = append(gone, dg); len(l.blobs)-len(gone) <= most/2 {
			break
		}
	}
	for i := range d {
		l.readable(t, d[i], i)
		c := d[i].client(t)
		for _, dg := range gone {
			_, err := c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
			if l.blobs[dg].here[i] || status.Code(err) != codes.NotFound {
				noErr(t, err)
			}
		}
		list := mustList(t, c)
		for _, dg := range gone {
			if _, still := list[dg]; still {
				t.Fatalf("node %d lists %s after its Delete", i, dg)
			}
		}
	}
	for _, dg := range gone {
		b.account().do(t, "DELETE", "/"+key(dg), "")
		delete(l.blobs, dg)
	}
}

// found has a third node read what the bucket has.
func (l *fleetLedger) found(t *testing.T, b *bucket, have map[digest.Digest]bool) {
	t.Helper()
	c := b.node(t).client(t)
	for dg := range have {
		if f := l.blobs[dg]; f != nil {
			mustHave(t, c, dg, f.size)
			if !bytes.Equal(mustGet(t, c, dg), f.data()) {
				t.Fatalf("a third node reads other bytes for %s", dg)
			}
		}
	}
}
