package conformance

import (
	"os"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"

	"stowage/s3/faults"
	"stowage/s3/gateway"
	"stowage/s3/sigv4"
)

// startGateway is a Ceph gateway whose data outlive it. What it needs is not everywhere.
func startGateway(t *testing.T) *gateway.Gateway {
	t.Helper()
	top := "." // where the tests are run from; `go test` runs them here
	if _, err := os.Stat("tests/s3/rgw.sh"); err != nil {
		top = "../.."
	}
	if _, err := os.Stat(top + "/build/ceph/bin/radosgw"); err != nil {
		t.Skip("there is no Ceph in build/ceph: scripts/deps.sh test brings it")
	}
	g, err := gateway.Start(top+"/tests/s3/rgw.sh", "--bluestore", "--bucket", bucketName)
	noErr(t, err)
	t.Cleanup(func() { g.Stop() })
	return g
}

// The server is killed in the middle of uploads, with all that it has not written, and the daemon with it every
// other time. Nothing that was acknowledged is lost, and what was not can be ended once the server is back.
func TestS3GatewayKilled(t *testing.T) {
	t.Parallel()
	rng := crashSeed(t)
	g := startGateway(t)
	proxy := faults.New(g.Endpoint)
	url := serveHere(t, proxy, proxy.Listener)
	ask(t, proxy.Control(), "PUT", "/rules", `{"method": "PUT", "target": "partNumber=", "delay_ms": 60}`, nil)
	a := account{g.Endpoint, g.Region, sigv4.Credentials{AccessKey: g.AccessKey, SecretKey: g.SecretKey}}
	others := a.begin(t, bucketPrefix+"/blobs/sha256/"+absent.Hex())
	d := startWith(t, t.TempDir(), bucketEnvironment(url, "STOWAGE_REMOTE_S3_ACCESS_KEY="+g.AccessKey,
		"STOWAGE_REMOTE_S3_SECRET_KEY="+g.SecretKey, "STOWAGE_REMOTE_S3_FIRST_BYTE_TIMEOUT=20s"))
	for round := crashRounds(t, 60)/20 + 1; round > 0; round-- {
		both := round%2 == 0
		c, killed := d.client(t), make(chan error)
		go func(after time.Duration) {
			time.Sleep(after)
			err := g.Kill()
			if both {
				d.kill()
			}
			if err == nil {
				time.Sleep(500 * time.Millisecond)
				err = g.Resume()
			}
			killed <- err
		}(slow(time.Duration(100+rng.Intn(2400)) * time.Millisecond))
		all := pulls(c, rng, 6)
		noErr(t, <-killed)
		if both {
			d.again(t)
		}
		a.soundBucket(t)
		settle(t, d, all)
		for ref := range mustStatuses(t, d.client(t)) {
			_, err := d.client(t).Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
			noErr(t, err)
		}
		a.dropUnheard(t)
		a.onlyUploads(t, others)
		acked := 0
		for _, p := range all {
			if p.acked {
				acked++
			}
		}
		t.Logf("round %d: %d of %d were acknowledged; the daemon was killed too: %v", round, acked, len(all), both)
	}
}
