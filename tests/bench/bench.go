package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/namespaces"
	"golang.org/x/sys/unix"
)

// The contenders. The floor is none: it shows what the client and the kernel leave.
const (
	stowage = "stowage"
	goProxy = "go-proxy"
	builtIn = "built-in"
	floor   = "floor"
)

var (
	everybody  = []string{stowage, goProxy, builtIn, floor}
	contenders = []string{stowage, goProxy, builtIn}
	servers    = []string{stowage, goProxy}
)

// A place is where blobs are kept: on tmpfs, which shows what the software costs, or on a disk.
type place struct {
	name    string
	dir     string
	servers map[string]*server
	stores  map[string]content.Store
	large   *blob // that every contender has here, for the reads
}

const (
	onTmpfs = "tmpfs"
	onDisk  = "disk"
)

var bothPlaces = []string{onTmpfs, onDisk}

// placesFor leaves out, of a quick run, the disk for rows that have no target there; and what was not asked for.
func (b *bench) placesFor(row int) []string {
	if b.where != "" {
		return []string{b.where}
	}
	switch row {
	case 1, 7:
		return bothPlaces
	}
	if b.quick {
		return []string{onTmpfs}
	}
	return bothPlaces
}

type bench struct {
	*options
	ctx     context.Context
	started time.Time
	source  *source
	places  map[string]*place
	metrics []*metric
	checks  []check
	extra   []*server // started by a row for itself
	refs    int
	others  others

	onBucket *bucket // nil until a row wants one
}

func newBench(ctx context.Context, o *options) (*bench, error) {
	src, err := newSource(gib)
	if err != nil {
		return nil, err
	}
	return &bench{
		options: o, source: src, started: time.Now(), places: map[string]*place{}, others: beginOthers(),
		// Behind the metadata layer every call names containerd's namespace.
		ctx: namespaces.WithNamespace(ctx, "default"),
	}, nil
}

// close ends all servers; a second one does nothing.
func (b *bench) close() {
	for _, s := range b.extra {
		s.stop()
	}
	if b.onBucket != nil {
		b.onBucket.close()
		b.onBucket = nil
	}
	for _, p := range b.places {
		for _, s := range p.servers {
			s.stop()
		}
	}
}

// largeSize is the size of the blobs that ask for 1 GiB.
func (b *bench) largeSize() int64 {
	if b.quick {
		return 256 * mib
	}
	return gib
}

func (b *bench) dirOf(where string) string {
	if where == onDisk {
		return b.disk
	}
	return b.tmpfs
}

// server is a contender's process with its blobs in root; it is not started yet. Sockets and logs are on
// tmpfs, where paths are short and nothing waits for a disk.
func (b *bench) server(name, root, tag string) *server {
	s := &server{
		name: name, socket: filepath.Join(b.tmpfs, name+"."+tag), log: filepath.Join(b.tmpfs, name+"."+tag+".log"),
	}
	switch name {
	case stowage:
		s.argv = []string{b.stowage, "serve", "--local", root, "--address", s.socket}
	case goProxy:
		s.argv = []string{b.goproxy, root, s.socket}
	case floor:
		s.argv = []string{b.floor, s.socket}
	}
	return s
}

// place starts all contenders there, the first time.
func (b *bench) place(where string) (*place, error) {
	if p := b.places[where]; p != nil {
		return p, nil
	}
	p := &place{name: where, dir: b.dirOf(where), servers: map[string]*server{}, stores: map[string]content.Store{}}
	b.places[where] = p
	for _, who := range everybody {
		root := filepath.Join(p.dir, who)
		if err := os.Mkdir(root, 0o700); err != nil {
			return nil, err
		}
		if who == builtIn {
			cs, err := newBuiltIn(root)
			if err != nil {
				return nil, err
			}
			p.stores[who] = cs
			continue
		}
		s := b.server(who, root, where)
		if err := s.start(b.ctx); err != nil {
			return nil, err
		}
		p.servers[who] = s
		cs, err := s.store()
		if err != nil {
			return nil, err
		}
		p.stores[who] = cs
	}
	return p, nil
}

// A turn is one contender's measurement in one round.
type turn struct {
	who, where string
	round      int
	store      content.Store
	server     *server // nil for the built-in store
	place      *place
}

// rounds runs measure for each of who in turn, round after round. Before each one the machine is brought
// to the same state: garbage is collected and nothing waits to be written to the disk.
func (b *bench) rounds(what, where string, who []string, measure func(t *turn) error) error {
	p, err := b.place(where)
	if err != nil {
		return err
	}
	return b.turns(what, where, who, func(name string, round int) error {
		return measure(&turn{who: name, where: where, round: round, store: p.stores[name], server: p.servers[name], place: p})
	})
}

func (b *bench) turns(what, where string, who []string, measure func(name string, round int) error) error {
	start := time.Now()
	for round := 0; round < b.options.rounds; round++ {
		for _, name := range who {
			if err := b.ctx.Err(); err != nil {
				return err
			}
			b.progress("%s, %s: round %d of %d, %s", what, where, round+1, b.options.rounds, name)
			b.calm(where)
			if err := measure(name, round); err != nil {
				return fmt.Errorf("%s, %s, %s: %w", what, where, name, err)
			}
		}
	}
	b.progress("")
	fmt.Fprintf(os.Stderr, "  %s, %s: %.0f s\n", what, where, time.Since(start).Seconds())
	return nil
}

func (b *bench) calm(where string) {
	runtime.GC()
	if where == onDisk {
		if f, err := os.Open(b.disk); err == nil {
			unix.Syncfs(int(f.Fd()))
			f.Close()
		}
	}
}

// progress shows one line that the next one overwrites, on a terminal only.
func (b *bench) progress(format string, args ...interface{}) {
	if _, err := unix.IoctlGetTermios(2, unix.TCGETS); err == nil {
		fmt.Fprintf(os.Stderr, "\r\033[K"+format, args...)
	}
}

// ref is one that was never used, in the shape of a pull's or plain.
func (b *bench) ref(blob *blob, pull bool) string {
	b.refs++
	if pull {
		return fmt.Sprintf("default/%d/layer-%s", b.refs, blob.digest)
	}
	return fmt.Sprintf("upload-%d", b.refs)
}

func sizeName(n int64) string {
	switch {
	case n%gib == 0:
		return fmt.Sprintf("%d GiB", n/gib)
	case n%mib == 0:
		return fmt.Sprintf("%d MiB", n/mib)
	}
	return fmt.Sprintf("%d KiB", n/kib)
}

func thousands(n int) string {
	s := fmt.Sprint(n)
	var out strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			out.WriteByte(' ')
		}
		out.WriteRune(c)
	}
	return out.String()
}
