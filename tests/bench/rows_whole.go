package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/content/local"
)

func newBuiltIn(root string) (content.Store, error) { return local.NewStore(root) }

// memory is the rest of row 10: what a server's process holds, at rest and under load. Once is enough for a
// maximum.
func (b *bench) memory() error {
	const each = 16
	size := b.largeSize()
	where := onDisk
	if b.quick {
		where = onTmpfs
	}
	load := fmt.Sprintf("%d writers, %d readers of %s", each, each, sizeName(size))
	idle := b.metric(10, "memory, idle", where, "MiB", lessIsBetter).targetHere("", 16)
	peak := b.metric(10, "peak, "+load, where, "MiB", lessIsBetter).targetHere("", 64)
	peakAnon := b.metric(10, "  of it, anonymous", where, "MiB", lessIsBetter)
	after := b.metric(10, "memory, idle after that", where, "MiB", lessIsBetter)
	start := time.Now()
	for _, who := range servers {
		b.progress("memory: %s", who)
		b.calm(where)
		m, err := b.memoryOf(who, where, each, size)
		if err != nil {
			return fmt.Errorf("memory of %s: %w", who, err)
		}
		idle.add(who, m.idle/mib)
		peak.add(who, m.peak/mib)
		peakAnon.add(who, m.anon/mib)
		after.add(who, m.after/mib)
	}
	b.progress("")
	fmt.Fprintf(os.Stderr, "  memory: %.0f s\n", time.Since(start).Seconds())
	return nil
}

type memory struct{ idle, peak, anon, after float64 }

func (b *bench) memoryOf(who, where string, each int, size int64) (m memory, err error) {
	root := filepath.Join(b.dirOf(where), "memory")
	defer os.RemoveAll(root)
	s := b.server(who, root, "memory")
	b.extra = append(b.extra, s)
	defer s.stop()
	if err := s.start(b.ctx); err != nil {
		return m, err
	}
	cs, err := s.store()
	if err != nil {
		return m, err
	}
	if _, err := cs.ListStatuses(b.ctx); err != nil { // it has served something
		return m, err
	}
	s.settle(b.ctx)
	m.idle = float64(s.memory("VmRSS"))
	ctx, cancel := context.WithCancel(b.ctx)
	sampled := make(chan float64)
	go func() { sampled <- peakOf(ctx, s, "RssAnon") }()
	err = b.load(cs, each, size)
	cancel()
	m.anon = <-sampled
	m.peak = float64(s.memory("VmHWM"))
	s.settle(b.ctx)
	m.after = float64(s.memory("VmRSS"))
	return m, err
}

func peakOf(ctx context.Context, s *server, field string) (peak float64) {
	for ctx.Err() == nil {
		if v := float64(s.memory(field)); v > peak {
			peak = v
		}
		time.Sleep(10 * time.Millisecond)
	}
	return peak
}

func (b *bench) load(cs content.Store, each int, size int64) error {
	read := b.source.blob(size)
	in := &ingest{blob: read, ref: b.ref(read, true), declare: true}
	if err := in.run(b.ctx, cs); err != nil {
		return err
	}
	var jobs []func() error
	for i := 0; i < each; i++ {
		blob := b.source.blob(size)
		in := &ingest{blob: blob, ref: b.ref(blob, true), declare: true}
		r := &reading{blob: read, chunk: mib, readers: 1, each: int(size / mib)}
		jobs = append(jobs, func() error { return in.run(b.ctx, cs) }, func() error { return r.run(b, cs) })
	}
	return together(jobs)
}

// An image of the end-to-end rows, as e2e.sh makes it.
type image struct{ kind, says string }

var (
	gzipped = image{kind: "gzip"}
	plain   = image{kind: "plain", says: " uncompressed"}
)

// imagesFor leaves out, on a disk, the image that is there to show what the software costs.
func imagesFor(where string) []image {
	if where == onDisk {
		return []image{gzipped}
	}
	return []image{gzipped, plain}
}

// endToEnd is row 11: a script runs real containerds and prints one line for each measurement.
func (b *bench) endToEnd() error {
	for _, where := range b.placesFor(11) {
		for _, img := range imagesFor(where) {
			of := fmt.Sprintf(", %d MB%s", b.imageSize(), img.says)
			fetch := b.metric(11, "ctr content fetch"+of, where, "s", lessIsBetter).
				target(goProxy, 0.6).target(builtIn, 1.05)
			pull := b.metric(11, "ctr images pull"+of, where, "s", lessIsBetter).
				target(goProxy, 0.7).target(builtIn, 1.3)
			if err := b.runEndToEnd(where, img, map[string]*metric{"fetch": fetch, "pull": pull}); err != nil {
				return err
			}
		}
	}
	return nil
}

// imageSize is that of the images in the registry, in MB.
func (b *bench) imageSize() int {
	if b.quick {
		return 200
	}
	return 500
}

// runEndToEnd runs the script, with `bucket` for its last arguments.
func (b *bench) runEndToEnd(where string, img image, into map[string]*metric, bucket ...string) error {
	start := time.Now()
	rounds := b.options.rounds
	if (where == onDisk || img == plain) && rounds > 3 {
		rounds = 3
	}
	args := []string{b.tmpfs, b.dirOf(where), strconv.Itoa(rounds), strconv.Itoa(b.imageSize()), img.kind, b.goproxy}
	cmd := exec.Command(b.e2e, append(args, bucket...)...)
	cmd.Env = append(os.Environ(), "STOWAGE_BIN="+b.stowage)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-b.ctx.Done():
			syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it cleans up
		case <-ended:
		}
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		f := strings.Fields(lines.Text()) // as: pull stowage 1.234
		if len(f) != 3 || into[f[0]] == nil {
			return fmt.Errorf("end to end: unexpected: %q", lines.Text())
		}
		v, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return err
		}
		into[f[0]].add(f[1], v)
		b.progress("end to end, %s, %s image: %s, %s %.2f s", where, img.kind, f[1], f[0], v)
	}
	b.progress("")
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("end to end: %w", err)
	}
	fmt.Fprintf(os.Stderr, "  end to end, %s, %s image: %.0f s\n", where, img.kind, time.Since(start).Seconds())
	return nil
}
