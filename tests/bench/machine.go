package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A check tells how fast and how quiet the machine is, so that two runs can be compared.
type check struct {
	When      string  `json:"when"`
	Copy      float64 `json:"memcpy_gb_s"`
	SHA       float64 `json:"sha256_openssl_gb_s"`
	GoSHA     float64 `json:"sha256_go_gb_s"`
	RoundTrip float64 `json:"null_round_trip_us"`
	Load      float64 `json:"load_average"`
	Busy      float64 `json:"busy_processors"` // while we do nothing
}

// Above these the figures are not worth much.
const (
	loadMost = 1.0
	busyMost = 0.15
)

func (c check) noisy() bool { return c.Busy > busyMost || (c.When == "start" && c.Load > loadMost) }

func (c check) String() string {
	return fmt.Sprintf("at the %-5s  memcpy %.1f GB/s, SHA-256 %.2f GB/s (OpenSSL) %.2f GB/s (Go), null round trip %.0f µs, "+
		"load %.2f, %.2f processors busy with other things", c.When, c.Copy, c.SHA, c.GoSHA, c.RoundTrip, c.Load, c.Busy)
}

func (b *bench) checkMachine(when string) error {
	c := check{When: when}
	c.Load = loadAverage()
	before := busyTime()
	time.Sleep(time.Second)
	c.Busy = (busyTime() - before).Seconds()
	out, err := exec.Command(b.floor, "--check").Output()
	if err != nil {
		return fmt.Errorf("%s --check: %w", b.floor, err)
	}
	f := strings.Fields(string(out))
	if len(f) != 2 {
		return fmt.Errorf("%s --check printed %q", b.floor, out)
	}
	for i, to := range []*float64{&c.Copy, &c.SHA} {
		v, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			return err
		}
		*to = v / 1e9
	}
	start := time.Now()
	sha256.Sum256(b.source.text[:256*mib])
	c.GoSHA = 256 * mib / 1e9 / time.Since(start).Seconds()
	p, err := b.place(onTmpfs)
	if err != nil {
		return err
	}
	took, err := b.infoTurn(p.stores[floor], b.source.blob(4*kib).digest, 2000)
	if err != nil {
		return err
	}
	c.RoundTrip = median(took)
	b.checks = append(b.checks, c)
	fmt.Fprintln(os.Stderr, c)
	if c.noisy() {
		fmt.Fprintln(os.Stderr, "warning: this machine is busy with other things; the figures will be noisy")
	}
	return nil
}

// others measures how many processors were busy, over a whole run, with anything but us, the servers and the
// containerds that we started and have waited for.
type others struct {
	since      time.Time
	busy, ours time.Duration
	average    float64
}

func beginOthers() others { return others{since: time.Now(), busy: busyTime(), ours: ourTime()} }

func (o *others) end() {
	o.average = ((busyTime() - o.busy) - (ourTime() - o.ours)).Seconds() / time.Since(o.since).Seconds()
}

func ourTime() (sum time.Duration) {
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var r unix.Rusage
		if unix.Getrusage(who, &r) == nil {
			sum += time.Duration(r.Utime.Nano() + r.Stime.Nano())
		}
	}
	return sum
}

func loadAverage() float64 {
	b, _ := os.ReadFile("/proc/loadavg")
	v, _ := strconv.ParseFloat(strings.Fields(string(b) + " 0")[0], 64)
	return v
}

// busyTime is what all processors together have spent on anything but waiting, the hypervisor's other
// guests included.
func busyTime() time.Duration {
	b, _ := os.ReadFile("/proc/stat")
	f := strings.Fields(strings.SplitN(string(b), "\n", 2)[0])
	var ticks int64
	for i, v := range f {
		const idle, iowait, guest = 4, 5, 9
		if i == 0 || i == idle || i == iowait || i >= guest {
			continue
		}
		n, _ := strconv.ParseInt(v, 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

type machine struct {
	Processor  string `json:"processor"`
	Processors int    `json:"processors"`
	MemoryGiB  int64  `json:"memory_gib"`
	Kernel     string `json:"kernel"`
	Disk       string `json:"disk_file_system"`
	Go         string `json:"go"`
	Stowage    string `json:"stowage"`
}

func (b *bench) machine() machine {
	m := machine{Processors: runtime.NumCPU(), Go: runtime.Version(), Disk: fileSystem(b.disk)}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for _, line := range strings.Split(string(info), "\n") {
		if strings.HasPrefix(line, "model name") {
			m.Processor = strings.TrimSpace(line[strings.Index(line, ":")+1:])
			break
		}
	}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	var si unix.Sysinfo_t
	if unix.Sysinfo(&si) == nil {
		m.MemoryGiB = int64(si.Totalram) * int64(si.Unit) >> 30
	}
	out, _ := exec.Command(b.stowage, "version").Output()
	m.Stowage = strings.TrimSpace(strings.SplitN(string(out), "\n", 2)[0])
	return m
}

// fileSystem of a directory, as its longest mount point says.
func fileSystem(dir string) (name string) {
	b, _ := os.ReadFile("/proc/mounts")
	longest := 0
	for _, line := range strings.Split(string(b), "\n") {
		f := strings.Fields(line)
		if len(f) < 3 || len(f[1]) < longest {
			continue
		}
		if dir == f[1] || strings.HasPrefix(dir, strings.TrimSuffix(f[1], "/")+"/") {
			name, longest = f[2], len(f[1])
		}
	}
	return name
}
