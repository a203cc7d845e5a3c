package conformance

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"testing"

	api "github.com/containerd/containerd/api/services/content/v1"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// noise is n bytes that do not compress and are the same for the same seed.
func noise(seed int64, n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(b)
	return b
}

func sum(b []byte) digest.Digest { return digest.FromBytes(b) }

// absent is a digest of which no test commits the bytes.
var absent = digest.FromString("nobody commits this")

// wantCode demands a failure of one code, whose message has all the given parts.
func wantCode(t *testing.T, err error, want codes.Code, parts ...string) {
	t.Helper()
	if got := status.Code(err); got != want {
		t.Fatalf("got %v (%.400q), want %v", got, fmt.Sprint(err), want)
	}
	if err == nil {
		return
	}
	msg := status.Convert(err).Message()
	for _, p := range parts {
		if !strings.Contains(msg, p) {
			t.Fatalf("the message %q does not name %q", msg, p)
		}
	}
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writer drives one Write stream, message by message.
type writer struct {
	t      *testing.T
	stream api.Content_WriteClient
	cancel context.CancelFunc
}

func openStream(t *testing.T, c api.ContentClient, opts ...grpc.CallOption) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(ctxFor(t))
	t.Cleanup(cancel)
	s, err := c.Write(ctx, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return &writer{t: t, stream: s, cancel: cancel}
}

// open starts a stream with a STAT that names the ref, as containerd's client does.
func open(t *testing.T, c api.ContentClient, ref string) *writer {
	t.Helper()
	w := openStream(t, c)
	w.must(&api.WriteContentRequest{Action: api.WriteActionStat, Ref: ref})
	return w
}

// send is one message and its answer.
func (w *writer) send(m *api.WriteContentRequest) (*api.WriteContentResponse, error) {
	if err := w.stream.Send(m); err != nil && err != io.EOF {
		return nil, err
	}
	return w.stream.Recv() // after io.EOF of Send it has the stream's status
}

func (w *writer) must(m *api.WriteContentRequest) *api.WriteContentResponse {
	w.t.Helper()
	r, err := w.send(m)
	if err != nil {
		w.t.Fatalf("%v: %v", m.Action, err)
	}
	if r.Action != m.Action {
		w.t.Fatalf("%v was answered as %v", m.Action, r.Action)
	}
	return r
}

func (w *writer) stat() *api.WriteContentResponse {
	w.t.Helper()
	return w.must(&api.WriteContentRequest{Action: api.WriteActionStat})
}

func (w *writer) write(data []byte, offset int64) *api.WriteContentResponse {
	w.t.Helper()
	return w.must(&api.WriteContentRequest{Action: api.WriteActionWrite, Data: data, Offset: offset})
}

// park ends the stream without COMMIT and waits until the daemon has let go of the ref.
func (w *writer) park() {
	w.t.Helper()
	noErr(w.t, w.stream.CloseSend())
	for {
		if _, err := w.stream.Recv(); err == io.EOF {
			return
		} else if err != nil {
			w.t.Fatalf("a stream that was half-closed ended with %v", err)
		}
	}
}

// ended demands that the stream is over, with OK.
func (w *writer) ended() {
	w.t.Helper()
	if r, err := w.stream.Recv(); err != io.EOF {
		w.t.Fatalf("the stream goes on with %v, %v", r, err)
	}
}

// put writes and commits data under ref in chunks of a MiB.
func put(ctx context.Context, c api.ContentClient, ref string, data []byte, labels map[string]string) (digest.Digest, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.Write(ctx)
	if err != nil {
		return "", err
	}
	turn := func(m *api.WriteContentRequest) (*api.WriteContentResponse, error) {
		if err := s.Send(m); err != nil && err != io.EOF {
			return nil, err
		}
		return s.Recv()
	}
	r, err := turn(&api.WriteContentRequest{Action: api.WriteActionStat, Ref: ref, Total: int64(len(data))})
	if err != nil {
		return "", err
	}
	for off := r.Offset; off < int64(len(data)); off = r.Offset {
		end := off + 1<<20
		if end > int64(len(data)) {
			end = int64(len(data))
		}
		r, err = turn(&api.WriteContentRequest{Action: api.WriteActionWrite, Offset: off, Data: data[off:end]})
		if err != nil {
			return "", err
		}
		if r.Offset != end {
			return "", fmt.Errorf("wrote up to %d, the answer says %d", end, r.Offset)
		}
	}
	r, err = turn(&api.WriteContentRequest{
		Action: api.WriteActionCommit, Offset: int64(len(data)), Total: int64(len(data)), Expected: sum(data), Labels: labels,
	})
	if err != nil {
		return "", err
	}
	if r.Digest != sum(data) || r.Offset != int64(len(data)) {
		return "", fmt.Errorf("committed %v of %d bytes, the answer says %v of %d", sum(data), len(data), r.Digest, r.Offset)
	}
	return r.Digest, nil
}

func mustPut(t *testing.T, c api.ContentClient, data []byte) digest.Digest {
	t.Helper()
	return mustPutLabels(t, c, data, nil)
}

func mustPutLabels(t *testing.T, c api.ContentClient, data []byte, labels map[string]string) digest.Digest {
	t.Helper()
	d, err := put(ctxFor(t), c, "put-"+sum(data).Hex(), data, labels)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// get reads with one Read call and checks each message's form.
func get(ctx context.Context, c api.ContentClient, d digest.Digest, offset, size int64) ([]byte, error) {
	s, err := c.Read(ctx, &api.ReadContentRequest{Digest: d, Offset: offset, Size_: size})
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for {
		m, err := s.Recv()
		if err == io.EOF {
			return out.Bytes(), nil
		}
		if err != nil {
			return out.Bytes(), err
		}
		if len(m.Data) > 1<<20 {
			return nil, fmt.Errorf("one message carries %d bytes, more than 1 MiB", len(m.Data))
		}
		out.Write(m.Data)
	}
}

func mustGet(t *testing.T, c api.ContentClient, d digest.Digest) []byte {
	t.Helper()
	b, err := get(ctxFor(t), c, d, 0, 0)
	if err != nil {
		t.Fatalf("read of %s: %v", d, err)
	}
	return b
}

// list is every blob that matches, and demands blocks of 100 at most and no blob twice.
func list(ctx context.Context, c api.ContentClient, filters ...string) (map[digest.Digest]api.Info, error) {
	s, err := c.List(ctx, &api.ListContentRequest{Filters: filters})
	if err != nil {
		return nil, err
	}
	out := map[digest.Digest]api.Info{}
	for {
		m, err := s.Recv()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if m.Size() > 1<<20 {
			return nil, fmt.Errorf("a message of %d bytes, more than 1 MiB", m.Size())
		}
		for _, i := range m.Info {
			if _, twice := out[i.Digest]; twice {
				return nil, fmt.Errorf("%s is listed twice", i.Digest)
			}
			out[i.Digest] = i
		}
	}
}

func mustList(t *testing.T, c api.ContentClient, filters ...string) map[digest.Digest]api.Info {
	t.Helper()
	l, err := list(ctxFor(t), c, filters...)
	if err != nil {
		t.Fatalf("list %q: %v", filters, err)
	}
	return l
}

func statuses(ctx context.Context, c api.ContentClient, filters ...string) (map[string]api.Status, error) {
	r, err := c.ListStatuses(ctx, &api.ListStatusesRequest{Filters: filters})
	if err != nil {
		return nil, err
	}
	out := map[string]api.Status{}
	for _, s := range r.Statuses {
		if _, twice := out[s.Ref]; twice {
			return nil, fmt.Errorf("%q is listed twice", s.Ref)
		}
		out[s.Ref] = s
	}
	return out, nil
}

func mustStatuses(t *testing.T, c api.ContentClient, filters ...string) map[string]api.Status {
	t.Helper()
	s, err := statuses(ctxFor(t), c, filters...)
	if err != nil {
		t.Fatalf("list statuses %q: %v", filters, err)
	}
	return s
}
