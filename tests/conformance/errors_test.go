package conformance

import (
	"context"
	"fmt"
	"math/rand"
	"strings"
	"testing"

	api "github.com/containerd/containerd/api/services/content/v1"
	ptypes "github.com/gogo/protobuf/types"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What no strict parser of digests takes.
var badDigests = map[string]digest.Digest{
	"empty":         "",
	"no hex":        "sha256:",
	"no algorithm":  digest.Digest(strings.Repeat("a", 64)),
	"short":         digest.Digest("sha256:" + strings.Repeat("a", 63)),
	"long":          digest.Digest("sha256:" + strings.Repeat("a", 65)),
	"upper case":    digest.Digest("sha256:" + strings.Repeat("A", 64)),
	"no hex digit":  digest.Digest("sha256:" + strings.Repeat("a", 63) + "g"),
	"md5":           digest.Digest("md5:" + strings.Repeat("a", 32)),
	"sha512 short":  digest.Digest("sha512:" + strings.Repeat("a", 64)),
	"sha384 long":   digest.Digest("sha384:" + strings.Repeat("a", 128)),
	"upper name":    digest.Digest("SHA256:" + strings.Repeat("a", 64)),
	"space before":  digest.Digest(" sha256:" + strings.Repeat("a", 64)),
	"newline after": digest.Digest("sha256:" + strings.Repeat("a", 64) + "\n"),
	"nul inside":    digest.Digest("sha256:" + strings.Repeat("a", 32) + "\x00" + strings.Repeat("a", 31)),
	"path":          digest.Digest("sha256:../../" + strings.Repeat("a", 58)),
	"path alone":    "../../../../etc/passwd",
	"huge":          digest.Digest("sha256:" + strings.Repeat("a", 100000)),
}

// digestCalls are the unary uses of a digest.
func digestCalls(ctx context.Context, c api.ContentClient) map[string]func(digest.Digest) error {
	return map[string]func(digest.Digest) error{
		"Info": func(d digest.Digest) error {
			_, err := c.Info(ctx, &api.InfoRequest{Digest: d})
			return err
		},
		"Update": func(d digest.Digest) error {
			_, err := c.Update(ctx, &api.UpdateRequest{Info: api.Info{Digest: d}})
			return err
		},
		"Delete": func(d digest.Digest) error {
			_, err := c.Delete(ctx, &api.DeleteContentRequest{Digest: d})
			return err
		},
		"Read": func(d digest.Digest) error {
			_, err := get(ctx, c, d, 0, 0)
			return err
		},
	}
}

func TestBadDigests(t *testing.T) {
	d := start(t)
	c := d.client(t)
	calls := digestCalls(ctxFor(t), c)
	for what, bad := range badDigests {
		for method, call := range calls {
			t.Run(method+"/"+what, func(t *testing.T) { wantCode(t, call(bad), codes.InvalidArgument) })
		}
		if bad == "" {
			continue // no expectation
		}
		t.Run("Write/"+what, func(t *testing.T) {
			w := openStream(t, c)
			_, err := w.send(&api.WriteContentRequest{Ref: "bad", Expected: bad})
			wantCode(t, err, codes.InvalidArgument)
		})
		t.Run("Commit/"+what, func(t *testing.T) {
			w := open(t, c, "bad-later-"+what)
			w.write([]byte("x"), 0)
			_, err := w.send(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: 1, Expected: bad})
			wantCode(t, err, codes.InvalidArgument)
		})
	}
	d.mustServe(t)
}

func TestUnknownBlobs(t *testing.T) {
	c := start(t).client(t)
	for method, call := range digestCalls(ctxFor(t), c) {
		for _, d := range []digest.Digest{absent, digest.SHA384.FromString("nobody"), digest.SHA512.FromString("nobody")} {
			t.Run(method+"/"+d.Algorithm().String(), func(t *testing.T) {
				wantCode(t, call(d), codes.NotFound, d.String())
			})
		}
	}
}

func TestRefErrors(t *testing.T) {
	d := start(t)
	c := d.client(t)
	ctx := ctxFor(t)
	status_ := func(ref string) error {
		_, err := c.Status(ctx, &api.StatusRequest{Ref: ref})
		return err
	}
	abort := func(ref string) error {
		_, err := c.Abort(ctx, &api.AbortRequest{Ref: ref})
		return err
	}
	write := func(ref string) error {
		_, err := openStream(t, c).send(&api.WriteContentRequest{Ref: ref})
		return err
	}
	t.Run("Status/empty", func(t *testing.T) { wantCode(t, status_(""), codes.InvalidArgument) })
	t.Run("Abort/empty", func(t *testing.T) { wantCode(t, abort(""), codes.InvalidArgument) })
	t.Run("Write/empty", func(t *testing.T) { wantCode(t, write(""), codes.InvalidArgument) })
	t.Run("Write/empty commit", func(t *testing.T) {
		_, err := openStream(t, c).send(&api.WriteContentRequest{Action: api.WriteActionCommit, Data: []byte("x")})
		wantCode(t, err, codes.InvalidArgument)
	})
	t.Run("Status/unknown", func(t *testing.T) { wantCode(t, status_("no/such:ref"), codes.NotFound, "no/such:ref") })
	t.Run("Abort/unknown", func(t *testing.T) { wantCode(t, abort("no/such:ref"), codes.NotFound, "no/such:ref") })
	t.Run("Write/unknown action", func(t *testing.T) {
		w := open(t, c, "unknown-action")
		_, err := w.send(&api.WriteContentRequest{Action: 7})
		if err != nil {
			wantCode(t, err, codes.InvalidArgument)
		}
	})
	t.Run("too long", func(t *testing.T) {
		// More than any cap that makes sense: refused or served, but answered.
		err := write(strings.Repeat("r", 1<<20))
		if err != nil {
			wantCode(t, err, codes.InvalidArgument)
		}
	})
	d.mustServe(t)
}

func TestRefInUse(t *testing.T) {
	d := start(t)
	c := d.client(t)
	ref := "default/7/in-use"
	w := open(t, c, ref)
	for _, other := range []api.ContentClient{c, d.client(t)} {
		_, err := openStream(t, other).send(&api.WriteContentRequest{Ref: ref})
		wantCode(t, err, codes.Unavailable, ref)
	}
	w.write([]byte("goes on"), 0)
	w.park()
	open(t, c, ref)
}

// A client that half-closes and comes back at once must not be turned away: containerd's own suite and
// containerd itself close a writer and open the next without waiting for the stream's end.
func TestReopenAfterCloseSend(t *testing.T) {
	c := start(t).client(t)
	for i := 0; i < 300; i++ {
		w := open(t, c, "again")
		if i%2 == 0 {
			w.write([]byte("x"), 0)
		}
		noErr(t, w.stream.CloseSend())
	}
}

func TestFailedPrecondition(t *testing.T) {
	c := start(t).client(t)
	data := noise(1, 3000)
	cases := map[string]*api.WriteContentRequest{
		"size too small":  {Total: 2999},
		"size too large":  {Total: 3001},
		"size huge":       {Total: 1<<63 - 1},
		"digest":          {Expected: absent},
		"sha512":          {Expected: digest.SHA512.FromString("other")},
		"sha384":          {Expected: digest.SHA384.FromString("other")},
		"digest not size": {Total: 3000, Expected: absent},
	}
	for what, m := range cases {
		t.Run(what, func(t *testing.T) {
			ref := "refused " + what
			w := open(t, c, ref)
			w.write(data, 0)
			m.Action, m.Offset = api.WriteActionCommit, 3000
			_, err := w.send(m)
			wantCode(t, err, codes.FailedPrecondition)

			// The bytes stay parked for another try.
			w = open(t, c, ref)
			if r := w.stat(); r.Offset != 3000 || r.Digest != sum(data) {
				t.Fatalf("after a refused commit the ref has %d bytes of %s", r.Offset, r.Digest)
			}
			_, err = c.Info(ctxFor(t), &api.InfoRequest{Digest: sum(data)})
			wantCode(t, err, codes.NotFound)
			_, err = c.Abort(ctxFor(t), &api.AbortRequest{Ref: ref})
			noErr(t, err)
		})
	}
	t.Run("then well", func(t *testing.T) {
		w := open(t, c, "refused once")
		w.write(data, 0)
		_, err := w.send(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: 3000, Expected: absent})
		wantCode(t, err, codes.FailedPrecondition)
		w = open(t, c, "refused once")
		w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: 3000, Expected: sum(data)})
		w.ended()
	})
	t.Run("declared total", func(t *testing.T) {
		w := openStream(t, c)
		w.must(&api.WriteContentRequest{Ref: "declared", Total: 10})
		w.write([]byte("five!"), 0)
		_, err := w.send(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: 5})
		wantCode(t, err, codes.FailedPrecondition)
	})
}

func TestAlreadyExists(t *testing.T) {
	c := start(t).client(t)
	ctx := ctxFor(t)
	data := noise(2, 5000)
	d := mustPut(t, c, data)
	gone := func(t *testing.T, ref string) {
		t.Helper()
		eventuallyCode(t, codes.NotFound, func() error {
			_, err := c.Status(ctx, &api.StatusRequest{Ref: ref})
			return err
		})
	}
	t.Run("on opening", func(t *testing.T) {
		_, err := openStream(t, c).send(&api.WriteContentRequest{Ref: "e1", Expected: d})
		wantCode(t, err, codes.AlreadyExists, d.String())
		gone(t, "e1")
	})
	t.Run("on opening a parked ref", func(t *testing.T) {
		w := open(t, c, "e2")
		w.write(data[:100], 0)
		w.park()
		_, err := openStream(t, c).send(&api.WriteContentRequest{Ref: "e2", Expected: d})
		wantCode(t, err, codes.AlreadyExists, d.String())
	})
	t.Run("on a later message", func(t *testing.T) {
		w := open(t, c, "e3")
		w.write(data[:100], 0)
		_, err := w.send(&api.WriteContentRequest{Action: api.WriteActionWrite, Offset: 100, Data: data[100:], Expected: d})
		wantCode(t, err, codes.AlreadyExists, d.String())
		gone(t, "e3")
	})
	for what, expected := range map[string]digest.Digest{"expected": d, "unsaid": ""} {
		t.Run("on commit, digest "+what, func(t *testing.T) {
			ref := "e4" + what
			w := open(t, c, ref)
			w.write(data, 0)
			// What containerd's metadata layer does: it takes the digest from here if COMMIT says so.
			if r := w.stat(); r.Digest != d {
				t.Fatalf("STAT before COMMIT says %s, want %s", r.Digest, d)
			}
			_, err := w.send(&api.WriteContentRequest{Action: api.WriteActionCommit, Offset: 5000, Total: 5000, Expected: expected})
			wantCode(t, err, codes.AlreadyExists, d.String())
			gone(t, ref)
		})
	}
	if got := mustGet(t, c, d); sum(got) != d {
		t.Fatal("the blob has changed")
	}
}

// eventuallyCode is for what follows a stream's end on another stream.
func eventuallyCode(t *testing.T, want codes.Code, call func() error) {
	t.Helper()
	eventually(t, 2e9, "the call", func() (bool, string) {
		err := call()
		return status.Code(err) == want, fmt.Sprintf("%v, want %v", err, want)
	})
}

func TestWriteOffsets(t *testing.T) {
	c := start(t).client(t)
	for i, off := range []int64{1, 9, 11, 1 << 40, 1<<63 - 1, -1, -1 << 63} {
		for _, action := range []api.WriteAction{api.WriteActionWrite, api.WriteActionCommit} {
			t.Run(fmt.Sprintf("%v@%d", action, off), func(t *testing.T) {
				ref := fmt.Sprintf("off-%d-%d", i, action)
				w := open(t, c, ref)
				w.write([]byte("ten bytes!"), 0)
				_, err := w.send(&api.WriteContentRequest{Action: action, Offset: off, Data: []byte("x")})
				if off < 0 {
					// containerd's server takes it for no offset at all; OUT_OF_RANGE is as good.
					switch status.Code(err) {
					case codes.OK, codes.OutOfRange, codes.InvalidArgument, codes.AlreadyExists:
					default:
						t.Fatal(err)
					}
					return
				}
				wantCode(t, err, codes.OutOfRange)
				if r := open(t, c, ref).stat(); r.Offset != 10 || r.Digest != sum([]byte("ten bytes!")) {
					t.Fatalf("the refused message has changed the ingest: %d bytes of %s", r.Offset, r.Digest)
				}
			})
		}
	}
}

func TestLabelLimits(t *testing.T) {
	c := start(t).client(t)
	ctx := ctxFor(t)
	d := mustPut(t, c, []byte("labelled"))
	fits := map[string]string{"key": strings.Repeat("v", 4096-3)}
	over := map[string]string{"key": strings.Repeat("v", 4096-2)}
	t.Run("Update fits", func(t *testing.T) {
		r, err := c.Update(ctx, &api.UpdateRequest{Info: api.Info{Digest: d, Labels: fits}})
		noErr(t, err)
		if len(r.Info.Labels["key"]) != 4093 {
			t.Fatal("the label is not whole")
		}
	})
	t.Run("Update over", func(t *testing.T) {
		_, err := c.Update(ctx, &api.UpdateRequest{Info: api.Info{Digest: d, Labels: over}})
		wantCode(t, err, codes.InvalidArgument)
	})
	t.Run("Update over by path", func(t *testing.T) {
		_, err := c.Update(ctx, &api.UpdateRequest{
			Info: api.Info{Digest: d, Labels: over}, UpdateMask: &ptypes.FieldMask{Paths: []string{"labels.key"}},
		})
		wantCode(t, err, codes.InvalidArgument)
	})
	t.Run("nothing has changed", func(t *testing.T) {
		r, err := c.Info(ctx, &api.InfoRequest{Digest: d})
		noErr(t, err)
		if r.Info.Labels["key"] != fits["key"] {
			t.Fatal("a refused update has changed the labels")
		}
	})
	t.Run("Commit over", func(t *testing.T) {
		w := open(t, c, "labels-over")
		_, err := w.send(&api.WriteContentRequest{Action: api.WriteActionCommit, Data: []byte("l"), Labels: over})
		wantCode(t, err, codes.InvalidArgument)
	})
	t.Run("Commit fits", func(t *testing.T) {
		w := open(t, c, "labels-fit")
		r := w.must(&api.WriteContentRequest{Action: api.WriteActionCommit, Data: []byte("m"), Labels: fits})
		i, err := c.Info(ctx, &api.InfoRequest{Digest: r.Digest})
		noErr(t, err)
		if i.Info.Labels["key"] != fits["key"] {
			t.Fatal("the label is not whole")
		}
	})
}

func TestUnknownMethods(t *testing.T) {
	d := start(t)
	conn := d.conn(t)
	for _, m := range []string{
		"/containerd.services.content.v1.Content/Nothing",
		"/containerd.services.content.v1.Nothing/Info",
		"/containerd.services.images.v1.Images/List",
		"/grpc.health.v1.Health/Nothing",
	} {
		err := conn.Invoke(ctxFor(t), m, &api.InfoRequest{}, &api.InfoResponse{})
		wantCode(t, err, codes.Unimplemented)
	}
	s, err := conn.NewStream(ctxFor(t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
		"/containerd.services.content.v1.Content/NoStream")
	noErr(t, err)
	wantCode(t, s.RecvMsg(&api.InfoResponse{}), codes.Unimplemented)
	d.mustServe(t)
}

// raw sends bytes as they are, as the message of a call.
type raw struct{}

func (raw) Marshal(v interface{}) ([]byte, error) {
	if b, ok := v.(*[]byte); ok {
		return *b, nil
	}
	return nil, fmt.Errorf("%T is no raw message", v)
}
func (raw) Unmarshal(b []byte, v interface{}) error {
	*v.(*[]byte) = append([]byte(nil), b...)
	return nil
}
func (raw) Name() string { return "proto" }

// Messages that are no protobuf are refused, each alone, and nothing else suffers.
func TestUndecodableMessages(t *testing.T) {
	d := start(t)
	conn := d.conn(t)
	rng := rand.New(rand.NewSource(5))
	garbage := [][]byte{
		{0xff}, {0x0a}, {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f}, {0x0a, 0x05, 'a'}, {0x0b}, {0x0c}, {0x07, 1},
		{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01},
		{0x32, 0x80, 0x80, 0x80, 0x80, 0x08}, // `data` of 2 GiB that does not follow
	}
	for i := 0; i < 100; i++ {
		b := make([]byte, rng.Intn(200))
		rng.Read(b)
		garbage = append(garbage, b)
	}
	for _, m := range []string{"Info", "Update", "Delete", "Status", "ListStatuses", "Abort"} {
		t.Run(m, func(t *testing.T) {
			for _, g := range garbage {
				var out []byte
				err := conn.Invoke(ctxFor(t), "/containerd.services.content.v1.Content/"+m, &g, &out, grpc.ForceCodec(raw{}))
				switch status.Code(err) {
				case codes.OK, codes.InvalidArgument, codes.Internal, codes.NotFound:
				default:
					t.Fatalf("% x: %v", g, err)
				}
			}
		})
	}
	for _, m := range []string{"Read", "List", "Write"} {
		t.Run(m, func(t *testing.T) {
			for _, g := range garbage {
				s, err := conn.NewStream(ctxFor(t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true},
					"/containerd.services.content.v1.Content/"+m, grpc.ForceCodec(raw{}))
				noErr(t, err)
				s.SendMsg(&g)
				s.CloseSend()
				for err == nil {
					var out []byte
					err = s.RecvMsg(&out)
				}
				if status.Code(err) == codes.Unavailable || status.Code(err) == codes.DeadlineExceeded {
					t.Fatalf("% x: %v", g, err)
				}
			}
		})
	}
	d.mustServe(t)
}
