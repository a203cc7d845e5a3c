package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/containerd/containerd/content"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// A source makes blobs of bytes that do not compress, no two alike. They share one large random text and
// differ in their last bytes, so that a digest costs no hashing of it all.
type source struct {
	text   []byte
	states map[int64][]byte // SHA-256 after so many bytes of text
	made   uint64
}

const tailSize = 32

// newSource keeps the text outside of Go's heap, which shall be as small as containerd's.
func newSource(size int) (*source, error) {
	text, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		return nil, err
	}
	cipher.NewCTR(block, make([]byte, 16)).XORKeyStream(text, text)
	return &source{text: text, states: map[int64][]byte{}}, nil
}

type blob struct {
	size   int64
	body   []byte // and then
	tail   [tailSize]byte
	digest digest.Digest
}

func (s *source) blob(size int64) *blob {
	b := &blob{size: size, body: s.text[:size-tailSize]}
	s.made++
	binary.BigEndian.PutUint64(b.tail[:], s.made)
	h := s.hashed(size - tailSize)
	h.Write(b.tail[:])
	b.digest = digest.NewDigest(digest.SHA256, h)
	return b
}

func (s *source) hashed(n int64) hash.Hash {
	h := sha256.New()
	if state := s.states[n]; state != nil {
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
			panic(err)
		}
		return h
	}
	h.Write(s.text[:n])
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic(err)
	}
	s.states[n] = state
	return h
}

// reader reads the blob as a response's body reads: it can neither seek nor write itself somewhere.
func (b *blob) reader() io.Reader { return &blobReader{blob: b} }

type blobReader struct {
	blob *blob
	at   int64
}

func (r *blobReader) Read(p []byte) (n int, err error) {
	if r.at == r.blob.size {
		return 0, io.EOF
	}
	n = r.blob.copyAt(p, r.at)
	r.at += int64(n)
	return n, nil
}

func (b *blob) copyAt(p []byte, off int64) (n int) {
	if off < int64(len(b.body)) {
		n = copy(p, b.body[off:])
	}
	if end := off + int64(n) - int64(len(b.body)); end >= 0 {
		n += copy(p[n:], b.tail[end:])
	}
	return n
}

// metadataWriter does what containerd's metadata layer does around the store's writer. All of its Commit
// runs in one transaction of containerd's database, for which every other change on the node waits.
type metadataWriter struct {
	content.Writer
	held time.Duration
}

func (w *metadataWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	start := time.Now()
	defer func() { w.held = time.Since(start) }()
	status, err := w.Writer.Status()
	if err != nil {
		return err
	}
	if size != 0 && size != status.Offset {
		return fmt.Errorf("%d bytes arrived of %d", status.Offset, size)
	}
	return w.Writer.Commit(ctx, status.Offset, expected, opts...)
}

// An ingest is one blob's way into a store, and what it took.
type ingest struct {
	blob    *blob
	ref     string
	declare bool // as a pull does: the size at the start, the digest at COMMIT

	total time.Duration
	held  time.Duration // COMMIT, with the STAT before it
}

func (i *ingest) run(ctx context.Context, cs content.Store) error {
	// The stream lives as long as its context, as in containerd a request's does.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	start := time.Now()
	opts := []content.WriterOpt{content.WithRef(i.ref)}
	if i.declare {
		opts = append(opts, content.WithDescriptor(ocispec.Descriptor{Size: i.blob.size}))
	}
	cw, err := content.OpenWriter(ctx, cs, opts...)
	if err != nil {
		return err
	}
	w := &metadataWriter{Writer: cw}
	defer w.Close()
	if i.declare {
		err = content.Copy(ctx, w, i.blob.reader(), i.blob.size, i.blob.digest)
	} else {
		err = content.Copy(ctx, w, i.blob.reader(), 0, "")
	}
	i.total, i.held = time.Since(start), w.held
	return err
}
