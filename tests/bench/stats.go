package main

import (
	"fmt"
	"math"
	"sort"
)

// A metric is one line of the table: a value for each contender and round.
type metric struct {
	Row    int                  `json:"row"`
	Name   string               `json:"name"`
	Where  string               `json:"where"`
	Unit   string               `json:"unit"`
	More   bool                 `json:"more_is_better"`
	Values map[string][]float64 `json:"values"`

	Targets []target `json:"-"`
}

// A target says what Stowage's value must be, in relation to another's or, against nobody, by itself.
type target struct {
	against string
	limit   float64
}

const (
	moreIsBetter = true
	lessIsBetter = false
)

func (b *bench) metric(row int, name, where, unit string, more bool) *metric {
	m := &metric{Row: row, Name: name, Where: where, Unit: unit, More: more, Values: map[string][]float64{}}
	// Rows that are measured together are still shown in their order.
	at := sort.Search(len(b.metrics), func(i int) bool { return b.metrics[i].Row > row })
	b.metrics = append(b.metrics[:at], append([]*metric{m}, b.metrics[at:]...)...)
	return m
}

// target sets one on tmpfs, where the targets are unless they say otherwise.
func (m *metric) target(against string, limit float64) *metric {
	if m.Where == onTmpfs {
		return m.targetHere(against, limit)
	}
	return m
}

func (m *metric) targetHere(against string, limit float64) *metric {
	m.Targets = append(m.Targets, target{against, limit})
	return m
}

func (m *metric) add(who string, v float64) {
	m.Values[who] = append(m.Values[who], v)
}

// ratio of Stowage's value to another's: the median of the rounds' ratios, for within a round both had
// the same machine.
func (m *metric) ratio(against string) (float64, bool) { return m.ratioOf(stowage, against) }

func (m *metric) ratioOf(who, against string) (float64, bool) {
	var all []float64
	for i, v := range m.Values[who] {
		if other := m.Values[against]; i < len(other) && other[i] > 0 {
			all = append(all, v/other[i])
		}
	}
	return median(all), len(all) > 0
}

func (t target) of(m *metric) (value float64, ok bool) {
	if t.against == "" {
		return median(m.Values[stowage]), len(m.Values[stowage]) > 0
	}
	return m.ratio(t.against)
}

func (t target) met(m *metric) bool {
	v, ok := t.of(m)
	if m.More {
		return ok && v >= t.limit
	}
	return ok && v <= t.limit
}

func (t target) sign(m *metric) string {
	if m.More {
		return "≥"
	}
	return "≤"
}

func median(v []float64) float64 { return percentile(v, 50) }

// percentile by the nearest rank; for the median of an even number, the middle of the two.
func percentile(v []float64, p float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := append([]float64(nil), v...)
	sort.Float64s(s)
	if n := len(s); p == 50 && n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	rank := int(math.Ceil(p / 100 * float64(len(s))))
	if rank < 1 {
		rank = 1
	}
	return s[rank-1]
}

// spread is the distance of the extremes, as a part of the median.
func spread(v []float64) float64 {
	mid := median(v)
	if len(v) < 2 || mid == 0 {
		return 0
	}
	return (percentile(v, 100) - percentile(v, 0)) / mid
}

// digits shows three or four figures that count.
func digits(v float64) string {
	switch a := math.Abs(v); {
	case a == 0:
		return "0"
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
