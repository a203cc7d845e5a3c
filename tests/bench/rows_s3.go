package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/content"
	digest "github.com/opencontainers/go-digest"
)

// Rows 12 to 16: Stowage on a bucket, against the parts that its work is made of and against the other client
// that everybody has. Client, Stowage and S3 server share this machine, so times add up: Stowage's bound is the
// sum of a plain request's time and of the local store's.
const (
	localStore   = "local"        // Stowage again, with its local store on tmpfs
	plainCurl    = "curl"         // one plain request
	curlAndLocal = "curl + local" // one after the other
	awsCLI       = "aws s3 cp"
	near         = "no latency" // the same through the same proxy
)

const (
	inBucket   = "S3"
	latency    = 20 * time.Millisecond // of a round trip
	noLatency  = 20 * time.Microsecond // not zero, with which the proxy would do less than with some
	uploads    = 8
	sumAtMost  = 1.25 // times the time of curl + local
	lossAtMost = 0.3  // of the throughput, by latency
)

// raceOnBucket runs all contenders of each round in turn; what each returns is its time for size bytes.
func (b *bench) raceOnBucket(m *metric, size int64, run map[string]func() (time.Duration, error)) error {
	return b.turns(m.Name, m.Where, []string{stowage, plainCurl, localStore, awsCLI}, func(who string, _ int) error {
		took, err := run[who]()
		if err != nil {
			return err
		}
		m.add(who, rate(size, took))
		return nil
	})
}

// sum is what the rates of two, one after the other, come to.
func (m *metric) sum(to, one, other string) {
	for i, v := range m.Values[one] {
		if i < len(m.Values[other]) {
			m.add(to, 1/(1/v+1/m.Values[other][i]))
		}
	}
}

// uploadsToBucket is row 12.
func (b *bench) uploadsToBucket() error {
	u, local, err := b.bucketAndLocal()
	if err != nil {
		return err
	}
	size := b.largeSize()
	m := b.metric(12, "upload of "+sizeName(size)+", pull-like", inBucket, "MiB/s", moreIsBetter).
		targetHere(curlAndLocal, 1/sumAtMost).targetHere(awsCLI, 1.3)
	err = b.raceOnBucket(m, size, map[string]func() (time.Duration, error){
		stowage:    func() (time.Duration, error) { return u.uploaded(u.direct.store) },
		localStore: func() (time.Duration, error) { return u.uploaded(local) },
		plainCurl: func() (time.Duration, error) {
			took, err := u.curlPut("curl")
			if err == nil {
				err = u.curlDelete("curl")
			}
			return took, err
		},
		awsCLI: func() (time.Duration, error) {
			took, err := u.awsCopy(u.file, "s3://"+bucketName+"/aws")
			if err == nil {
				err = u.curlDelete("aws")
			}
			return took, err
		},
	})
	m.sum(curlAndLocal, plainCurl, localStore)
	return err
}

// uploaded is how long a new blob takes, which is then deleted.
func (u *bucket) uploaded(cs content.Store) (time.Duration, error) {
	blob, took, err := u.ingested(u.b.ctx, cs)
	if err != nil {
		return 0, err
	}
	return took, u.b.finish(&turn{store: cs}, blob)
}

func (b *bench) bucketAndLocal() (*bucket, content.Store, error) {
	u, err := b.bucket()
	if err != nil {
		return nil, nil, err
	}
	p, err := b.place(onTmpfs)
	if err != nil {
		return nil, nil, err
	}
	return u, p.stores[stowage], nil
}

// blobs for the reads: the bucket's is nowhere else.
func (b *bench) blobsToRead() (u *bucket, local content.Store, remote, near *blob, err error) {
	if u, local, err = b.bucketAndLocal(); err != nil {
		return
	}
	if remote, _, err = u.ingested(b.ctx, u.direct.store); err != nil {
		return
	}
	near, err = b.largeBlob(onTmpfs)
	return
}

func keyOf(prefix string, d digest.Digest) string {
	return prefix + "/blobs/" + d.Algorithm().String() + "/" + d.Encoded()
}

// readsFromBucket is rows 13 and 14.
func (b *bench) readsFromBucket() error {
	u, local, remote, near, err := b.blobsToRead()
	if err != nil {
		return err
	}
	if b.wants(13) {
		if err := b.longReadsFromBucket(u, local, remote, near); err != nil {
			return err
		}
	}
	if b.wants(14) {
		for _, readers := range []int{1, 4} {
			if err := b.shortReadsFromBucket(u, local, remote, near, readers); err != nil {
				return err
			}
		}
	}
	return u.direct.store.Delete(b.ctx, remote.digest)
}

// through reads the whole blob in order, each reader a part of its own.
func (b *bench) through(cs content.Store, blob *blob, chunk, readers int) (time.Duration, error) {
	r := &reading{blob: blob, chunk: chunk, readers: readers, each: int(blob.size) / chunk / readers, check: true}
	start := time.Now()
	err := r.run(b, cs)
	return time.Since(start), err
}

func (b *bench) longReadsFromBucket(u *bucket, local content.Store, remote, near *blob) error {
	m := b.metric(13, "1 MiB reads of "+sizeName(remote.size), inBucket, "MiB/s", moreIsBetter).
		targetHere(curlAndLocal, 1/sumAtMost).targetHere(awsCLI, 1)
	key, file := keyOf("direct", remote.digest), filepath.Join(b.tmpfs, "download")
	err := b.raceOnBucket(m, remote.size, map[string]func() (time.Duration, error){
		stowage:    func() (time.Duration, error) { return b.through(u.direct.store, remote, mib, 1) },
		localStore: func() (time.Duration, error) { return b.through(local, near, mib, 1) },
		plainCurl:  func() (time.Duration, error) { return u.curlGet(key) },
		awsCLI: func() (time.Duration, error) {
			defer os.Remove(file)
			return u.awsCopy("s3://"+bucketName+"/"+key, file)
		},
	})
	m.sum(curlAndLocal, plainCurl, localStore)
	return err
}

func (b *bench) shortReadsFromBucket(u *bucket, local content.Store, remote, near *blob, readers int) error {
	m := b.metric(14, "32 KiB reads, sequential, "+plural(readers, "reader"), inBucket, "MiB/s", moreIsBetter).
		targetHere(localStore, 0.7)
	return b.turns(m.Name, m.Where, []string{stowage, localStore}, func(who string, _ int) error {
		cs, blob := u.direct.store, remote
		if who == localStore {
			cs, blob = local, near
		}
		took, err := b.through(cs, blob, 32*kib, readers)
		if err != nil {
			return err
		}
		m.add(who, rate(blob.size, took))
		return nil
	})
}

// uploadMemory is row 15, of a process that has done nothing before.
func (b *bench) uploadMemory() error {
	u, err := b.bucket()
	if err != nil {
		return err
	}
	size := b.largeSize() / 4
	peak := b.metric(15, fmt.Sprintf("peak memory, %d uploads of %s at once", uploads, sizeName(size)), inBucket, "MiB",
		lessIsBetter).targetHere("", 128)
	anon := b.metric(15, "  of it, anonymous", inBucket, "MiB", lessIsBetter)
	return b.turns(peak.Name, inBucket, []string{stowage}, func(_ string, round int) error {
		r, err := u.stowage(fmt.Sprintf("memory-%d", round), u.gateway.Endpoint)
		if err != nil {
			return err
		}
		defer r.server.stop()
		var blobs []*blob
		for i := 0; i < uploads; i++ {
			blobs = append(blobs, b.source.blob(size))
		}
		ctx, cancel := context.WithCancel(b.ctx)
		sampled := make(chan float64)
		go func() { sampled <- peakOf(ctx, r.server, "RssAnon") }()
		_, err = b.ingestAll(b.ctx, r.store, blobs)
		cancel()
		anon.add(stowage, <-sampled/mib)
		if err != nil {
			return err
		}
		peak.add(stowage, float64(r.server.memory("VmHWM"))/mib)
		return b.finish(&turn{store: r.store}, blobs...)
	})
}

// farBucket is row 16: what rows 12 and 13 measure, with and without latency.
func (b *bench) farBucket() error {
	u, err := b.bucket()
	if err != nil {
		return err
	}
	size := b.largeSize()
	far := map[string]*remote{}
	for who, d := range map[string]time.Duration{stowage: latency, near: noLatency} {
		url, err := u.proxy(d / 2)
		if err != nil {
			return err
		}
		if far[who], err = u.stowage(fmt.Sprintf("after-%d-us", d.Microseconds()), url); err != nil {
			return err
		}
	}
	name := fmt.Sprintf(" of %s, %d ms of latency", sizeName(size), latency.Milliseconds())
	up := b.metric(16, "upload"+name, inBucket, "MiB/s", moreIsBetter).targetHere(near, 1-lossAtMost)
	down := b.metric(16, "1 MiB reads"+name, inBucket, "MiB/s", moreIsBetter).targetHere(near, 1-lossAtMost)
	return b.turns("latency", inBucket, []string{stowage, near}, func(who string, _ int) error {
		cs := far[who].store
		blob, took, err := u.ingested(b.ctx, cs)
		if err != nil {
			return err
		}
		up.add(who, rate(size, took))
		if took, err = b.through(cs, blob, mib, 1); err != nil {
			return err
		}
		down.add(who, rate(size, took))
		return b.finish(&turn{store: cs}, blob)
	})
}
