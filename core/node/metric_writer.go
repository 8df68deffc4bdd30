package node

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// metricWriter makes a page of the Prometheus text format 0.0.4. The samples of
// a metric are gathered and stand together, behind what it means and its type,
// as the format demands; they may come in any order.
type metricWriter struct {
	node    string // label of every sample
	metrics []*metric
	byName  map[string]*metric
}

type metric struct {
	name, kind, help string
	samples          strings.Builder
}

func newMetricWriter(node string) *metricWriter {
	return &metricWriter{node: node, byName: map[string]*metric{}}
}

func (m *metricWriter) metric(name, kind, help string) *metric {
	x := m.byName[name]
	if x == nil {
		x = &metric{name: name, kind: kind, help: help}
		m.byName[name] = x
		m.metrics = append(m.metrics, x)
	}
	return x
}

// gauge adds a value that goes up and down. Labels are names and values in
// turn, here and below.
func (m *metricWriter) gauge(name, help string, v float64, labels ...string) {
	m.metric(name, "gauge", help).add(m.node, "", v, labels)
}

// counter adds a total since the start.
func (m *metricWriter) counter(name, help string, v float64, labels ...string) {
	m.metric(name, "counter", help).add(m.node, "", v, labels)
}

// times adds how often something was done and how long it took in all, of
// which a mean can be had: a summary without quantiles.
func (m *metricWriter) times(name, help string, sum time.Duration, count uint64, labels ...string) {
	x := m.metric(name, "summary", help)
	x.add(m.node, "_sum", sum.Seconds(), labels)
	x.add(m.node, "_count", float64(count), labels)
}

// histogram adds the buckets of h, which the format wants summed up.
func (m *metricWriter) histogram(name, help string, h *histogram, labels ...string) {
	x := m.metric(name, "histogram", help)
	sum := uint64(0)
	for i, c := range h.counts {
		sum += c
		le := "+Inf"
		if i < len(bounds) {
			le = strconv.FormatFloat(bounds[i].Seconds(), 'g', -1, 64)
		}
		x.add(m.node, "_bucket", float64(sum), append(labels[:len(labels):len(labels)], "le", le))
	}
	x.add(m.node, "_sum", h.sum.Seconds(), labels)
	x.add(m.node, "_count", float64(sum), labels)
}

// labelValue escapes as the format says, which is less than %q does.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func (x *metric) add(node, suffix string, v float64, labels []string) {
	label := func(name, value string) {
		fmt.Fprintf(&x.samples, `%s="%s"`, name, labelValue.Replace(strings.ToValidUTF8(value, "?")))
	}
	x.samples.WriteString(x.name + suffix + "{")
	label("node", node)
	for i := 0; i+1 < len(labels); i += 2 {
		x.samples.WriteByte(',')
		label(labels[i], labels[i+1])
	}
	x.samples.WriteString("} " + strconv.FormatFloat(v, 'g', -1, 64) + "\n")
}

// writeTo writes the page.
func (m *metricWriter) writeTo(w io.Writer) {
	for _, x := range m.metrics {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s", x.name, x.help, x.name, x.kind, x.samples.String())
	}
}
