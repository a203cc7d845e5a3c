package conformance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// smallDisk is a file system of its own, so many MiB large.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("stowage-test", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			syscall.Unmount(dir, syscall.MNT_DETACH)
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fillUp takes the last byte of the disk.
func fillUp(t *testing.T, dir string) (free func()) {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	noErr(t, err)
	defer f.Close()
	for n := 1 << 20; n > 0; {
		if _, err := f.Write(make([]byte, n)); err != nil {
			n /= 2
		}
	}
	return func() { noErr(t, os.Remove(path)) }
}

func TestFullDisk(t *testing.T) {
	localOnly(t, "blobs do not fill the disk")
	disk := smallDisk(t, 48)
	root := filepath.Join(disk, "root")
	d := startOn(t, root)
	c := d.client(t)
	blobs := map[digest.Digest][]byte{}
	var err error
	for i := int64(0); i < 100 && err == nil; i++ {
		data := noise(i, 3<<20)
		if _, err = put(ctxFor(t), c, fmt.Sprint("fill-", i), data, nil); err == nil {
			blobs[sum(data)] = data
		}
	}
	wantCode(t, err, codes.ResourceExhausted)
	if len(blobs) < 5 {
		t.Fatalf("48 MiB are full after %d blobs of 3 MiB", len(blobs))
	}
	good := func() {
		t.Helper()
		l := mustList(t, c)
		for dg, b := range blobs {
			if !bytes.Equal(mustGet(t, c, dg), b) || l[dg].Size_ != int64(len(b)) {
				t.Fatalf("%s is not what it was", dg)
			}
		}
		if len(l) != len(blobs) {
			t.Fatalf("%d blobs are listed, want %d", len(l), len(blobs))
		}
	}
	good()

	free := fillUp(t, disk)
	for i := 0; i < 5; i++ { // and again and again
		_, err = put(ctxFor(t), c, fmt.Sprint("over-", i), noise(int64(1000+i), 100000), nil)
		wantCode(t, err, codes.ResourceExhausted)
	}
	good()

	// What is full can be emptied.
	for dg := range blobs {
		_, err := c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
		noErr(t, err)
		delete(blobs, dg)
		break
	}
	good()
	for ref := range mustStatuses(t, c) {
		_, err := c.Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
		noErr(t, err)
	}
	free()
	data := noise(2000, 2<<20)
	blobs[mustPut(t, c, data)] = data
	good()
	d.restart(t, true)
	c = d.client(t)
	good()
}

// A daemon whose disk is full starts, serves, and can be emptied.
func TestStartOnFullDisk(t *testing.T) {
	disk := smallDisk(t, 32)
	d := startOn(t, filepath.Join(disk, "root"))
	c := d.client(t)
	data := noise(1, 1<<20)
	dg := mustPut(t, c, data)
	other := mustPut(t, c, noise(2, 1<<20))
	d.kill()
	free := fillUp(t, disk)
	d.again(t)
	c = d.client(t)
	if !bytes.Equal(mustGet(t, c, dg), data) {
		t.Fatal("other bytes")
	}
	_, err := c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: other})
	noErr(t, err)
	free()
	mustPut(t, c, noise(3, 1<<20))
}

// The disk fills up in the middle of a stream: what was acknowledged is still there once there is room.
func TestDiskFillsInStream(t *testing.T) {
	disk := smallDisk(t, 64)
	d := startOn(t, filepath.Join(disk, "root"))
	c := d.client(t)
	data := noise(4, 12<<20)
	for _, ref := range []string{"mid-stream", pullRef(1, sum(data))} {
		w := open(t, c, ref)
		w.write(data[:4<<20], 0)
		w.stat()
		free := fillUp(t, disk)
		var err error
		acked := int64(4 << 20)
		for off := acked; off < int64(len(data)) && err == nil; off += 1 << 20 {
			var r *api.WriteContentResponse
			r, err = w.send(&api.WriteContentRequest{Action: api.WriteActionWrite, Offset: off, Data: data[off : off+1<<20]})
			if err == nil {
				acked = r.Offset
			}
		}
		if err == nil {
			_, err = w.send(&api.WriteContentRequest{Action: api.WriteActionStat})
		}
		wantCode(t, err, codes.ResourceExhausted)
		free()
		eventually(t, 5e9, "resuming", func() (bool, string) {
			w = openStream(t, c)
			r, err := w.send(&api.WriteContentRequest{Ref: ref})
			if err != nil {
				return false, fmt.Sprint(status.Code(err))
			}
			if r.Offset < 4<<20 || r.Offset > acked || r.Digest != sum(data[:r.Offset]) {
				t.Fatalf("acknowledged %d, resumed at %d", acked, r.Offset)
			}
			w.write(data[r.Offset:], r.Offset)
			return true, ""
		})
		w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: int64(len(data)), Expected: sum(data)})
		if !bytes.Equal(mustGet(t, c, sum(data)), data) {
			t.Fatal("other bytes")
		}
		_, err = c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: sum(data)})
		noErr(t, err)
	}
}
