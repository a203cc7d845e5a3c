package conformance

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"stowage/s3/strict"
)

// What keeps a node of a fleet from its bucket must not keep it from serving what it has.

// servesAlone demands that the daemon takes blobs and gives them back, and says once that the bucket is away, with
// `why` in the reason.
func (d *daemon) servesAlone(t *testing.T, why string) {
	t.Helper()
	d.reachable(t, false)
	c := d.client(t)
	for i := 0; i < 12; i++ { // more than are counted
		data := noise(int64(i), smallSize)
		dg := mustPut(t, c, data)
		if !bytes.Equal(mustGet(t, c, dg), data) {
			t.Fatal("other bytes")
		}
		absentFrom(t, c, sum(noise(int64(1000+i), 10)))
	}
	d.mustServe(t)
	if e := d.status(t).Behind[0].Error; !strings.Contains(e, why) {
		t.Errorf("the reason is %q, without %q", e, why)
	}
	log, err := os.ReadFile(d.log)
	noErr(t, err)
	if n := bytes.Count(log, []byte("storage is away")); n != 1 {
		t.Errorf("it is said %d times that the bucket is away:\n%s", n, d.logTail())
	}
}

// The endpoint's name is not known, at the start and for as long as the daemon runs.
func TestFleetUnknownName(t *testing.T) {
	b := newBucket(t)
	d := b.node(t, "STOWAGE_REMOTE_S3_ENDPOINT=http://no-such-host.invalid:80")
	begin := time.Now()
	d.servesAlone(t, "no-such-host.invalid")
	for time.Since(begin) < 3*time.Second { // attempts, and what was committed
		d.mustServe(t)
		time.Sleep(100 * time.Millisecond)
	}
	out, err := d.run(t, "check")
	if err == nil || !strings.Contains(out+err.Error(), "no-such-host.invalid") {
		t.Errorf("stowage check: %v: %s", err, out)
	}
}

// Keys that come late, or are empty for a while, keep a node from its bucket and from nothing else; when they are
// there, nobody needs to do anything.
func TestFleetKeysComeLate(t *testing.T) {
	b := newBucket(t)
	dir := t.TempDir()
	access, secret := filepath.Join(dir, "access"), filepath.Join(dir, "secret")
	noErr(t, os.WriteFile(access, []byte(strict.AccessKey+"\n"), 0o600))
	direct := bucketEnvironment(b.url,
		"STOWAGE_REMOTE_S3_ACCESS_KEY_FILE="+access, "STOWAGE_REMOTE_S3_SECRET_KEY_FILE="+secret)
	tiered := append(direct[:len(direct):len(direct)],
		"STOWAGE_REMOTE_MODE=tiered", "STOWAGE_REMOTE_CLAIM_INTERVAL=200ms", "STOWAGE_LOCAL_MIN_FREE=0")
	d := startWith(t, t.TempDir(), tiered)
	d.servesAlone(t, secret+": No such file or directory")
	noErr(t, os.WriteFile(secret, []byte(strict.SecretKey+"\n"), 0o600))
	d.reachable(t, true)
	d.flush(t)
	if have := b.has(t); len(have) != 12 {
		t.Errorf("the bucket has %d blobs, not 12", len(have))
	}
	noErr(t, os.WriteFile(secret, nil, 0o600)) // somebody writes another one, and a node starts meanwhile
	other := startWith(t, t.TempDir(), tiered)
	other.servesAlone(t, secret+" is empty")

	// A store that has nothing else says it at once.
	if d, err := launchWith(t.TempDir(), direct); err == nil {
		d.kill()
		d.remove()
		t.Error("a store without local bytes starts without its keys")
	} else if !strings.Contains(err.Error(), secret+" is empty") {
		t.Error(err)
	}
}

// Nothing is known of a bucket that takes requests and answers none, until the probe knows it; which is long before
// a request fails.
func TestFleetSilentFromTheStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	noErr(t, err)
	t.Cleanup(func() { l.Close() })
	d := startWith(t, t.TempDir(), bucketEnvironment("http://"+l.Addr().String(),
		"STOWAGE_REMOTE_MODE=tiered",
		"STOWAGE_REMOTE_S3_ACCESS_KEY="+strict.AccessKey,
		"STOWAGE_REMOTE_S3_SECRET_KEY="+strict.SecretKey,
		"STOWAGE_REMOTE_S3_FIRST_BYTE_TIMEOUT=10m",
		"STOWAGE_LOCAL_MIN_FREE=0"))
	if s := d.status(t); s.Behind[0].Reachable != nil {
		t.Errorf("it has not answered yet, and is reachable: %v", *s.Behind[0].Reachable)
	}
	text, err := d.run(t, "status")
	noErr(t, err)
	if !strings.Contains(text, "has not answered yet") {
		t.Errorf("status: %s", text)
	}
	d.servesAlone(t, "no answer within 10.0 s")
}

// A bucket that begins to hang is away though no request has failed yet.
func TestFleetFallsSilent(t *testing.T) {
	b := newBucket(t)
	d := b.node(t, "STOWAGE_REMOTE_S3_FIRST_BYTE_TIMEOUT=10m")
	d.reachable(t, true)
	b.rules(t, `{"hang_request": 0}`)
	d.reachable(t, false) // the node asks by itself what is being collected
	b.rules(t, `[]`)
	d.reachable(t, true)
	data := noise(1, smallSize)
	mustPut(t, d.client(t), data)
	d.flush(t)
	if have := b.has(t); !have[sum(data)] {
		t.Errorf("the bucket has %v", have)
	}
}
