package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
	"stowage/s3/sigv4"
)

// Rows 17 to 21: nodes of a fleet, each with its local bytes before the one bucket. The gateway is on this machine
// too, and takes its part of the processors.
const plainHEAD = "HEAD"

// pullsOfFleet is rows 17 and 18, by the script of row 11.
func (b *bench) pullsOfFleet() error {
	u, err := b.bucket()
	if err != nil {
		return err
	}
	// The script adds the prefix, another one each time.
	config := filepath.Join(b.tmpfs, "fleet.toml")
	if err := os.WriteFile(config, []byte(u.tables(tiered, u.gateway.Endpoint)), 0o600); err != nil {
		return err
	}
	for _, where := range b.placesFor(17) {
		for _, img := range imagesFor(where) {
			of := fmt.Sprintf(", %d MB%s, ", b.imageSize(), img.says)
			second := b.metric(17, "ctr images pull"+of+"second node", where, "s", lessIsBetter).
				targetHere(builtIn, 1.1)
			first := b.metric(18, "ctr images pull"+of+"first node", where, "s", lessIsBetter).
				targetHere(localStore, 1.1)
			flush := b.metric(18, "  until the bucket has all"+img.says, where, "s", lessIsBetter)
			into := map[string]*metric{"first": first, "flush": flush, "second": second}
			if err := b.runEndToEnd(where, img, into, config, u.gateway.Endpoint, bucketName); err != nil {
				return err
			}
			second.Values[localStore] = first.Values[localStore] // its rounds are the same
		}
	}
	return nil
}

// --- Info ---

// infosOfNobodys is row 19: Info on blobs that are neither here nor in the bucket.
func (b *bench) infosOfNobodys() error {
	u, err := b.bucket()
	if err != nil {
		return err
	}
	node, err := u.node("infos", filepath.Join(b.tmpfs, "infos"), u.gateway.Endpoint)
	if err != nil {
		return err
	}
	defer node.server.stop()
	name := "Info on what nobody has"
	first := b.metric(19, name, inBucket, "ms", lessIsBetter)
	beyond := b.metric(19, "  beyond a HEAD", inBucket, "ms", lessIsBetter).targetHere("", 1)
	again := b.metric(19, "  asked again", inBucket, "ms", lessIsBetter).targetHere("", 1)
	slow := b.metric(19, "  asked again, p99", inBucket, "ms", lessIsBetter)
	err = b.turns(name, inBucket, []string{stowage}, func(who string, _ int) error {
		var heads, infos, agains []float64
		for i := 0; i < b.infosEach(); i++ {
			d := b.source.blob(kib).digest
			took, err := u.head(d)
			if err != nil {
				return err
			}
			heads = append(heads, millis(took))
			if took, err = b.notThere(node.store, d); err != nil {
				return err
			}
			infos = append(infos, millis(took))
			if took, err = b.notThere(node.store, d); err != nil {
				return err
			}
			agains = append(agains, millis(took))
		}
		first.add(who, median(infos))
		first.add(plainHEAD, median(heads))
		beyond.add(who, median(infos)-median(heads))
		again.add(who, median(agains))
		slow.add(who, percentile(agains, 99))
		return nil
	})
	if err != nil {
		return err
	}
	return b.infosWithoutServer(u)
}

func (b *bench) infosEach() int {
	if b.quick {
		return 200
	}
	return 500
}

// notThere is how long it takes to be told so.
func (b *bench) notThere(cs content.Store, d digest.Digest) (time.Duration, error) {
	start := time.Now()
	_, err := cs.Info(b.ctx, d)
	took := time.Since(start)
	if !errdefs.IsNotFound(err) {
		return 0, fmt.Errorf("Info on %s, which nobody has: %v", d, err)
	}
	return took, nil
}

// head is how long a HEAD takes on the connection of the one before it, without its signature.
func (u *bucket) head(d digest.Digest) (time.Duration, error) {
	g := u.gateway
	req, err := http.NewRequestWithContext(u.b.ctx, "HEAD", g.Endpoint+"/"+bucketName+"/"+keyOf("head", d), nil)
	if err != nil {
		return 0, err
	}
	by := sigv4.Credentials{AccessKey: g.AccessKey, SecretKey: g.SecretKey}
	if err := sigv4.Sign(req, by, g.Region, time.Now(), sigv4.Unsigned); err != nil {
		return 0, err
	}
	start := time.Now()
	resp, err := direct.Do(req)
	if err != nil {
		return 0, err
	}
	took := time.Since(start)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		return 0, fmt.Errorf("HEAD of an object that is not there: %s", resp.Status)
	}
	return took, nil
}

// direct asks no proxy that the user's environment names.
var direct = &http.Client{Transport: &http.Transport{}}

// infosWithoutServer asks while the server takes connections and answers nothing, once the node has noticed.
func (b *bench) infosWithoutServer(u *bucket) error {
	url, err := u.proxy(noLatency)
	if err != nil {
		return err
	}
	node, err := u.node("away", filepath.Join(b.tmpfs, "away"), url)
	if err != nil {
		return err
	}
	defer node.server.stop()
	if _, err := b.notThere(node.store, b.source.blob(kib).digest); err != nil { // the node is at work
		return err
	}
	if err := u.proxies[len(u.proxies)-1].Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	if err := b.noticed(node); err != nil {
		return err
	}
	name := "  with the server away"
	mid := b.metric(19, name, inBucket, "ms", lessIsBetter).targetHere("", 1)
	slow := b.metric(19, name+", p99", inBucket, "ms", lessIsBetter)
	return b.turns("Info"+name[1:], inBucket, []string{stowage}, func(who string, _ int) error {
		var all []float64
		for i := 0; i < b.infosEach(); i++ {
			took, err := b.notThere(node.store, b.source.blob(kib).digest)
			if err != nil {
				return err
			}
			all = append(all, millis(took))
		}
		mid.add(who, median(all))
		slow.add(who, percentile(all, 99))
		if reachable, err := node.reachable(b.ctx); err != nil || reachable {
			return fmt.Errorf("the node has not given up its server: reachable %v, %v", reachable, err)
		}
		return nil
	})
}

// noticed asks until the node has given its server up.
func (b *bench) noticed(node *remote) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if reachable, err := node.reachable(b.ctx); err != nil || !reachable {
			return err
		}
		if _, err := b.notThere(node.store, b.source.blob(kib).digest); err != nil {
			return err
		}
	}
	return fmt.Errorf("for a minute the node has not noticed that its server does not answer")
}

func (r *remote) reachable(ctx context.Context) (bool, error) {
	out, err := r.tell(ctx, "status", "--format", "json")
	if err != nil {
		return false, err
	}
	var status struct{ Behind []struct{ Reachable bool } }
	if err := json.Unmarshal(out, &status); err != nil || len(status.Behind) != 1 {
		return false, fmt.Errorf("stowage status says %q: %v", out, err)
	}
	return status.Behind[0].Reachable, nil
}

// --- COMMIT ---

// commitsOfFleet is row 20: what row 9 measures, with and without a bucket. What was committed before is being
// uploaded meanwhile.
func (b *bench) commitsOfFleet() error {
	u, err := b.bucket()
	if err != nil {
		return err
	}
	p, err := b.place(onDisk)
	if err != nil {
		return err
	}
	node, err := u.node("commits", filepath.Join(p.dir, "commits"), u.gateway.Endpoint)
	if err != nil {
		return err
	}
	defer node.server.stop()
	for _, size := range []int64{4 * kib, 64 * mib, b.largeSize()} {
		held := b.metric(20, "COMMIT of "+sizeName(size), onDisk, "ms", lessIsBetter).targetHere(localStore, 1.1)
		err := b.turns(held.Name+" with a bucket", onDisk, []string{stowage, localStore}, func(who string, _ int) error {
			cs := p.stores[stowage]
			if who == stowage {
				cs = node.store
			}
			blobs, took, err := b.commitsOf(cs, size)
			if err != nil {
				return err
			}
			held.add(who, took)
			if who == stowage {
				if err := u.drop(node, blobs); err != nil {
					return err
				}
			}
			return b.finish(&turn{who: who, store: cs}, blobs...)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// drop proves that a node's blobs have come to the bucket, and takes them out of it.
func (u *bucket) drop(node *remote, blobs []*blob) error {
	if _, err := node.tell(u.b.ctx, "flush", "--timeout", "2m"); err != nil {
		return err
	}
	for _, blob := range blobs {
		key := keyOf(node.prefix, blob.digest)
		if _, err := u.curl(key, "--head", "--output", "/dev/null"); err != nil {
			return fmt.Errorf("%s is not in the bucket: %w", key, err)
		}
		if err := u.curlDelete(key); err != nil {
			return err
		}
	}
	return nil
}

// --- many blobs ---

// manyOfFleet is row 21: a node that shows many blobs, none of which is in the bucket yet, so that it also uploads
// while it is measured.
func (b *bench) manyOfFleet() error {
	n := 100000
	if b.million {
		n = 1000000
	}
	u, err := b.bucket()
	if err != nil {
		return err
	}
	root := filepath.Join(b.tmpfs, "many-fleet")
	defer os.RemoveAll(root)
	some, err := b.makeMany(root, n)
	if err != nil {
		return err
	}
	if err := b.adoptMany(onTmpfs, root, n); err != nil {
		return err
	}
	name := thousands(n) + " blobs"
	first := b.metric(21, "start to first answer, "+name, onTmpfs, "s", lessIsBetter).targetHere("", 0.2)
	// What the kernel cannot take back; of the rest nearly all is the database's file, mapped and read once.
	anon := b.metric(21, "peak of anonymous memory, "+name, onTmpfs, "MiB", lessIsBetter).targetHere("", 64)
	peak := b.metric(21, "  with the database's pages", onTmpfs, "MiB", lessIsBetter)
	return b.turns(name+" with a bucket", onTmpfs, []string{stowage}, func(who string, _ int) error {
		node, err := u.remote("many", root, tiered, u.gateway.Endpoint)
		if err != nil {
			return err
		}
		defer node.server.stop()
		cs, took, err := b.firstAnswer(node.server, some)
		if err != nil {
			return err
		}
		first.add(who, took.Seconds())
		ctx, cancel := context.WithTimeout(b.ctx, manyFor)
		defer cancel()
		anon.add(who, peakOf(ctx, node.server, "RssAnon")/mib)
		peak.add(who, float64(node.server.memory("VmHWM"))/mib)
		if got, err := b.count(cs); err != nil || got != n {
			return fmt.Errorf("%d of %d blobs are listed: %v", got, n, err)
		}
		return nil
	})
}

// manyFor is how long a node is watched after its first answer.
const manyFor = 3 * time.Second
