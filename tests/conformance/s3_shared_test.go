package conformance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A bucket has other users: what they do to it is found, each thing when somebody asks for it. These are, for a
// bucket, what TestBlobsFoundOnDisk and its neighbours are for the disk.

// What another node has put there is served, sent by nobody again, and listed from then on.
func TestS3BlobsFound(t *testing.T) {
	b := newBucket(t)
	one, two := b.start(t).client(t), b.start(t).client(t)
	for _, size := range []int{0, smallSize, largeSize} {
		data := noise(int64(size), size)
		dg := mustPut(t, one, data)
		sent := len(b.requests("PutObject")) + len(b.requests("UploadPart"))
		if size == smallSize { // it is not asked for first
			if !bytes.Equal(mustGet(t, two, dg), data) {
				t.Fatal("other bytes")
			}
		} else if i, err := two.Info(ctxFor(t), &api.InfoRequest{Digest: dg}); err != nil || i.Info.Size_ != int64(size) {
			t.Fatalf("%v, %v", i, err)
		}
		if !bytes.Equal(mustGet(t, two, dg), data) {
			t.Fatal("other bytes")
		}
		if l := mustList(t, two); l[dg].Size_ != int64(size) || l[dg].Digest != dg {
			t.Fatalf("listed as %v", l[dg])
		}
		if n := len(b.requests("PutObject")) + len(b.requests("UploadPart")); n != sent {
			t.Errorf("%d bytes were sent again", size)
		}
	}
	// Both write the same at once.
	data := noise(7, largeSize)
	done := make(chan error)
	for _, c := range []api.ContentClient{one, two} {
		go func(c api.ContentClient) {
			_, err := put(ctxFor(t), c, pullRef(1, sum(data)), data, nil)
			done <- err
		}(c)
	}
	noErr(t, <-done)
	noErr(t, <-done)
	b.sound(t)
	b.account().onlyUploads(t)
}

// What somebody has taken away is no longer there: containerd fetches it again.
func TestS3BlobsLost(t *testing.T) {
	b := newBucket(t)
	d := b.start(t)
	c := d.client(t)
	data := noise(1, smallSize)
	dg := mustPut(t, c, data)
	d.restart(t, false) // else it may still be open
	c = d.client(t)
	b.account().do(t, "DELETE", "/"+bucketPrefix+"/blobs/sha256/"+dg.Hex(), "")
	_, err := get(ctxFor(t), c, dg, 0, 0)
	wantCode(t, err, codes.NotFound)
	if _, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: dg}); status.Code(err) != codes.NotFound || len(mustList(t, c)) != 0 {
		t.Fatalf("it is still known: %v", err)
	}
	mustPut(t, c, data)
	if !bytes.Equal(mustGet(t, c, dg), data) {
		t.Fatal("other bytes")
	}
}

// What stands under a blob's key and cannot be it is neither served nor taken for it.
func TestS3WrongObject(t *testing.T) {
	for _, size := range []int{smallSize, largeSize} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			b := newBucket(t)
			c := b.start(t).client(t)
			data := noise(1, size)
			b.account().do(t, "PUT", "/"+bucketPrefix+"/blobs/sha256/"+sum(data).Hex(), "cut off")
			_, err := put(ctxFor(t), c, pullRef(1, sum(data)), data, nil)
			noErr(t, err)
			if !bytes.Equal(mustGet(t, c, sum(data)), data) {
				t.Fatal("other bytes")
			}
			b.sound(t)
		})
	}
}

// The index is lost: every blob is served when it is asked for, and listed from then on.
func TestS3LostIndex(t *testing.T) {
	b := newBucket(t)
	d := b.start(t)
	c := d.client(t)
	blobs := map[digest.Digest][]byte{}
	for i := 0; i < 20; i++ {
		data := noise(int64(i), i*1000)
		blobs[mustPut(t, c, data)] = data
	}
	for name, ruin := range map[string]func(path string) error{
		"removed":  os.Remove,
		"cut":      func(path string) error { return os.Truncate(path, 3*4096) },
		"nonsense": func(path string) error { return os.WriteFile(path, noise(1, 50000), 0o600) },
	} {
		d.kill()
		noErr(t, ruin(filepath.Join(d.root, "meta.mdb")))
		d.again(t)
		c = d.client(t)
		for dg, data := range blobs {
			if !bytes.Equal(mustGet(t, c, dg), data) {
				t.Fatalf("%s: %s has other bytes", name, dg)
			}
		}
		eventually(t, 5*time.Second, name+": all are listed", func() (bool, string) {
			n := len(mustList(t, c))
			return n == len(blobs), fmt.Sprintf("%d are", n)
		})
	}
}
