package archive

import "time"

// SpaceMetrics are the figures of one space; durations and counts are totals
// since the start.
type SpaceMetrics struct {
	Space         string
	State         SpaceState
	Problem       string // why it is failing
	QueueBytes    int64
	QueueLimit    int64
	OldestWaiting time.Duration // of parts not yet written
	Unsynced      time.Duration // age of the oldest part that a power cut would take now
	BytesWritten  uint64
	BytesSynced   uint64
	Appends       uint64        // that were Written
	AppendTime    time.Duration // sum over them of the time from sending to Written
	Syncs         uint64        // that were Synced, each of one or more SyncCalls
	SyncTime      time.Duration // sum over them of how long storage took
	LastSync      time.Duration
	SyncCalls     uint64
	Reconnects    uint64
	Failures      uint64
	Usage         Usage
}

// Metrics is a snapshot of the archive's figures.
type Metrics struct {
	Spaces       []SpaceMetrics
	Moves        []MoveStatus
	Groomings    []GroomStatus
	Behind       int64 // times a stream was told that storage does not keep up
	TornTails    int64
	Recovered    int64
	SetAside     int64
	CutResponses int64 // readers whose file was deleted under them
	Deleted      int64
	DeletedBytes int64
	Gaps         map[string]time.Duration // by stream, of gaps that ended since the start
}

// Metrics gives a snapshot.
func (a *Archive) Metrics() Metrics {
	c := &a.counters
	m := Metrics{Moves: a.Moves(), Groomings: a.Groomings(), Behind: c.behind.Load(), TornTails: c.tornTails.Load(), Recovered: c.recovered.Load(), SetAside: c.setAside.Load(),
		CutResponses: c.cutResponses.Load(), Deleted: c.deleted.Load(), DeletedBytes: c.deletedBytes.Load(), Gaps: map[string]time.Duration{}}
	for _, st := range a.allStreams() {
		m.Gaps[st.uid] = time.Duration(st.gapTime.Load())
	}
	now := time.Now()
	for _, s := range a.allSpaces() {
		s.mu.Lock()
		x := SpaceMetrics{Space: s.cfg.Name, State: s.stateLocked(), Problem: s.failing, QueueBytes: s.bytes, QueueLimit: a.spaceLimit(),
			BytesWritten: s.stats.written, BytesSynced: s.stats.synced, Appends: s.stats.appends, AppendTime: s.stats.appendTime, Syncs: s.stats.syncs, SyncTime: s.stats.syncTime,
			LastSync: s.stats.lastSync, SyncCalls: s.stats.syncCalls, Reconnects: s.stats.reconnects, Failures: s.stats.failures, Usage: s.usage}
		if s.wr < len(s.q) {
			x.OldestWaiting = now.Sub(s.q[s.wr].queued)
		}
		if len(s.q) > 0 {
			x.Unsynced = now.Sub(s.q[0].queued)
		}
		s.mu.Unlock()
		m.Spaces = append(m.Spaces, x)
	}
	return m
}
