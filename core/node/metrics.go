package node

import (
	"io"
	"maps"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/still"
	"media-server/core/stream"
)

// writeMetrics writes all metrics in the Prometheus text format. They are read
// from the rooms at the moment of the scrape: no room keeps a registry, and so
// no library for one is needed (the one tried printed a line at each start of
// every verb).
func (n *Node) writeMetrics(w io.Writer) {
	m := newMetricWriter(n.current.Load().Server.Label())
	x := n.archive.Metrics()
	for _, r := range n.streams.list() {
		n.streamMetrics(m, r, x.Gaps[r.set.UID])
	}
	archiveMetrics(m, &x)
	for _, p := range n.host.Plugins() {
		m.counter("mediaserver_plugin_restarts_total", "Restarts of a plugin process.", float64(p.Restarts), "plugin", p.Name)
		m.gauge("mediaserver_plugin_up", "1 while the plugin process runs.", bit(p.PID != 0), "plugin", p.Name)
		m.gauge("mediaserver_queue_bytes", queueHelp, float64(p.Pieces), "queue", "pieces", "plugin", p.Name)
	}
	m.gauge("mediaserver_settings_problems", "Problems of the settings files.", float64(len(n.current.Load().Problems())))
	m.counter("mediaserver_events_dropped_total", "Events that the journal could not take.", float64(n.journal.Dropped()))
	_, refused := n.viewers.totals("")
	m.counter("mediaserver_viewers_refused_total", "Requests of viewers beyond [limits] viewers.", float64(refused))
	n.timings.write(m)
	stillMetrics(m, n.web.stills.Counts())
	m.gauge("mediaserver_epoch", "Starts of a server on this data-dir.", float64(n.home.epoch))
	processMetrics(m)
	m.writeTo(w)
}

const queueHelp = "Bytes that wait in memory: write = not yet durable, pieces = of units that have not arrived whole."

// streamMetrics are those of a configured stream; missing is how much its gaps
// come to.
func (n *Node) streamMetrics(m *metricWriter, r *running, missing time.Duration) {
	uid := r.set.UID
	gauge := func(name, help string, v float64) { m.gauge("mediaserver_stream_"+name, help, v, "stream", uid) }
	counter := func(name, help string, v uint64) {
		m.counter("mediaserver_stream_"+name, help, float64(v), "stream", uid)
	}
	m.counter("mediaserver_gap_seconds_total", "Time that is missing of the recording, of gaps that ended since the start.", missing.Seconds(), "stream", uid)
	var st stream.Status
	if r.str != nil {
		st = r.str.Status()
	}
	gauge("up", "1 while frames arrive.", bit(st.State == stream.StateActive))
	if r.str == nil {
		return
	}
	counter("frames_total", "Access units taken from the driver.", st.Units)
	counter("frames_lost_total", "Access units that never came, or that the driver dropped.", st.Lost+st.Driver.UnitsDropped)
	counter("frames_duplicate_total", "Access units that the driver sent again, dropped.", st.Duplicates)
	counter("frames_not_stored_total", "Access units not stored: before a key frame, or malformed.", st.Waiting+st.Odd)
	counter("packets_lost_total", "Packets that the driver misses.", st.Driver.PacketsLost)
	counter("packets_reordered_total", "Packets that came out of order.", st.Driver.PacketsReordered)
	counter("received_bytes_total", "Bytes that the driver received.", st.Driver.BytesReceived)
	counter("reconnects_total", "Times the driver connected anew.", st.Driver.Reconnects)
	gauge("last_frame_timestamp_seconds", "Unix time of the newest access unit.", float64(st.LastFrame)/1e9)
	gauge("viewers", "Who watches.", float64(n.viewers.of(uid)))
	sent, _ := n.viewers.totals(uid)
	counter("sent_bytes_total", "Bytes of media sent to viewers.", sent)
	if st.CameraOffsetKnown {
		gauge("camera_clock_offset_seconds", "The camera's clock minus the server's.", st.CameraOffset.Seconds())
	}
}

func archiveMetrics(m *metricWriter, x *archive.Metrics) {
	m.counter("mediaserver_torn_tails_total", "Files whose end was cut off after a crash.", float64(x.TornTails))
	m.counter("mediaserver_files_set_aside_total", "Files in a space that are not understood.", float64(x.SetAside))
	m.counter("mediaserver_responses_cut_total", "Answers that ended early because their file was deleted.", float64(x.CutResponses))
	m.counter("mediaserver_deleted_files_total", "Media files deleted by the rules.", float64(x.Deleted))
	m.counter("mediaserver_deleted_bytes_total", "Bytes of media files deleted by the rules.", float64(x.DeletedBytes))
	for _, v := range x.Moves {
		l := []string{"from", v.From, "to", v.To}
		m.counter("mediaserver_moved_files_total", "Media files moved from pool to pool.", float64(v.Files), l...)
		m.counter("mediaserver_moved_bytes_total", "Bytes moved from pool to pool.", float64(v.Bytes), l...)
		m.counter("mediaserver_move_failures_total", "Moves of a file that failed; they are tried again.", float64(v.Failures), l...)
		m.gauge("mediaserver_move_due_bytes", "Bytes that are to be moved by now.", float64(v.DueBytes), l...)
	}
	for _, v := range x.Groomings {
		m.counter("mediaserver_groomed_files_total", "Media files reduced to their key frames.", float64(v.Files), "pool", v.Pool)
		m.counter("mediaserver_groomed_freed_bytes_total", "Bytes freed by that.", float64(v.Bytes), "pool", v.Pool)
		m.counter("mediaserver_groom_failures_total", "Files that could not be groomed, or were found damaged.", float64(v.Failures+v.Damaged), "pool", v.Pool)
		m.gauge("mediaserver_groom_due_bytes", "Bytes of files that are to be groomed by now.", float64(v.DueBytes), "pool", v.Pool)
	}
	for _, s := range x.Spaces {
		m.gauge("mediaserver_space_free_bytes", "Bytes that a space has left.", float64(s.Usage.Free), "space", s.Space)
		m.gauge("mediaserver_space_state", "1 for the state that a space is in, in the words of GET spaces.", 1, "space", s.Space, "state", string(s.State))
		m.gauge("mediaserver_space_used_bytes", "Bytes that a space holds.", float64(s.Usage.Used), "space", s.Space)
		m.gauge("mediaserver_queue_bytes", queueHelp, float64(s.QueueBytes), "queue", "write", "space", s.Space)
		m.gauge("mediaserver_queue_limit_bytes", "Most that the queue may hold.", float64(s.QueueLimit), "queue", "write", "space", s.Space)
		m.times("mediaserver_append_seconds", "Time from sending bytes to a space until they were written.", s.AppendTime, s.Appends, "space", s.Space)
		m.times("mediaserver_sync_seconds", "Time that a space took to make what was written durable.", s.SyncTime, s.Syncs, "space", s.Space)
		m.counter("mediaserver_sync_calls_total", "Calls of fsync and its kin that the space's process made.", float64(s.SyncCalls), "space", s.Space)
		m.gauge("mediaserver_sync_last_seconds", "Time that the last of these took.", s.LastSync.Seconds(), "space", s.Space)
		m.gauge("mediaserver_unsynced_seconds", "Age of the oldest bytes that a power cut would take now.", s.Unsynced.Seconds(), "space", s.Space)
	}
}

func (t *timings) write(m *metricWriter) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, proto := range slices.Sorted(maps.Keys(t.m)) {
		m.histogram("mediaserver_first_byte_seconds", "Time from a viewer's request until its answer is ready to be sent.", t.m[proto], "proto", proto)
	}
}

func stillMetrics(m *metricWriter, c still.Counts) {
	for _, x := range []struct {
		result string
		n      uint64
	}{{"cached", c.Cached}, {"decoded", c.Decoded}, {"failed", c.Failed}, {"no_decoder", c.NoDecoder}, {"refused", c.Refused}} {
		m.counter("mediaserver_stills_total", "JPEG pictures asked for that need a decoder: no_decoder = there is no ffmpeg, refused = too many were waiting.", float64(x.n), "result", x.result)
	}
	m.gauge("mediaserver_stills_cache_bytes", "Bytes of the pictures that are kept.", float64(c.Bytes))
}

func bit(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
