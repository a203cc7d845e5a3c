package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"

	"stowage/s3/sigv4"
)

// Rows 17 to 21: Stowage with local bytes in front of a bucket, as the nodes of a fleet have it.
const roundTrip = "round trip" // one request to the bucket

const inFleet = "fleet"

// fleetPulls is rows 17 and 18, with real containerds.
func (b *bench) fleetPulls() error {
	size := 500
	if b.quick {
		size = 200
	}
	start := time.Now()
	second := b.metric(17, fmt.Sprintf("ctr images pull, %d MB, second node", size), inFleet, "s", lessIsBetter).
		targetHere(builtIn, 1.1)
	first := b.metric(18, fmt.Sprintf("ctr images pull, %d MB, first node", size), inFleet, "s", lessIsBetter).
		targetHere(localStore, 1.1)
	flush := b.metric(18, "  flush after that", inFleet, "s", lessIsBetter)
	err := b.runScript("nodes on one bucket", func(what, who string, v float64) error {
		switch what {
		case "second":
			second.add(who, v)
		case "first":
			first.add(who, v)
		case "flush":
			flush.add(who, v)
		case "pull": // of those who have no bucket
			second.add(who, v)
			first.add(who, v)
		default:
			return fmt.Errorf("unexpected: %q", what)
		}
		return nil
	}, b.fleet, b.tmpfs, b.tmpfs, strconv.Itoa(b.options.rounds), strconv.Itoa(size))
	fmt.Fprintf(os.Stderr, "  nodes on one bucket: %.0f s\n", time.Since(start).Seconds())
	return err
}

// unknown is a digest of which nobody has the bytes, another one each time.
func (b *bench) unknown() digest.Digest {
	b.refs++
	return digest.FromString(fmt.Sprint("nobody has this: ", b.refs))
}

// absent measures Info on digests that nobody has.
func (b *bench) absent(cs content.Store, times int, which func() digest.Digest) (took []float64, err error) {
	for i := 0; i < times; i++ {
		dg := which()
		start := time.Now()
		_, err := cs.Info(b.ctx, dg)
		took = append(took, micros(time.Since(start)))
		if !errdefs.IsNotFound(err) {
			return took, fmt.Errorf("Info on %s, which nobody has: %v", dg, err)
		}
	}
	return took, nil
}

// heads measures the bucket's answer to the same question, over one connection that is open already.
func (u *bucket) heads(client *http.Client, times int) (took []float64, err error) {
	c := sigv4.Credentials{AccessKey: u.gateway.AccessKey, SecretKey: u.gateway.SecretKey}
	nothing := fmt.Sprintf("%x", sha256.Sum256(nil))
	for i := 0; i < times; i++ {
		r, err := http.NewRequestWithContext(u.b.ctx, "HEAD", u.gateway.Endpoint+"/"+bucketName+"/"+keyOf("infos", u.b.unknown()), nil)
		if err != nil {
			return took, err
		}
		if err := sigv4.Sign(r, c, u.gateway.Region, time.Now(), nothing); err != nil {
			return took, err
		}
		start := time.Now()
		resp, err := client.Do(r)
		if err != nil {
			return took, err
		}
		resp.Body.Close()
		took = append(took, micros(time.Since(start)))
		if resp.StatusCode != http.StatusNotFound {
			return took, fmt.Errorf("HEAD of what is not there: %s", resp.Status)
		}
	}
	return took, nil
}

// fleetInfos is row 19.
func (b *bench) fleetInfos() error {
	const times, ms = 300, 1000 // µs
	u, err := b.bucket()
	if err != nil {
		return err
	}
	open, err := u.stowageIn("tiered", "infos", u.gateway.Endpoint)
	if err != nil {
		return err
	}
	// Nobody listens there.
	away, err := u.stowageIn("tiered", "away", "http://127.0.0.1:9")
	if err != nil {
		return err
	}
	if err := b.untilAway(away.store); err != nil {
		return err
	}
	unknown := b.metric(19, "Info, nobody has it", inFleet, "µs", lessIsBetter)
	beyond := b.metric(19, "  beyond a round trip", inFleet, "µs", lessIsBetter).targetHere("", ms)
	cached := b.metric(19, "Info, nobody has it, asked before", inFleet, "µs", lessIsBetter).targetHere("", ms)
	without := b.metric(19, "Info, nobody has it, bucket away", inFleet, "µs", lessIsBetter).targetHere("", ms)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	return b.turns("Info", inFleet, []string{stowage}, func(who string, _ int) error {
		heads, err := u.heads(client, times)
		if err != nil {
			return err
		}
		looks, err := b.absent(open.store, times, b.unknown)
		if err != nil {
			return err
		}
		unknown.add(roundTrip, median(heads))
		unknown.add(who, median(looks))
		beyond.add(who, median(looks)-median(heads))
		known := b.unknown()
		again, err := b.absent(open.store, times, func() digest.Digest { return known })
		if err != nil {
			return err
		}
		cached.add(who, median(again[1:]))
		none, err := b.absent(away.store, times, b.unknown)
		without.add(who, median(none))
		return err
	})
}

// untilAway asks until nobody is asked any more: then answers come at once.
func (b *bench) untilAway(cs content.Store) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		took, err := b.absent(cs, 10, b.unknown)
		if err != nil || percentile(took, 100) < 5000 {
			return err
		}
	}
	return fmt.Errorf("a bucket that is away is asked again and again")
}

// fleetCommits is row 20.
func (b *bench) fleetCommits() error {
	u, local, err := b.bucketAndLocal()
	if err != nil {
		return err
	}
	r, err := u.stowageIn("tiered", "commits", u.gateway.Endpoint)
	if err != nil {
		return err
	}
	stores := map[string]content.Store{stowage: r.store, localStore: local}
	for _, c := range []struct {
		size  int64
		times int
	}{{4 * kib, 25}, {64 * mib, 5}} {
		held := b.metric(20, "COMMIT of "+sizeName(c.size), inFleet, "ms", lessIsBetter).targetHere(localStore, 1.1)
		err := b.turns(held.Name, inFleet, []string{stowage, localStore}, func(who string, _ int) error {
			var all []float64
			for i := 0; i < c.times; i++ {
				in := &ingest{blob: b.source.blob(c.size), declare: true}
				in.ref = b.ref(in.blob, true)
				if err := in.run(b.ctx, stores[who]); err != nil {
					return err
				}
				all = append(all, millis(in.held))
				if err := b.finish(&turn{store: stores[who]}, in.blob); err != nil {
					return err
				}
			}
			held.add(who, median(all))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fleetViews is row 21: many blobs in the view, none of which is in the bucket yet, which is away.
func (b *bench) fleetViews() error {
	if err := b.fleetView(100000); err != nil || !b.million {
		return err
	}
	return b.fleetView(1000000)
}

func (b *bench) fleetView(n int) error {
	root, config := filepath.Join(b.tmpfs, "view"), filepath.Join(b.tmpfs, "view.toml")
	defer os.RemoveAll(root)
	some, err := b.makeMany(root, n)
	if err != nil {
		return err
	}
	if err := b.adoptMany(onTmpfs, root, n); err != nil {
		return err
	}
	text := fmt.Sprintf("root = %q\n[remote]\ntype = \"s3\"\n[remote.s3]\nendpoint = \"http://127.0.0.1:9\"\nbucket = \"away\"\n"+
		"access_key = \"key\"\nsecret_key = \"secret\"\n", root)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	first := b.metric(21, "start to first answer, "+thousands(n)+" blobs", inFleet, "s", lessIsBetter).targetHere("", 0.2)
	anon := b.metric(21, "  anonymous memory then", inFleet, "MiB", lessIsBetter).targetHere("", 64)
	all := b.metric(21, "  with the database's pages", inFleet, "MiB", lessIsBetter)
	return b.turns(first.Name, inFleet, []string{stowage}, func(who string, _ int) error {
		s := &server{name: stowage, socket: filepath.Join(b.tmpfs, "view.sock"), log: filepath.Join(b.tmpfs, "view.log")}
		s.argv = []string{b.stowage, "serve", "--config", config, "--address", s.socket}
		os.Remove(s.socket)
		defer s.stop()
		took, err := b.firstAnswer(s, some)
		if err != nil {
			return err
		}
		s.settle(b.ctx)
		first.add(who, took.Seconds())
		anon.add(who, float64(s.memory("RssAnon"))/mib)
		all.add(who, float64(s.memory("VmRSS"))/mib)
		return nil
	})
}

// firstAnswer starts a server, and asks it for a blob that it has.
func (b *bench) firstAnswer(s *server, some digest.Digest) (time.Duration, error) {
	start := time.Now()
	if err := s.start(b.ctx); err != nil {
		return 0, err
	}
	cs, err := s.store()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	_, err = cs.Info(ctx, some)
	return time.Since(start), err
}
