package conformance

import (
	"bytes"
	"context"
	"fmt"
	"math/rand"
	"os"
	"sync"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"

	"stowage/s3/sigv4"
	"stowage/s3/strict"
)

func (b *bucket) account() account {
	return account{b.direct, "us-east-1", sigv4.Credentials{AccessKey: strict.AccessKey, SecretKey: strict.SecretKey}}
}

// sentTimes counts how often each part of each upload has arrived.
func (b *bucket) sentTimes() map[string]int {
	n := map[string]int{}
	for _, e := range b.requests("UploadPart") {
		if e.Status == 200 {
			n[e.Target]++
		}
	}
	return n
}

// What the bucket has of an upload is not sent again, whatever way the daemon ended: killed, or asked to.
func TestS3Resume(t *testing.T) {
	for _, hard := range []bool{true, false} {
		hard := hard
		t.Run(fmt.Sprint("killed: ", hard), func(t *testing.T) {
			b := newBucket(t)
			d := b.start(t)
			data := noise(1, 4*partSize+100)
			ref := pullRef(1, sum(data))
			const written = 18 << 20 // three parts, and more than the 16 MiB after which there is a checkpoint
			w := openStream(t, d.client(t))
			w.must(&api.WriteContentRequest{Action: api.WriteActionStat, Ref: ref, Total: int64(len(data))})
			for off := 0; off < written; off += 1 << 20 {
				w.write(data[off:off+1<<20], int64(off))
			}
			eventually(t, 20*time.Second, "three parts are there", func() (bool, string) {
				return len(b.sentTimes()) == 3, fmt.Sprint(b.sentTimes())
			})
			time.Sleep(slow(200 * time.Millisecond)) // the daemon hears of the last one, and writes it down
			d.restart(t, hard)
			c := d.client(t)
			if _, uploads := b.contents(t); len(uploads) != 1 {
				t.Fatalf("%d uploads are open after the end, not one", len(uploads))
			}
			w = openStream(t, c)
			r := w.must(&api.WriteContentRequest{Action: api.WriteActionStat, Ref: ref, Total: int64(len(data))})
			if r.Offset < 16<<20 || r.Offset > written || r.Digest != sum(data[:r.Offset]) {
				t.Fatalf("resumed at %d with %s", r.Offset, r.Digest)
			}
			w.write(data[r.Offset:], r.Offset)
			w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: int64(len(data)), Expected: sum(data)})
			if !bytes.Equal(mustGet(t, c, sum(data)), data) {
				t.Fatal("other bytes")
			}
			for part, n := range b.sentTimes() {
				if n != 1 {
					t.Errorf("%s was sent %d times", part, n)
				}
			}
			if n := len(b.requests("CreateMultipartUpload")); n != 1 {
				t.Errorf("%d uploads were begun", n)
			}
			b.sound(t)
			b.account().onlyUploads(t)
		})
	}
}

// Uploads that are dropped are aborted, by whatever way they are dropped; those of others stay, also where
// they are for the very same object.
func TestS3DroppedUploads(t *testing.T) {
	leave := func(t *testing.T, a account, d *daemon, ref string, data []byte) {
		t.Helper()
		before := len(a.uploads(t))
		w := openStream(t, d.client(t))
		w.must(&api.WriteContentRequest{Action: api.WriteActionStat, Ref: ref, Total: int64(len(data))})
		w.write(data[:partSize+1000], 0)
		eventually(t, 10*time.Second, "what comes in is sent beside the writing", func() (bool, string) {
			n := len(a.uploads(t))
			return n == before+1, fmt.Sprintf("%d uploads are open, not %d", n, before+1)
		})
		w.park()
	}
	ways := map[string]func(t *testing.T, b *bucket, d *daemon, ref string){
		"by Abort": func(t *testing.T, b *bucket, d *daemon, ref string) {
			_, err := d.client(t).Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
			noErr(t, err)
		},
		"by the sweep": func(t *testing.T, b *bucket, d *daemon, ref string) {
			noErr(t, d.stop())
			time.Sleep(1100 * time.Millisecond)
			d.env = append(d.env, "STOWAGE_STALE_INGEST_AFTER=1s")
			d.again(t)
			eventually(t, 10*time.Second, "it is swept", func() (bool, string) {
				n := len(mustStatuses(t, d.client(t)))
				return n == 0, fmt.Sprintf("%d ingests", n)
			})
		},
		"while the bucket is away": func(t *testing.T, b *bucket, d *daemon, ref string) {
			b.rules(t, `{"reset_request": 0}`)
			_, err := d.client(t).Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
			noErr(t, err)
			d.kill()
			b.rules(t, `[]`)
			d.again(t)
		},
		"with the index": func(t *testing.T, b *bucket, d *daemon, ref string) {
			d.kill()
			noErr(t, os.Remove(d.root+"/meta.mdb"))
			d.again(t)
		},
	}
	for name, drop := range ways {
		drop := drop
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			a := b.account()
			d := b.start(t, "STOWAGE_REMOTE_S3_MAX_ATTEMPTS=1")
			data := noise(2, 3*partSize)
			others := []string{
				a.begin(t, bucketPrefix+"/blobs/sha256/"+sum(data).Hex()),
				a.begin(t, bucketPrefix+"/blobs/sha256/"+absent.Hex()),
				a.begin(t, "somewhere/else"),
			}
			ref := pullRef(1, sum(data))
			leave(t, a, d, ref, data)
			drop(t, b, d, ref)
			a.onlyUploads(t, others...)
			if n := ingestFiles(t, d.root); n != 0 {
				t.Errorf("%d stages are left", n)
			}
			// Nothing stands in the way of another try.
			if _, err := put(ctxFor(t), d.client(t), ref, data, nil); err != nil {
				t.Fatal(err)
			}
			a.onlyUploads(t, others...)
			b.sound(t)
		})
	}
}

// pull is a blob that a client of a crash round uploads.
type pull struct {
	data  []byte
	ref   string
	acked bool
}

// pulls begins n uploads at once, and returns when all have ended, well or not.
func pulls(c api.ContentClient, rng *rand.Rand, n int) map[digest.Digest]*pull {
	out := map[digest.Digest]*pull{}
	var wg sync.WaitGroup
	for i := 0; i < n; i++ {
		size := smallSize
		if rng.Intn(3) > 0 {
			size = partSize*(1+rng.Intn(3)) + rng.Intn(partSize)
		}
		data := noise(rng.Int63(), size)
		p := &pull{data: data, ref: pullRef(i, sum(data))}
		if rng.Intn(4) == 0 { // its name is not known before the end
			p.ref = fmt.Sprint("unnamed-", rng.Int63())
		}
		out[sum(data)] = p
		wg.Add(1)
		go func() {
			defer wg.Done()
			ctx, cancel := context.WithTimeout(context.Background(), slow(60*time.Second))
			defer cancel()
			_, err := put(ctx, c, p.ref, p.data, map[string]string{"ref": p.ref})
			p.acked = err == nil
		}()
	}
	wg.Wait()
	return out
}

// settle demands that what was acknowledged is there, and that all else can be ended well.
func settle(t *testing.T, d *daemon, all map[digest.Digest]*pull) {
	t.Helper()
	c := d.client(t)
	listed := mustList(t, c)
	for dg, p := range all {
		if p.acked && listed[dg].Labels["ref"] != p.ref {
			t.Fatalf("%s was acknowledged, and is listed as %v", dg, listed[dg])
		}
	}
	for dg, p := range all {
		if !p.acked {
			if _, err := put(ctxFor(t), c, p.ref, p.data, nil); err != nil {
				wantCode(t, err, codes.AlreadyExists)
			}
		}
		if !bytes.Equal(mustGet(t, c, dg), p.data) {
			t.Fatalf("%s has other bytes", dg)
		}
		_, err := c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
		noErr(t, err)
	}
}

// The daemon is killed in the middle of uploads, again and again, and of what it does about that at its start.
func TestS3Kill9(t *testing.T) {
	t.Parallel()
	rng := crashSeed(t)
	b := newBucket(t)
	a := b.account()
	others := a.begin(t, bucketPrefix+"/blobs/sha256/"+absent.Hex())
	b.rules(t, `{"method": "PUT", "target": "partNumber=", "delay_ms": 40}`)
	d := b.start(t)
	for round := crashRounds(t, 60)/6 + 1; round > 0; round-- {
		c, killed := d.client(t), make(chan struct{})
		go func(after time.Duration) {
			time.Sleep(after)
			d.kill()
			close(killed)
		}(slow(time.Duration(20+rng.Intn(1000)) * time.Millisecond))
		all := pulls(c, rng, 5)
		<-killed
		d.again(t)
		if rng.Intn(3) == 0 {
			time.Sleep(time.Duration(rng.Intn(30)) * time.Millisecond)
			d.restart(t, true)
		}
		b.sound(t)
		settle(t, d, all)
		for ref := range mustStatuses(t, d.client(t)) {
			_, err := d.client(t).Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
			noErr(t, err)
		}
		a.dropUnheard(t)
		a.onlyUploads(t, others)
		if objects, _ := b.contents(t); len(objects) != 0 {
			t.Fatalf("%d objects are left of what was deleted", len(objects))
		}
	}
}
