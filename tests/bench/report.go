package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

func (b *bench) report() error {
	table := b.table()
	fmt.Print(table)
	if err := os.WriteFile(filepath.Join(b.out, "bench.txt"), []byte(table), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.out, "bench.md"), []byte(b.markdown()), 0o644); err != nil {
		return err
	}
	j, err := json.MarshalIndent(b.results(), "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.out, "bench.json"), append(j, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.out, "bench.svg"), []byte(b.chart()), 0o644); err != nil {
		return err
	}
	fmt.Printf("\nAlso in %s: bench.txt, bench.md, bench.json, bench.svg\n", b.out)
	return nil
}

// --- the table ---

// pad counts characters, not bytes.
func pad(s string, width int) string {
	if n := width - utf8.RuneCountInString(s); n > 0 {
		return s + strings.Repeat(" ", n)
	}
	return s
}

func padLeft(s string, width int) string {
	if n := width - utf8.RuneCountInString(s); n > 0 {
		return strings.Repeat(" ", n) + s
	}
	return s
}

func value(m *metric, who string) string {
	v := m.Values[who]
	if len(v) == 0 {
		return "·"
	}
	if len(v) == 1 {
		return digits(v[0])
	}
	return fmt.Sprintf("%s ±%.0f%%", digits(median(v)), 50*spread(v))
}

// against is Stowage's ratio to another, with the target if there is one.
func against(m *metric, who string) string {
	ratio, ok := m.ratio(who)
	if !ok {
		return "·"
	}
	s := digits(ratio)
	for _, t := range m.Targets {
		if t.against == who {
			s += t.verdict(m)
		}
	}
	return s
}

// floorAgainst is the ratio that no server can better.
func floorAgainst(m *metric) string {
	if ratio, ok := m.ratioOf(floor, goProxy); ok {
		return digits(ratio)
	}
	return "·"
}

func (t target) verdict(m *metric) string {
	s := fmt.Sprintf(" (%s%g) ", t.sign(m), t.limit)
	if t.met(m) {
		return s + "met"
	}
	return s + "MISSED"
}

func (b *bench) table() string {
	var out strings.Builder
	b.heading(&out)
	for _, p := range parts {
		p.table(&out, b.metrics)
	}
	b.footing(&out)
	return out.String()
}

// A part of the table is rows that have the same contenders.
type part struct {
	first, last int // rows
	values      []string
	ratios      []string // of Stowage's value, to theirs
	floor       bool     // also the ratio that no server can better
}

var parts = []part{
	{1, 11, everybody, []string{builtIn, goProxy}, true},
	{12, 16, []string{stowage, localStore, plainCurl, awsCLI, near}, []string{curlAndLocal, awsCLI, localStore, near}, false},
	{17, lastRow, []string{stowage, localStore, builtIn, plainHEAD}, []string{localStore, builtIn}, false},
}

func (p *part) of(all []*metric) (mine []*metric) {
	for _, m := range all {
		if m.Row >= p.first && m.Row <= p.last && len(m.Values) > 0 {
			mine = append(mine, m)
		}
	}
	return mine
}

func (p *part) table(out *strings.Builder, all []*metric) {
	mine := p.of(all)
	if len(mine) == 0 {
		return
	}
	p.line(out, []string{"", "", "where", "unit"}, p.values, p.ratioNames())
	row := 0
	for _, m := range mine {
		number := ""
		if m.Row != row {
			number = padLeft(fmt.Sprint(m.Row), 2)
			out.WriteByte('\n')
		}
		row = m.Row
		var values, ratios []string
		for _, who := range p.values {
			values = append(values, value(m, who))
		}
		for _, who := range p.ratios {
			ratios = append(ratios, against(m, who))
		}
		for _, t := range m.Targets {
			if t.against == "" {
				ratios[0] = strings.TrimPrefix(ratios[0]+t.verdict(m), "· ")
			}
		}
		if p.floor {
			ratios = append(ratios, floorAgainst(m))
		}
		p.line(out, []string{number, m.Name, m.Where, m.Unit}, values, ratios)
	}
	out.WriteByte('\n')
}

func (p *part) ratioNames() (names []string) {
	for _, who := range p.ratios {
		names = append(names, "to "+who)
	}
	if p.floor {
		names = append(names, "floor to it")
	}
	return names
}

func (p *part) line(out *strings.Builder, names, values, ratios []string) {
	var l strings.Builder
	for i, width := range []int{2, 49, 5, 9} {
		l.WriteString(pad(names[i], width) + "  ")
	}
	for _, v := range values {
		l.WriteString(padLeft(v, 11) + "  ")
	}
	for _, r := range ratios {
		l.WriteString(pad(r, 19) + "  ")
	}
	out.WriteString(strings.TrimRight(l.String(), " ") + "\n")
}

func (b *bench) heading(out *strings.Builder) {
	m := b.machine()
	fmt.Fprintf(out, "\n%s, %s, %d GiB, Linux %s, disk: %s; %s\n", m.Processor, plural(m.Processors, "processor"), m.MemoryGiB,
		m.Kernel, m.Disk, m.Stowage)
	for _, c := range b.checks {
		fmt.Fprintln(out, c)
		if c.noisy() {
			fmt.Fprintln(out, "              THE MACHINE WAS BUSY WITH OTHER THINGS: do not trust these figures far")
		}
	}
	fmt.Fprintf(out, "in between    others kept %.2f processors busy\n", b.others.average)
	fmt.Fprintf(out, "Medians of %s, ± half the distance of the extremes; ratios are medians of the rounds' ratios.\n",
		plural(b.options.rounds, "round"))
	fmt.Fprintf(out, "In brackets: the target.\n\n")
}

func (b *bench) footing(out *strings.Builder) {
	met, all := 0, 0
	for _, m := range b.metrics {
		for _, t := range m.Targets {
			if _, ok := t.of(m); ok {
				all++
				if t.met(m) {
					met++
				}
			}
		}
	}
	fmt.Fprintf(out, "%d of %d targets are met. The run took %.0f minutes.\n", met, all, time.Since(b.started).Minutes())
	fmt.Fprintf(out, "%s: containerd's local store behind containerd's content service; %s: the same store in process;\n", goProxy, builtIn)
	fmt.Fprintf(out, "%s: a server that does nothing but answer: what the client and the kernel leave.\n", floor)
	fmt.Fprintf(out, "COMMIT is measured with the STAT before it, as containerd holds its metadata lock over both.\n")
	fmt.Fprintf(out, "%s is Stowage's local store alone; on S3 it is on tmpfs, and %s is the rate of a plain request and then\n", localStore, curlAndLocal)
	fmt.Fprintf(out, "the same from or into that store; %g of it is %g × the time. Latency is a round trip's.\n", 1/sumAtMost, sumAtMost)
	fmt.Fprintf(out, "From row 17 on Stowage has local bytes before the bucket, and %s is a signed request for an object that is not there.\n", plainHEAD)
}

// --- the short table, for a README ---

func (b *bench) markdown() string {
	var out strings.Builder
	for _, p := range parts {
		p.markdown(&out, b.metrics)
	}
	return out.String()
}

func (p *part) markdown(out *strings.Builder, all []*metric) {
	var mine []*metric
	for _, m := range p.of(all) {
		if len(m.Targets) > 0 {
			mine = append(mine, m)
		}
	}
	if len(mine) == 0 {
		return
	}
	if out.Len() > 0 {
		out.WriteByte('\n')
	}
	fmt.Fprintf(out, "| | | %s |", strings.Join(p.values, " | "))
	for _, who := range p.ratios {
		fmt.Fprintf(out, " to %s |", who)
	}
	fmt.Fprintf(out, "\n|---|---|%s\n", strings.Repeat("--:|", len(p.values)+len(p.ratios)))
	for _, m := range mine {
		p.markdownRow(out, m)
	}
}

func (p *part) markdownRow(out *strings.Builder, m *metric) {
	cell := func(who string) string {
		if len(m.Values[who]) == 0 {
			return ""
		}
		s := digits(median(m.Values[who]))
		for _, t := range m.Targets {
			if t.against == "" && who == stowage {
				s += t.short(m)
			}
		}
		return s
	}
	ratio := func(who string) string {
		v, ok := m.ratio(who)
		if !ok {
			return ""
		}
		s := digits(v)
		for _, t := range m.Targets {
			if t.against == who {
				s += t.short(m)
			}
		}
		return s
	}
	fmt.Fprintf(out, "| %s, %s | %s |", m.Name, m.Where, m.Unit)
	for _, who := range p.values {
		fmt.Fprintf(out, " %s |", cell(who))
	}
	for _, who := range p.ratios {
		fmt.Fprintf(out, " %s |", ratio(who))
	}
	out.WriteByte('\n')
}

// short is the target as a README shows it: what was missed stands out.
func (t target) short(m *metric) string {
	if t.met(m) {
		return fmt.Sprintf(" (%s %g)", t.sign(m), t.limit)
	}
	return fmt.Sprintf(" (**not** %s %g)", t.sign(m), t.limit)
}

// --- JSON ---

type result struct {
	*metric
	Median  map[string]float64 `json:"median"`
	Spread  map[string]float64 `json:"spread"` // (max - min) / median
	Ratios  map[string]float64 `json:"ratios,omitempty"`
	Targets []judged           `json:"targets,omitempty"`
}

type judged struct {
	Against string  `json:"against,omitempty"`
	Limit   float64 `json:"limit"`
	Value   float64 `json:"value"`
	Met     bool    `json:"met"`
}

type results struct {
	Date    string   `json:"date"`
	Quick   bool     `json:"quick"`
	Rounds  int      `json:"rounds"`
	Machine machine  `json:"machine"`
	Checks  []check  `json:"checks"`
	Others  float64  `json:"busy_processors_of_others"`
	Metrics []result `json:"metrics"`
}

func (b *bench) results() results {
	out := results{
		Date: b.started.UTC().Format(time.RFC3339), Quick: b.quick, Rounds: b.options.rounds, Machine: b.machine(), Checks: b.checks,
		Others: b.others.average,
	}
	for _, m := range b.metrics {
		if len(m.Values) == 0 {
			continue
		}
		r := result{metric: m, Median: map[string]float64{}, Spread: map[string]float64{}, Ratios: map[string]float64{}}
		for who, v := range m.Values {
			r.Median[who], r.Spread[who] = median(v), spread(v)
			if ratio, ok := m.ratio(who); ok && who != stowage {
				r.Ratios[who] = ratio
			}
		}
		for _, t := range m.Targets {
			if v, ok := t.of(m); ok {
				r.Targets = append(r.Targets, judged{t.against, t.limit, v, t.met(m)})
			}
		}
		out.Metrics = append(out.Metrics, r)
	}
	return out
}
