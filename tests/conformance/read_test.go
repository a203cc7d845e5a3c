package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"sync"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	"google.golang.org/grpc/codes"
)

// want is what a Read of [offset, offset+size) has to give, by the rules of containerd's content service and without arithmetic
// that could overflow.
func want(data []byte, offset, size int64) []byte {
	if offset < 0 {
		offset = 0
	}
	rest := data[offset:]
	if size > 0 && size < int64(len(rest)) {
		rest = rest[:size]
	}
	return rest
}

func TestReadRanges(t *testing.T) {
	c := start(t).client(t)
	for _, n := range []int{0, 1, 4095, 32 << 10, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3<<20 + 17} {
		data := noise(int64(n), n)
		d := mustPut(t, c, data)
		size := int64(n)
		marks := []int64{
			math.MinInt64, -1, 0, 1, 2, 4096, 32 << 10, 1 << 20, size / 2, size - 1, size, size + 1,
			math.MaxInt64 - size, math.MaxInt64 - 1, math.MaxInt64,
		}
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			for _, off := range marks {
				for _, sz := range marks {
					got, err := get(ctxFor(t), c, d, off, sz)
					if off > size {
						wantCode(t, err, codes.OutOfRange)
						continue
					}
					if err != nil {
						t.Fatalf("offset %d, size %d: %v", off, sz, err)
					}
					if !bytes.Equal(got, want(data, off, sz)) {
						t.Fatalf("offset %d, size %d: %d bytes, want %d, or other bytes", off, sz, len(got), len(want(data, off, sz)))
					}
				}
			}
		})
	}
}

// What containerd does while it unpacks: one Read of 32 KiB after the other, several blobs at once, each
// call cancelled as soon as the buffer is full.
func TestReadAsUnpacking(t *testing.T) {
	d := start(t)
	c := d.client(t)
	const n = 8 << 20
	var wg sync.WaitGroup
	for layer := int64(0); layer < 4; layer++ {
		data := noise(100+layer, n)
		dg := mustPut(t, c, data)
		wg.Add(1)
		go func() {
			defer wg.Done()
			for off := int64(0); off < n; off += 32 << 10 {
				ctx, cancel := context.WithTimeout(context.Background(), slow(20*time.Second))
				s, err := c.Read(ctx, &api.ReadContentRequest{Digest: dg, Offset: off, Size_: 32 << 10})
				var m *api.ReadContentResponse
				if err == nil {
					m, err = s.Recv()
				}
				cancel()
				if err != nil || !bytes.Equal(m.Data, data[off:off+32<<10]) {
					t.Errorf("offset %d: %v, or wrong bytes", off, err)
					return
				}
			}
		}()
	}
	wg.Wait()
}

func TestReadsCancelledByTheThousand(t *testing.T) {
	d := start(t)
	c := d.client(t)
	data := noise(7, 6<<20)
	dg := mustPut(t, c, data)
	round := func(n int) {
		var wg sync.WaitGroup
		for w := 0; w < 8; w++ {
			wg.Add(1)
			go func(w int) {
				defer wg.Done()
				for i := w; i < n; i += 8 {
					ctx, cancel := context.WithCancel(context.Background())
					s, err := c.Read(ctx, &api.ReadContentRequest{Digest: dg})
					if err == nil && i%3 > 0 {
						_, err = s.Recv() // else cancelled before the first answer
					}
					if err != nil {
						t.Errorf("read %d: %v", i, err)
					}
					cancel()
				}
			}(w)
		}
		wg.Wait()
	}
	round(400)
	backNear(t, d, d.usage(t), func() { round(4000) })
	if !bytes.Equal(mustGet(t, c, dg), data) {
		t.Fatal("wrong bytes after all that")
	}
}

// backNear demands that what the daemon holds after `work` comes back near to what it held before.
func backNear(t *testing.T, d *daemon, before usage, work func()) {
	t.Helper()
	work()
	rss := before.rssKiB + 64<<10
	if underSanitizer() {
		rss = math.MaxInt64 // its quarantine and shadow say nothing of leaks; LeakSanitizer does
	}
	eventually(t, 10*time.Second, "descriptors, threads and memory", func() (bool, string) {
		now := d.usage(t)
		return now.fds <= before.fds+16 && now.threads <= before.threads+16 && now.rssKiB <= rss,
			fmt.Sprintf("%+v, before %+v", now, before)
	})
}

// Clients that stop reading hold up nobody, on their own connection nor on others, and cost no more
// memory than a few messages each.
func TestStalledReaders(t *testing.T) {
	d := start(t)
	c := d.client(t)
	data := noise(8, 48<<20)
	dg := mustPut(t, c, data)
	small := mustPut(t, c, []byte("small"))
	before := d.usage(t)
	stalled := make([]api.Content_ReadClient, 32)
	for i := range stalled {
		s, err := c.Read(ctxFor(t), &api.ReadContentRequest{Digest: dg})
		noErr(t, err)
		m, err := s.Recv()
		noErr(t, err)
		if !bytes.Equal(m.Data, data[:len(m.Data)]) {
			t.Fatal("wrong bytes")
		}
		stalled[i] = s
	}
	for _, client := range []api.ContentClient{c, d.client(t)} {
		begin := time.Now()
		for i := 0; i < 50; i++ {
			if string(mustGet(t, client, small)) != "small" {
				t.Fatal("wrong bytes")
			}
		}
		if !bytes.Equal(mustGet(t, client, dg), data) {
			t.Fatal("wrong bytes")
		}
		mustPut(t, client, noise(time.Now().UnixNano(), 2<<20))
		if took := time.Since(begin); took > slow(15*time.Second) {
			t.Fatalf("others took %v beside stalled readers", took)
		}
	}
	if now := d.usage(t); !underSanitizer() && now.rssKiB > before.rssKiB+256<<10 {
		t.Fatalf("32 stalled readers of 48 MiB: %+v, before %+v", now, before)
	}
	// One of them comes back to life and gets the rest, in order.
	var rest bytes.Buffer
	for {
		m, err := stalled[0].Recv()
		if err == io.EOF {
			break
		}
		noErr(t, err)
		rest.Write(m.Data)
	}
	if !bytes.HasSuffix(data, rest.Bytes()) || rest.Len() < len(data)-(1<<20) {
		t.Fatal("the rest is wrong")
	}
}

func TestReadersOutliveDelete(t *testing.T) {
	localOnly(t, "S3 forgets an object at once")
	d := start(t)
	c := d.client(t)
	data := noise(9, 24<<20)
	dg := mustPut(t, c, data)
	s, err := c.Read(ctxFor(t), &api.ReadContentRequest{Digest: dg})
	noErr(t, err)
	var got bytes.Buffer
	m, err := s.Recv()
	noErr(t, err)
	got.Write(m.Data)
	_, err = c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: dg})
	noErr(t, err)
	_, err = get(ctxFor(t), c, dg, 0, 0)
	wantCode(t, err, codes.NotFound)
	for {
		m, err := s.Recv()
		if err == io.EOF {
			break
		}
		noErr(t, err)
		got.Write(m.Data)
	}
	if !bytes.Equal(got.Bytes(), data) {
		t.Fatalf("a reader that had the blob open got %d other bytes", got.Len())
	}
}

func TestManyReadersOneBlob(t *testing.T) {
	d := start(t)
	c := d.client(t)
	data := noise(10, 10<<20+3)
	dg := mustPut(t, c, data)
	var wg sync.WaitGroup
	for i := 0; i < 24; i++ {
		wg.Add(1)
		go func(off int64) {
			defer wg.Done()
			got, err := get(ctxFor(t), c, dg, off, 0)
			if err != nil || !bytes.Equal(got, data[off:]) {
				t.Errorf("from %d: %v, or wrong bytes", off, err)
			}
		}(int64(i) * 400001)
	}
	wg.Wait()
}
