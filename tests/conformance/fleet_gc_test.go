package conformance

import (
	"encoding/json"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
)

// A bucket that asks for less, for longer than a request is tried again, makes a collection slower; what goes, and
// what is said of it, is the same. And what has gone can be had again when it is over.
func TestFleetCollectsFromBusyBucket(t *testing.T) {
	const kept, removed = 10, 60
	b := newBucket(t)
	// What may be under way still after such a collection is waited for for a quarter of the grace.
	one := b.node(t, "STOWAGE_REMOTE_CLAIM_GRACE=40s")
	c := one.client(t)
	var all [][]byte
	for i := int64(0); i < kept+removed; i++ {
		all = append(all, noise(i, 100))
		mustPut(t, c, all[i])
	}
	one.flush(t)
	for _, data := range all[kept:] {
		_, err := c.Delete(ctxFor(t), &api.DeleteContentRequest{Digest: sum(data)})
		noErr(t, err)
	}
	gc := func(args ...string) (r struct {
		Objects, Held, Young, Marked, Removed, Silent int
		ToGo                                          int               `json:"to_go"`
		WouldRemove                                   []json.RawMessage `json:"would_remove"`
	}) {
		t.Helper()
		out, err := one.run(t, append([]string{"gc", "--format", "json", "--grace", "1s", "--wait", "30s"}, args...)...)
		noErr(t, err)
		noErr(t, json.Unmarshal([]byte(out), &r))
		return r
	}
	eventually(t, 30*time.Second, "all that was deleted is told, and old", func() (bool, string) {
		r := gc("--dry-run")
		return r.ToGo == removed && len(r.WouldRemove) == removed && r.Marked == 0, "" // what is young or held is not
	})
	// 32 at once, and more attempts than each of them has.
	b.rules(t, `{"method": "DELETE", "target": "/blobs/", "count": 110, `+answer(503, "SlowDown")+`}`)
	if r := gc(); r.Objects != kept+removed || r.Held != kept || r.Marked != removed || r.Removed != removed || r.Silent != 0 {
		t.Errorf("%+v", r)
	}
	b.allApplied(t)
	b.rules(t, `[]`)
	left := b.has(t)
	for i, data := range all {
		if left[sum(data)] != (i < kept) {
			t.Errorf("blob %d in the bucket: %v", i, left[sum(data)])
		}
	}
	if r := gc(); r.Marked != 0 || r.Removed != 0 {
		t.Errorf("the second one: %+v", r)
	}
	again := all[kept]
	_, err := put(ctxFor(t), c, pullRef(1, sum(again)), again, nil)
	noErr(t, err)
	_, err = one.run(t, "flush", "--timeout", slow(100*time.Second).String())
	noErr(t, err)
	if !b.has(t)[digest.Digest(sum(again))] {
		t.Error("it is not in the bucket again")
	}
}
