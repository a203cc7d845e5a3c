package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
)

func TestMedianAndPercentiles(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		p    float64
		want float64
	}{
		{nil, 50, 0},
		{[]float64{3}, 50, 3},
		{[]float64{3, 1, 2}, 50, 2},
		{[]float64{4, 1, 3, 2}, 50, 2.5},
		{[]float64{4, 1, 3, 2}, 99, 4},
		{[]float64{4, 1, 3, 2}, 0, 1},
	} {
		if got := percentile(c.v, c.p); got != c.want {
			t.Errorf("percentile(%v, %v) = %v instead of %v", c.v, c.p, got, c.want)
		}
	}
	if got := spread([]float64{10, 9, 12}); got != 0.3 {
		t.Errorf("spread is %v", got)
	}
}

// A round in which the whole machine was slow changes no ratio.
func TestRatiosAreTakenRoundByRound(t *testing.T) {
	m := &metric{More: true, Values: map[string][]float64{stowage: {30, 3, 30}, goProxy: {10, 1, 10}}}
	if r, ok := m.ratio(goProxy); !ok || r != 3 {
		t.Errorf("ratio is %v, %v", r, ok)
	}
	if _, ok := m.ratio(builtIn); ok {
		t.Error("there is a ratio to nobody")
	}
	m.targetHere(goProxy, 3).targetHere(goProxy, 3.1).targetHere(builtIn, 0.1)
	for i, want := range []bool{true, false, false} {
		if got := m.Targets[i].met(m); got != want {
			t.Errorf("target %d: met is %v", i, got)
		}
	}
	m.More = false
	if m.Targets[0].met(m) != true || m.Targets[1].met(m) != true {
		t.Error("less is better, and is not met")
	}
}

// Two rates, one after the other, are the rate of the sum of their times.
func TestSumOfRates(t *testing.T) {
	m := &metric{More: true, Values: map[string][]float64{stowage: {60, 60}, plainCurl: {100, 300}, localStore: {100, 100, 100}}}
	m.sum(curlAndLocal, plainCurl, localStore)
	if got := fmt.Sprintf("%.3g", m.Values[curlAndLocal]); got != "[50 75]" {
		t.Errorf("the sums are %s", got)
	}
	if r, ok := m.ratio(curlAndLocal); !ok || fmt.Sprintf("%.3g", r) != "1" {
		t.Errorf("ratio is %v, %v", r, ok)
	}
}

func TestBlobsHaveTheDigestOfTheirBytes(t *testing.T) {
	src, err := newSource(mib)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[digest.Digest]bool{}
	for i := 0; i < 3; i++ {
		b := src.blob(100 * kib)
		data, err := io.ReadAll(b.reader())
		if err != nil || int64(len(data)) != b.size {
			t.Fatalf("read %d bytes, %v", len(data), err)
		}
		if want := digest.FromBytes(data); b.digest != want || seen[want] {
			t.Errorf("digest %s of %s, seen before: %v", b.digest, want, seen[want])
		}
		seen[b.digest] = true
		part := make([]byte, 50)
		b.copyAt(part, b.size-50)
		if !bytes.Equal(part, data[len(data)-50:]) {
			t.Error("copyAt has other bytes")
		}
	}
	if sha256.Sum256(src.text[:kib]) == sha256.Sum256(src.text[kib:2*kib]) {
		t.Error("the text repeats itself")
	}
}

// The reports of a run with few rows, and the chart is well-formed.
func TestReports(t *testing.T) {
	b := &bench{options: &options{rounds: 2, disk: "/", stowage: "/bin/true"}}
	m := b.metric(4, "reads <fast>", onTmpfs, "µs", lessIsBetter).target(goProxy, 0.6).target("", 50)
	m.Values = map[string][]float64{stowage: {100, 110}, goProxy: {200, 210}, floor: {50, 55}}
	b.metric(11, "nothing", onTmpfs, "s", lessIsBetter).target(goProxy, 1)
	b.metric(1, "first", onDisk, "MiB/s", moreIsBetter).target(goProxy, 1)
	if len(b.metrics[0].Targets) != 0 || b.metrics[0].Row != 1 || b.metrics[2].Row != 11 {
		t.Error("the rows are not in their order, or a target is on disk")
	}
	table := b.table()
	for _, want := range []string{"(≤0.6) met", "(≤50) MISSED", "1 of 2 targets"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	chart := b.chart()
	for d := xml.NewDecoder(strings.NewReader(chart)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if strings.Contains(chart, "%!") {
		t.Errorf("a number is not formatted in\n%s", chart)
	}
	if want := fmt.Sprintf("%s ×", digits(200.0/100*0.5+210.0/110*0.5)); !strings.Contains(chart, want) {
		t.Errorf("no %q in the chart", want)
	}
}
