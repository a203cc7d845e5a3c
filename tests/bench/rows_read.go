package main

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/containerd/content"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// largeBlob is one that every contender has; it stays, in the page cache, too.
func (b *bench) largeBlob(where string) (*blob, error) {
	p, err := b.place(where)
	if err != nil || p.large != nil {
		return p.large, err
	}
	blob := b.source.blob(b.largeSize())
	for _, who := range contenders {
		b.progress("a blob to read, %s: %s", where, who)
		in := &ingest{blob: blob, ref: b.ref(blob, true), declare: true}
		if err := in.run(b.ctx, p.stores[who]); err != nil {
			return nil, fmt.Errorf("%s: %w", who, err)
		}
	}
	p.large = blob
	return blob, nil
}

// A reading is a number of ReadAt calls, and how long each took, in µs.
type reading struct {
	blob    *blob
	chunk   int
	readers int
	each    int // calls of each reader
	random  bool
	check   bool // compare what was read

	mu   sync.Mutex
	took []float64
}

func (r *reading) run(b *bench, cs content.Store) error {
	var jobs []func() error
	for i := 0; i < r.readers; i++ {
		i := i
		jobs = append(jobs, func() error { return r.reader(b, cs, i) })
	}
	return together(jobs)
}

func (r *reading) reader(b *bench, cs content.Store, number int) error {
	ra, err := cs.ReaderAt(b.ctx, ocispec.Descriptor{Digest: r.blob.digest, Size: r.blob.size})
	if err != nil {
		return err
	}
	defer ra.Close()
	random := rand.New(rand.NewSource(int64(number) + 1))
	buf, want := make([]byte, r.chunk), make([]byte, r.chunk)
	took := make([]float64, 0, r.each)
	chunks := r.blob.size / int64(r.chunk)
	for i := 0; i < r.each; i++ {
		// In order, each reader in a part of its own; or anywhere.
		at := (int64(number)*chunks/int64(r.readers) + int64(i)) % chunks
		if r.random {
			at = random.Int63n(chunks)
		}
		off := at * int64(r.chunk)
		start := time.Now()
		n, err := ra.ReadAt(buf, off)
		took = append(took, micros(time.Since(start)))
		if n != len(buf) {
			return fmt.Errorf("read %d bytes of %d at %d: %v", n, len(buf), off, err)
		}
		if r.check && i%16 == 0 {
			r.blob.copyAt(want, off)
			if !bytes.Equal(buf, want) {
				return fmt.Errorf("wrong bytes at %d", off)
			}
		}
	}
	r.mu.Lock()
	r.took = append(r.took, took...)
	r.mu.Unlock()
	return nil
}

// reads are rows 4 and 5, and row 10's processor time.
func (b *bench) reads() error {
	for _, where := range b.placesFor(4) {
		if b.wants(4) {
			for _, readers := range []int{1, 4} {
				for _, random := range []bool{false, true} {
					if err := b.shortReads(where, readers, random); err != nil {
						return err
					}
				}
			}
		}
		if b.wants(5, 10) {
			if err := b.longReads(where); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bench) shortReads(where string, readers int, random bool) error {
	blob, err := b.largeBlob(where)
	if err != nil {
		return err
	}
	order := "sequential"
	if random {
		order = "random"
	}
	name := fmt.Sprintf("32 KiB reads, %s, %s", order, plural(readers, "reader"))
	mid := b.metric(4, name, where, "µs", lessIsBetter).target(goProxy, 0.6)
	slow := b.metric(4, name+", p99", where, "µs", lessIsBetter)
	samples := 3000
	if b.quick || where == onDisk {
		samples = 1500
	}
	return b.rounds(name, where, whoIn(where), func(t *turn) error {
		r := &reading{
			blob: blob, chunk: 32 * kib, readers: readers, each: samples / readers, random: random, check: t.who != floor,
		}
		if err := r.run(b, t.store); err != nil {
			return err
		}
		mid.add(t.who, median(r.took))
		slow.add(t.who, percentile(r.took, 99))
		return nil
	})
}

func (b *bench) longReads(where string) error {
	blob, err := b.largeBlob(where)
	if err != nil {
		return err
	}
	speed := b.metric(5, "1 MiB reads of "+sizeName(blob.size), where, "MiB/s", moreIsBetter).target(goProxy, 1.8)
	cpu := b.metric(10, "server CPU per GiB read by 1 MiB", where, "s", lessIsBetter)
	return b.rounds("1 MiB reads", where, whoIn(where), func(t *turn) error {
		r := &reading{blob: blob, chunk: mib, readers: 1, each: int(blob.size / mib), check: t.who != floor}
		before := t.cpu()
		if err := r.run(b, t.store); err != nil {
			return err
		}
		var sum float64
		for _, us := range r.took {
			sum += us
		}
		speed.add(t.who, float64(blob.size)/mib/(sum/1e6))
		if t.server != nil {
			cpu.add(t.who, perGiB(t.cpu()-before, blob.size))
		}
		return nil
	})
}

// infos is row 6.
func (b *bench) infos() error {
	for _, where := range b.placesFor(6) {
		blob, err := b.largeBlob(where)
		if err != nil {
			return err
		}
		mid := b.metric(6, "Info", where, "µs", lessIsBetter).target(goProxy, 0.7)
		slow := b.metric(6, "Info, p99", where, "µs", lessIsBetter)
		err = b.rounds("Info", where, whoIn(where), func(t *turn) error {
			took, err := b.infoTurn(t.store, blob.digest, 3000)
			mid.add(t.who, median(took))
			slow.add(t.who, percentile(took, 99))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) infoTurn(cs content.Store, dgst digest.Digest, times int) (took []float64, err error) {
	for i := 0; i < times; i++ {
		start := time.Now()
		if _, err := cs.Info(b.ctx, dgst); err != nil {
			return took, err
		}
		took = append(took, micros(time.Since(start)))
	}
	return took, nil
}

// lists is row 8.
func (b *bench) lists() error {
	for _, where := range b.placesFor(8) {
		if err := b.listMany(where, 100000); err != nil {
			return err
		}
	}
	if b.million {
		return b.listMany(onTmpfs, 1000000)
	}
	return nil
}

// listMany works on one directory for all contenders, for they all keep blobs in the same way. Nobody
// writes to it.
func (b *bench) listMany(where string, n int) error {
	root := filepath.Join(b.dirOf(where), "many")
	defer os.RemoveAll(root)
	some, err := b.makeMany(root, n)
	if err != nil {
		return err
	}
	first := b.metric(8, "start to first answer, "+thousands(n)+" blobs", where, "s", lessIsBetter)
	speed := b.metric(8, "List of "+thousands(n), where, "blobs/s", moreIsBetter)
	if n == 100000 {
		speed.target(goProxy, 10).target(builtIn, 5)
	} else {
		first.target("", 0.2)
	}
	if err := b.adoptMany(where, root, n); err != nil {
		return err
	}
	who := contenders
	if where == onTmpfs && n == 100000 {
		who = everybody // the floor's list has that many
	}
	return b.turns("List of "+thousands(n), where, who, func(name string, round int) error {
		cs, s, err := b.startMany(where, root, name, some, first)
		if s != nil {
			defer s.stop()
		}
		if err != nil {
			return err
		}
		start := time.Now()
		got, err := b.count(cs)
		if err == nil && got != n {
			err = fmt.Errorf("%d of %d blobs are listed", got, n)
		}
		speed.add(name, float64(got)/time.Since(start).Seconds())
		return err
	})
}

func (b *bench) count(cs content.Store) (n int, err error) {
	err = cs.Walk(b.ctx, func(content.Info) error {
		n++
		return nil
	})
	return n, err
}

func (b *bench) makeMany(root string, n int) (some digest.Digest, err error) {
	dir := filepath.Join(root, "blobs", "sha256")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	for i := 0; i < n; i++ {
		if i%10000 == 0 {
			if err := b.ctx.Err(); err != nil {
				return "", err
			}
			b.progress("making blobs: %d of %d", i, n)
		}
		text := []byte(fmt.Sprintf("blob number %d\n", i))
		some = digest.FromBytes(text)
		if err := os.WriteFile(filepath.Join(dir, some.Hex()), text, 0o600); err != nil {
			return "", err
		}
	}
	return some, nil
}

// adoptMany lets Stowage see the blobs for the first time, which is no part of what is measured.
func (b *bench) adoptMany(where, root string, n int) error {
	s := b.server(stowage, root, "adopt-"+where)
	defer s.stop()
	if err := s.start(b.ctx); err != nil {
		return err
	}
	cs, err := s.store()
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		got, err := b.count(cs)
		if err != nil || got == n {
			s.settle(b.ctx)
			return err
		}
		b.progress("stowage has found %d of %d blobs", got, n)
	}
	return fmt.Errorf("stowage does not find all of %d blobs in %s", n, root)
}

// startMany starts a contender on the blobs, notes when it answered, and waits until it has done what it
// does at its start.
func (b *bench) startMany(where, root, name string, some digest.Digest, first *metric) (content.Store, *server, error) {
	if name == builtIn {
		cs, err := newBuiltIn(root)
		return cs, nil, err
	}
	s := b.server(name, root, "many-"+where)
	cs, took, err := b.firstAnswer(s, some)
	if err != nil {
		return nil, s, err
	}
	if name != floor {
		first.add(name, took.Seconds())
	}
	s.settle(b.ctx)
	return cs, s, nil
}

// firstAnswer starts a server, and returns how long it takes until it has told of a blob.
func (b *bench) firstAnswer(s *server, some digest.Digest) (content.Store, time.Duration, error) {
	os.Remove(s.socket)
	start := time.Now()
	if err := s.start(b.ctx); err != nil {
		return nil, 0, err
	}
	cs, err := s.store()
	if err != nil {
		return nil, 0, err
	}
	_, err = cs.Info(b.ctx, some)
	return cs, time.Since(start), err
}
