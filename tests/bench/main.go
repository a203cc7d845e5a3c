// Command bench measures Stowage against a straightforward proxy store in Go and against containerd's
// built-in one, all in one run on one machine, with containerd's own client. See run.sh, which builds it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

const lastRow = 21

type options struct {
	rows    map[int]bool // nil for all
	quick   bool
	million bool
	rounds  int
	where   string // a place; "" for all

	tmpfs, disk string // directories of our own, which the caller removes
	out         string

	stowage, goproxy, floor, e2e string // programs
	gateway, s3server, aws       string // of the rows on a bucket
}

func (o *options) parse() error {
	var rows string
	flag.StringVar(&rows, "rows", "", "which `rows` to measure, as 1,4,9; all if empty")
	flag.BoolVar(&o.quick, "quick", false, "smaller blobs and 3 rounds")
	flag.BoolVar(&o.million, "million", false, "also start on 1 000 000 blobs (rows 8 and 21)")
	flag.IntVar(&o.rounds, "rounds", 0, "`rounds` of each measurement; 5, or 3 with -quick")
	flag.StringVar(&o.where, "where", "", "the one `place`, tmpfs or disk, of rows that are measured in both")
	flag.StringVar(&o.tmpfs, "tmpfs", "", "an empty `directory` on a tmpfs")
	flag.StringVar(&o.disk, "disk", "", "an empty `directory` on a disk")
	flag.StringVar(&o.out, "out", "", "the `directory` of the results")
	flag.StringVar(&o.stowage, "stowage", "", "the `program` stowage")
	flag.StringVar(&o.goproxy, "goproxy", "", "the `program` goproxy")
	flag.StringVar(&o.floor, "floor", "", "the `program` floor")
	flag.StringVar(&o.e2e, "e2e", "", "the `script` e2e.sh")
	flag.StringVar(&o.gateway, "gateway", "", "the `script` rgw.sh")
	flag.StringVar(&o.s3server, "s3server", "", "the `program` of the S3 tests' servers")
	flag.StringVar(&o.aws, "aws", "", "the `program` aws")
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("no arguments are expected: %q", flag.Args())
	}
	for _, f := range []string{
		o.tmpfs, o.disk, o.out, o.stowage, o.goproxy, o.floor, o.e2e, o.gateway, o.s3server, o.aws,
	} {
		if f == "" {
			return fmt.Errorf("-tmpfs, -disk, -out, -stowage, -goproxy, -floor, -e2e, -gateway, -s3server and -aws " +
				"are all needed")
		}
	}
	if o.where != "" && o.where != onTmpfs && o.where != onDisk {
		return fmt.Errorf("-where %q: %s or %s is expected", o.where, onTmpfs, onDisk)
	}
	if o.rounds < 0 {
		return fmt.Errorf("-rounds %d", o.rounds)
	}
	if o.rounds == 0 {
		o.rounds = 5
		if o.quick {
			o.rounds = 3
		}
	}
	return o.parseRows(rows)
}

func (o *options) parseRows(rows string) error {
	if rows == "" {
		return nil
	}
	o.rows = map[int]bool{}
	for _, f := range strings.Split(rows, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || n < 1 || n > lastRow {
			return fmt.Errorf("-rows %q: rows are 1 to %d, with commas between them", rows, lastRow)
		}
		o.rows[n] = true
	}
	return nil
}

func (o *options) wants(rows ...int) bool {
	if o.rows == nil {
		return true
	}
	for _, r := range rows {
		if o.rows[r] {
			return true
		}
	}
	return false
}

func run(ctx context.Context, o *options) error {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer b.close()
	if err := b.checkMachine("start"); err != nil {
		return err
	}
	for _, step := range []struct {
		rows []int
		run  func() error
	}{
		{[]int{9}, b.commits},
		{[]int{1, 9, 10}, b.ingestOne},
		{[]int{2}, b.ingestRunning},
		{[]int{3}, b.ingestFour},
		{[]int{4, 5, 10}, b.reads},
		{[]int{6}, b.infos},
		{[]int{7}, b.smallBlobs},
		{[]int{8}, b.lists},
		{[]int{10}, b.memory},
		{[]int{11}, b.endToEnd},
		{[]int{12}, b.uploadsToBucket},
		{[]int{13, 14}, b.readsFromBucket},
		{[]int{15}, b.uploadMemory},
		{[]int{16}, b.farBucket},
		{[]int{17, 18}, b.pullsOfFleet},
		{[]int{19}, b.infosOfNobodys},
		{[]int{20}, b.commitsOfFleet},
		{[]int{21}, b.manyOfFleet},
	} {
		if !o.wants(step.rows...) {
			continue
		}
		if err := step.run(); err != nil {
			return err
		}
	}
	if err := b.checkMachine("end"); err != nil {
		return err
	}
	b.close()
	b.others.end()
	return b.report()
}

func main() {
	var o options
	if err := o.parse(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	// Servers die with the thread that started them (see server.start), so this one must stay.
	runtime.LockOSThread()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	err := run(ctx, &o)
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "bench: interrupted")
		os.Exit(130)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
