package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/content"
)

// whoIn leaves the floor out on a disk: it stores nothing, so it is the same there.
func whoIn(where string) []string {
	if where == onDisk {
		return contenders
	}
	return everybody
}

// finish proves that a blob arrived, and makes room for the next one.
func (b *bench) finish(t *turn, blobs ...*blob) error {
	if t.who == floor {
		return nil
	}
	for _, blob := range blobs {
		info, err := t.store.Info(b.ctx, blob.digest)
		if err != nil {
			return err
		}
		if info.Size != blob.size {
			return fmt.Errorf("%s has %d bytes instead of %d", blob.digest, info.Size, blob.size)
		}
		if err := t.store.Delete(b.ctx, blob.digest); err != nil {
			return err
		}
	}
	return nil
}

func rate(bytes int64, d time.Duration) float64 { return float64(bytes) / mib / d.Seconds() }

func perGiB(d time.Duration, bytes int64) float64 { return d.Seconds() * gib / float64(bytes) }

func millis(d time.Duration) float64 { return d.Seconds() * 1e3 }
func micros(d time.Duration) float64 { return d.Seconds() * 1e6 }

// ingestOne is row 1, with what row 9 and row 10 want to know of the same ingests.
func (b *bench) ingestOne() error {
	size := b.largeSize()
	for _, where := range b.placesFor(1) {
		speed := b.metric(1, "ingest "+sizeName(size)+", pull-like", where, "MiB/s", moreIsBetter).target(goProxy, 2.5)
		held := b.metric(9, "COMMIT of "+sizeName(size), where, "ms", lessIsBetter)
		if where == onDisk {
			held.targetHere(goProxy, 0.2).targetHere(builtIn, 0.3)
		}
		cpu := b.metric(10, "server CPU per GiB written", where, "s", lessIsBetter).target(goProxy, 0.5)
		err := b.rounds("ingest, pull-like", where, whoIn(where), func(t *turn) error {
			in := &ingest{blob: b.source.blob(size), declare: true}
			in.ref = b.ref(in.blob, true)
			before := t.cpu()
			if err := in.run(b.ctx, t.store); err != nil {
				return err
			}
			speed.add(t.who, rate(size, in.total))
			held.add(t.who, millis(in.held))
			if t.server != nil {
				cpu.add(t.who, perGiB(t.cpu()-before, size))
			}
			return b.finish(t, in.blob)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *turn) cpu() time.Duration {
	if t.server == nil {
		return 0
	}
	return t.server.cpu()
}

// ingestRunning is row 2: nothing is known before the end, so that each answer carries a digest.
func (b *bench) ingestRunning() error {
	for _, where := range b.placesFor(2) {
		size := b.largeSize()
		if where == onDisk {
			size = 256 * mib // the disk is what counts there, and takes its time
		}
		speed := b.metric(2, "ingest "+sizeName(size)+", running digest", where, "MiB/s", moreIsBetter).target(goProxy, 1.8)
		err := b.rounds("ingest, running digest", where, whoIn(where), func(t *turn) error {
			in := &ingest{blob: b.source.blob(size)}
			in.ref = b.ref(in.blob, false)
			if err := in.run(b.ctx, t.store); err != nil {
				return err
			}
			speed.add(t.who, rate(size, in.total))
			return b.finish(t, in.blob)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ingestFour is row 3: four pulls at once, over the one connection.
func (b *bench) ingestFour() error {
	const streams = 4
	for _, where := range b.placesFor(3) {
		size := int64(256 * mib)
		if b.quick || where == onDisk {
			size = 128 * mib
		}
		name := fmt.Sprintf("%d × %s at once, pull-like", streams, sizeName(size))
		speed := b.metric(3, name, where, "MiB/s", moreIsBetter).target(goProxy, 2.5)
		err := b.rounds("four streams", where, whoIn(where), func(t *turn) error {
			var blobs []*blob
			for i := 0; i < streams; i++ {
				blobs = append(blobs, b.source.blob(size))
			}
			took, err := b.ingestAll(b.ctx, t.store, blobs)
			if err != nil {
				return err
			}
			speed.add(t.who, rate(streams*size, took))
			return b.finish(t, blobs...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) ingestAll(ctx context.Context, cs content.Store, blobs []*blob) (time.Duration, error) {
	var jobs []func() error
	for _, blob := range blobs {
		in := &ingest{blob: blob, ref: b.ref(blob, true), declare: true}
		jobs = append(jobs, func() error { return in.run(ctx, cs) })
	}
	start := time.Now()
	err := together(jobs)
	return time.Since(start), err
}

// together runs all jobs at once and returns the first error.
func together(jobs []func() error) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(jobs))
	for _, job := range jobs {
		wg.Add(1)
		go func(job func() error) {
			defer wg.Done()
			if err := job(); err != nil {
				errs <- err
			}
		}(job)
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// smallBlobs is row 7.
func (b *bench) smallBlobs() error {
	const size = 4 * kib
	wants := map[int][2]float64{1: {1.5, 1.2}, 8: {4, 3}}
	for _, where := range b.placesFor(7) {
		for _, clients := range []int{1, 8} {
			name := fmt.Sprintf("blobs of 4 KiB, %s", plural(clients, "client"))
			speed := b.metric(7, name, where, "commits/s", moreIsBetter)
			slow := b.metric(7, name+", p99", where, "ms", lessIsBetter)
			if where == onDisk {
				speed.targetHere(goProxy, wants[clients][0]).targetHere(builtIn, wants[clients][1])
			}
			err := b.rounds(name, where, whoIn(where), func(t *turn) error {
				blobs, took, each, err := b.smallTurn(t, clients, size)
				if err != nil {
					return err
				}
				speed.add(t.who, float64(len(blobs))/took.Seconds())
				slow.add(t.who, percentile(each, 99))
				return b.finish(t, blobs...)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// smallTurn commits as many blobs as it can within its time; all are made before it starts.
func (b *bench) smallTurn(t *turn, clients int, size int64) (done []*blob, took time.Duration, each []float64, err error) {
	const most = 10000
	limit := 1200 * time.Millisecond
	if b.quick {
		limit = 800 * time.Millisecond
	}
	todo := make(chan *ingest, most)
	for i := 0; i < most; i++ {
		blob := b.source.blob(size)
		todo <- &ingest{blob: blob, ref: b.ref(blob, true), declare: true}
	}
	close(todo)
	var mu sync.Mutex
	var jobs []func() error
	start := time.Now()
	for i := 0; i < clients; i++ {
		jobs = append(jobs, func() error {
			for time.Since(start) < limit {
				in := <-todo
				if in == nil {
					return nil
				}
				if err := in.run(b.ctx, t.store); err != nil {
					return err
				}
				mu.Lock()
				done = append(done, in.blob)
				each = append(each, millis(in.total))
				mu.Unlock()
			}
			return nil
		})
	}
	err = together(jobs)
	return done, time.Since(start), each, err
}

// commits is row 9 for the smaller blobs; the large ones are those of row 1.
func (b *bench) commits() error {
	for _, size := range []int64{4 * kib, 64 * mib} {
		held := b.metric(9, "COMMIT of "+sizeName(size), onDisk, "ms", lessIsBetter)
		err := b.rounds(held.Name, onDisk, contenders, func(t *turn) error {
			blobs, took, err := b.commitsOf(t.store, size)
			if err != nil {
				return err
			}
			held.add(t.who, took)
			return b.finish(t, blobs...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// commitsOf commits some blobs, one after the other, and returns the median of the times, in ms.
func (b *bench) commitsOf(cs content.Store, size int64) (blobs []*blob, took float64, err error) {
	times := 3
	switch {
	case size < mib:
		times = 25
	case size == b.largeSize():
		times = 1
	}
	var all []float64
	for i := 0; i < times; i++ {
		b.calm(onDisk)
		in := &ingest{blob: b.source.blob(size), declare: true}
		in.ref = b.ref(in.blob, true)
		if err := in.run(b.ctx, cs); err != nil {
			return nil, 0, err
		}
		blobs, all = append(blobs, in.blob), append(all, millis(in.held))
	}
	return blobs, median(all), nil
}
