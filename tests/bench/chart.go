package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The chart shows how many times better than go-proxy Stowage is, one bar for each line with such a target,
// on a logarithmic axis; beside it the target, and where the built-in store and the floor are.
const (
	chartWidth  = 900
	chartLeft   = 320 // of the axis
	chartRight  = 84
	chartTop    = 92
	chartRow    = 28
	chartBar    = 14
	chartLow    = 0.5 // the axis' ends
	chartHigh   = 64.0
	chartBottom = 46
)

func (b *bench) chart() string {
	var rows []*metric
	for _, m := range b.metrics {
		for _, t := range m.Targets {
			if _, ok := t.of(m); ok && t.against == goProxy {
				rows = append(rows, m)
			}
		}
	}
	height := chartTop + len(rows)*chartRow + chartBottom
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" `+
		`font-family="sans-serif" font-size="13">`+"\n", chartWidth, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", chartWidth, height)
	text(&out, 16, 28, "start", "#1f2933", `font-size="17" font-weight="bold"`, "Stowage against a plain proxy store in Go")
	text(&out, 16, 48, "start", "#52606d", "", "times better than go-proxy; right of 1 is better. "+b.chartNote())
	chartLegend(&out)
	chartAxis(&out, height)
	for i, m := range rows {
		chartLine(&out, m, chartTop+i*chartRow)
	}
	out.WriteString("</svg>\n")
	return out.String()
}

func (b *bench) chartNote() string {
	return fmt.Sprintf("Medians of %d rounds, %s.", b.options.rounds, plural(b.machine().Processors, "processor"))
}

func text(out *strings.Builder, x, y float64, anchor, colour, more, s string) {
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s" %s>%s</text>`+"\n",
		x, y, anchor, colour, more, html.EscapeString(s))
}

func chartX(times float64) float64 {
	times = math.Min(math.Max(times, chartLow), chartHigh)
	part := math.Log2(times/chartLow) / math.Log2(chartHigh/chartLow)
	return chartLeft + part*(chartWidth-chartLeft-chartRight)
}

func chartAxis(out *strings.Builder, height int) {
	for v := chartLow; v <= chartHigh; v *= 2 {
		colour := "#e4e7eb"
		if v == 1 {
			colour = "#7b8794"
		}
		x := chartX(v)
		fmt.Fprintf(out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s"/>`+"\n", x, chartTop-6, x, height-chartBottom+4, colour)
		text(out, x, float64(height-chartBottom+20), "middle", "#52606d", "", fmt.Sprintf("%g ×", v))
	}
}

func chartLegend(out *strings.Builder) {
	x, y := float64(chartLeft), 70.0
	fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="22" height="10" fill="#2f6f9f"/>`+"\n", x, y-9)
	text(out, x+28, y, "start", "#1f2933", "", "stowage")
	chartTarget(out, x+110, y-10, 12)
	text(out, x+118, y, "start", "#1f2933", "", "its target")
	chartDot(out, x+208, y-4, "#d9822b")
	text(out, x+218, y, "start", "#1f2933", "", "built-in, in process")
	chartDot(out, x+362, y-4, "#7b8794")
	text(out, x+372, y, "start", "#1f2933", "", "floor")
}

func chartTarget(out *strings.Builder, x, y, h float64) {
	fmt.Fprintf(out, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#c0392b" stroke-width="3"/>`+"\n",
		x, y, x, y+h)
}

func chartDot(out *strings.Builder, x, y float64, colour string) {
	fmt.Fprintf(out, `<circle cx="%.1f" cy="%.1f" r="4.5" fill="%s" stroke="#ffffff"/>`+"\n", x, y, colour)
}

// times better than go-proxy, whatever the unit.
func times(m *metric, who string) (float64, bool) {
	var all []float64
	for i, v := range m.Values[who] {
		if base := m.Values[goProxy]; i < len(base) && base[i] > 0 && v > 0 {
			if m.More {
				all = append(all, v/base[i])
			} else {
				all = append(all, base[i]/v)
			}
		}
	}
	return median(all), len(all) > 0
}

func chartLine(out *strings.Builder, m *metric, top int) {
	y := float64(top)
	text(out, chartLeft-14, y+12, "end", "#1f2933", "", m.Name+", "+m.Where)
	own, _ := times(m, stowage)
	from, to := chartX(1), chartX(own)
	fmt.Fprintf(out, `<rect x="%.1f" y="%.1f" width="%.1f" height="%d" fill="#2f6f9f"/>`+"\n",
		math.Min(from, to), y, math.Abs(to-from), chartBar)
	for _, t := range m.Targets {
		if t.against != goProxy {
			continue
		}
		want := t.limit
		if !m.More {
			want = 1 / t.limit
		}
		chartTarget(out, chartX(want), y-2, chartBar+4)
	}
	for who, colour := range map[string]string{builtIn: "#d9822b", floor: "#7b8794"} {
		if v, ok := times(m, who); ok {
			chartDot(out, chartX(v), y+chartBar/2, colour)
		}
	}
	text(out, chartWidth-8, y+12, "end", "#1f2933", "", digits(own)+" ×")
}
