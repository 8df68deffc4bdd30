package node

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/stream"
)

// writeMetrics writes all metrics in the Prometheus text format. They are read
// from the rooms at the moment of the scrape: no room keeps a registry, and so
// no library for one is needed (the one tried printed a line at each start of
// every verb).
func (n *Node) writeMetrics(w io.Writer) {
	m := metricWriter{w: w, node: n.current.Load().Server.Label()}
	x := n.archive.Metrics()
	for _, r := range n.streams.list() {
		m.counter("mediaserver_gap_seconds_total", x.Gaps[r.set.UID].Seconds(), "stream", r.set.UID)
		n.streamMetrics(&m, r)
	}
	archiveMetrics(&m, &x)
	for _, p := range n.host.Plugins() {
		m.counter("mediaserver_plugin_restarts_total", float64(p.Restarts), "plugin", p.Name)
		m.gauge("mediaserver_plugin_up", bit(p.PID != 0), "plugin", p.Name)
		m.gauge("mediaserver_queue_bytes", float64(p.Pieces), "queue", "pieces", "plugin", p.Name)
	}
	m.gauge("mediaserver_settings_problems", float64(len(n.current.Load().Problems())))
	m.counter("mediaserver_events_dropped_total", float64(n.journal.Dropped()))
	_, refused := n.viewers.totals("")
	m.counter("mediaserver_viewers_refused_total", float64(refused))
	n.timings.write(&m)
	m.gauge("mediaserver_epoch", float64(n.home.epoch))
	processMetrics(&m)
}

func (n *Node) streamMetrics(m *metricWriter, r *running) {
	uid := r.set.UID
	if r.str == nil {
		m.gauge("mediaserver_stream_up", 0, "stream", uid)
		return
	}
	st := r.str.Status()
	m.gauge("mediaserver_stream_up", bit(st.State == stream.StateActive), "stream", uid)
	m.counter("mediaserver_stream_frames_total", float64(st.Units), "stream", uid)
	m.counter("mediaserver_stream_frames_lost_total", float64(st.Lost+st.Driver.UnitsDropped), "stream", uid)
	m.counter("mediaserver_stream_frames_duplicate_total", float64(st.Duplicates), "stream", uid)
	m.counter("mediaserver_stream_frames_not_stored_total", float64(st.Waiting+st.Odd), "stream", uid)
	m.counter("mediaserver_stream_packets_lost_total", float64(st.Driver.PacketsLost), "stream", uid)
	m.counter("mediaserver_stream_packets_reordered_total", float64(st.Driver.PacketsReordered), "stream", uid)
	m.counter("mediaserver_stream_received_bytes_total", float64(st.Driver.BytesReceived), "stream", uid)
	m.counter("mediaserver_stream_reconnects_total", float64(st.Driver.Reconnects), "stream", uid)
	m.gauge("mediaserver_stream_last_frame_timestamp_seconds", float64(st.LastFrame)/1e9, "stream", uid)
	m.gauge("mediaserver_stream_viewers", float64(n.viewers.of(uid)), "stream", uid)
	sent, _ := n.viewers.totals(uid)
	m.counter("mediaserver_stream_sent_bytes_total", float64(sent), "stream", uid)
	if st.CameraOffsetKnown {
		m.gauge("mediaserver_stream_camera_clock_offset_seconds", st.CameraOffset.Seconds(), "stream", uid)
	}
}

func archiveMetrics(m *metricWriter, x *archive.Metrics) {
	m.counter("mediaserver_torn_tails_total", float64(x.TornTails))
	m.counter("mediaserver_files_set_aside_total", float64(x.SetAside))
	m.counter("mediaserver_responses_cut_total", float64(x.CutResponses))
	m.counter("mediaserver_deleted_files_total", float64(x.Deleted))
	m.counter("mediaserver_deleted_bytes_total", float64(x.DeletedBytes))
	for _, v := range x.Moves {
		m.counter("mediaserver_moved_files_total", float64(v.Files), "from", v.From, "to", v.To)
		m.counter("mediaserver_moved_bytes_total", float64(v.Bytes), "from", v.From, "to", v.To)
		m.counter("mediaserver_move_failures_total", float64(v.Failures), "from", v.From, "to", v.To)
		m.gauge("mediaserver_move_due_bytes", float64(v.DueBytes), "from", v.From, "to", v.To)
	}
	for _, v := range x.Groomings {
		m.counter("mediaserver_groomed_files_total", float64(v.Files), "pool", v.Pool)
		m.counter("mediaserver_groomed_freed_bytes_total", float64(v.Bytes), "pool", v.Pool)
		m.counter("mediaserver_groom_failures_total", float64(v.Failures+v.Damaged), "pool", v.Pool)
		m.gauge("mediaserver_groom_due_bytes", float64(v.DueBytes), "pool", v.Pool)
	}
	for _, s := range x.Spaces {
		m.gauge("mediaserver_space_free_bytes", float64(s.Usage.Free), "space", s.Space)
		m.gauge("mediaserver_space_state", 1, "space", s.Space, "state", string(s.State)) // in the words of GET spaces
		m.gauge("mediaserver_space_used_bytes", float64(s.Usage.Used), "space", s.Space)
		m.gauge("mediaserver_queue_bytes", float64(s.QueueBytes), "queue", "write", "space", s.Space)
		m.gauge("mediaserver_queue_limit_bytes", float64(s.QueueLimit), "queue", "write", "space", s.Space)
		m.times("mediaserver_append_seconds", s.AppendTime, s.Appends, "space", s.Space)
		m.times("mediaserver_sync_seconds", s.SyncTime, s.Syncs, "space", s.Space)
		m.counter("mediaserver_sync_calls_total", float64(s.SyncCalls), "space", s.Space)
		m.gauge("mediaserver_sync_last_seconds", s.LastSync.Seconds(), "space", s.Space)
		m.gauge("mediaserver_unsynced_seconds", s.Unsynced.Seconds(), "space", s.Space) // what a power cut would take now
	}
}

func (t *timings) write(m *metricWriter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for proto, h := range t.m {
		sum := uint64(0)
		for i, c := range h.counts {
			sum += c
			le := "+Inf"
			if i < len(bounds) {
				le = strconv.FormatFloat(bounds[i].Seconds(), 'g', -1, 64)
			}
			m.counter("mediaserver_first_byte_seconds_bucket", float64(sum), "proto", proto, "le", le)
		}
		m.counter("mediaserver_first_byte_seconds_sum", h.sum.Seconds(), "proto", proto)
		m.counter("mediaserver_first_byte_seconds_count", float64(sum), "proto", proto)
	}
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// metricWriter writes samples with their labels, and the node's name.
type metricWriter struct {
	w    io.Writer
	node string
}

func (m *metricWriter) name(name string, labels []string) string {
	var b strings.Builder
	b.WriteString(name)
	fmt.Fprintf(&b, "{node=%q", m.node)
	for i := 0; i+1 < len(labels); i += 2 {
		fmt.Fprintf(&b, ",%s=%q", labels[i], labels[i+1])
	}
	b.WriteByte('}')
	return b.String()
}

func (m *metricWriter) sample(name string, v float64, labels []string) {
	fmt.Fprintf(m.w, "%s %s\n", m.name(name, labels), strconv.FormatFloat(v, 'g', -1, 64))
}

func (m *metricWriter) gauge(name string, v float64, labels ...string) {
	m.sample(name, v, labels)
}

func (m *metricWriter) counter(name string, v float64, labels ...string) {
	m.sample(name, v, labels)
}

// times writes how often something was done and how long it took in all, of
// which a mean can be had.
func (m *metricWriter) times(name string, sum time.Duration, count uint64, labels ...string) {
	m.sample(name+"_sum", sum.Seconds(), labels)
	m.sample(name+"_count", float64(count), labels)
}
