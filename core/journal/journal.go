package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"media-server/core/access/dbfile"
)

const (
	queueLength = 4096
	batchWait   = 250 * time.Millisecond
	batchMost   = 1000
	retryWait   = time.Second
	cleanEvery  = time.Hour
	cleanChunk  = 5000
)

// Level is how much an event matters.
type Level string

// Levels, each above the one before.
const (
	Debug Level = "debug"
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"
)

func (l Level) rank() int {
	switch l {
	case Debug:
		return 0
	case Warn, "warning":
		return 2
	case Error:
		return 3
	}
	return 1
}

var levels = [...]Level{Debug, Info, Warn, Error}

// Event is something that happened.
type Event struct {
	ID      int64          `json:"id"`
	Type    string         `json:"type"` // stream.lost, storage.full, …
	TimeMS  int64          `json:"time_ms"`
	Node    string         `json:"node"`
	UID     string         `json:"uid"`
	Level   Level          `json:"level"`
	Message string         `json:"message"`
	Data    map[string]any `json:"data,omitempty"`
}

// steps lead from one schema version to the next.
var steps = []string{
	`CREATE TABLE events(
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		type TEXT NOT NULL, time_ms INTEGER NOT NULL, node TEXT NOT NULL, uid TEXT NOT NULL,
		level INTEGER NOT NULL, message TEXT NOT NULL, data TEXT);
	CREATE INDEX events_time ON events(time_ms);
	CREATE INDEX events_uid ON events(uid, id) WHERE uid <> '';`,
}

// Options say where the journal lies.
type Options struct {
	Path string        // of journal.db
	Node string        // written into events that name none
	Keep time.Duration // older events are deleted; 0 = never
	Log  *slog.Logger  // nil = silent
	Now  func() time.Time
}

// Journal is open. All methods may be called from several goroutines.
type Journal struct {
	o       Options
	db      *dbfile.DB
	queue   chan Event
	dropped atomic.Uint64 // since the last batch
	total   atomic.Uint64 // dropped since the start
	last    atomic.Int64  // newest id
	keep    atomic.Int64

	mu     sync.Mutex
	more   chan struct{} // closed when something was written
	closed bool
	end    chan struct{}
	wg     sync.WaitGroup
}

// Open opens or makes the journal. The caller runs Run and, after it ended,
// Close.
func Open(ctx context.Context, o Options) (*Journal, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	db, err := dbfile.Open(ctx, o.Path, steps)
	if dbfile.IsDamaged(err) {
		o.Log.Error("the journal is damaged; events start anew", "file", o.Path, "err", err, "kept", o.Path+".damaged")
		for _, s := range []string{"-wal", "-shm"} {
			os.Remove(o.Path + s)
		}
		if err := os.Rename(o.Path, o.Path+".damaged"); err != nil {
			return nil, fmt.Errorf("put the damaged journal aside: %w", err)
		}
		db, err = dbfile.Open(ctx, o.Path, steps)
	}
	if err != nil {
		return nil, err
	}
	j := &Journal{o: o, db: db, queue: make(chan Event, queueLength), more: make(chan struct{}), end: make(chan struct{})}
	j.keep.Store(int64(o.Keep))
	var last sql.NullInt64
	if err := db.Read.QueryRowContext(ctx, "SELECT max(id) FROM events").Scan(&last); err != nil {
		db.Close()
		return nil, fmt.Errorf("read %s: %w", o.Path, err)
	}
	j.last.Store(last.Int64)
	return j, nil
}

// SetKeep changes how long events stay.
func (j *Journal) SetKeep(d time.Duration) { j.keep.Store(int64(d)) }

// Dropped counts events lost since the start because the queue was full.
func (j *Journal) Dropped() uint64 { return j.total.Load() }

// Emit takes an event; it never blocks. ID is given when it is written; Node,
// TimeMS and Level are filled in where empty. Data must not be changed
// afterwards.
func (j *Journal) Emit(e Event) {
	if e.TimeMS == 0 {
		e.TimeMS = j.o.Now().UnixMilli()
	}
	if e.Node == "" {
		e.Node = j.o.Node
	}
	select {
	case j.queue <- e:
	default:
		j.dropped.Add(1)
		j.total.Add(1)
	}
}

// Run writes what is emitted, and deletes what is too old, until ctx ends; then
// it writes what is left.
func (j *Journal) Run(ctx context.Context) error {
	clean := time.NewTicker(cleanEvery)
	defer clean.Stop()
	j.clean(ctx)
	var batch []Event
	for {
		select {
		case <-ctx.Done():
			for {
				batch = j.gather(batch)
				if len(batch) == 0 {
					return nil
				}
				if err := j.write(context.WithoutCancel(ctx), batch); err != nil {
					return fmt.Errorf("write the last events: %w", err)
				}
				batch = batch[:0]
			}
		case <-clean.C:
			j.clean(ctx)
		case e := <-j.queue:
			batch = append(batch, e)
			wait(ctx, batchWait)
			batch = j.gather(batch)
			for {
				err := j.write(ctx, batch)
				if err == nil {
					batch = batch[:0]
					break
				}
				// A full disk, mostly. The queue goes on filling meanwhile, and
				// what it cannot take is counted.
				if ctx.Err() != nil {
					break
				}
				j.o.Log.Error("events cannot be written", "file", j.o.Path, "err", err, "waiting", len(batch)+len(j.queue))
				wait(ctx, retryWait)
			}
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// gather takes what is queued, up to a full batch.
func (j *Journal) gather(batch []Event) []Event {
	for len(batch) < batchMost {
		select {
		case e := <-j.queue:
			batch = append(batch, e)
		default:
			if n := j.dropped.Swap(0); n > 0 {
				batch = append(batch, Event{Type: "journal.dropped", TimeMS: j.o.Now().UnixMilli(), Node: j.o.Node, Level: Warn,
					Message: fmt.Sprintf("%d events were lost: more came than could be written", n), Data: map[string]any{"events": n}})
			}
			return batch
		}
	}
	return batch
}

func (j *Journal) write(ctx context.Context, batch []Event) error {
	tx, err := j.db.Write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	ins, err := tx.PrepareContext(ctx, "INSERT INTO events(type,time_ms,node,uid,level,message,data) VALUES(?,?,?,?,?,?,?)")
	if err != nil {
		return err
	}
	defer ins.Close()
	var last int64
	for _, e := range batch {
		var data any
		if len(e.Data) > 0 {
			b, err := json.Marshal(e.Data)
			if err != nil { // a room's mistake must not stop the others' events
				b, _ = json.Marshal(map[string]string{"unreadable": err.Error()})
			}
			data = string(b)
		}
		r, err := ins.ExecContext(ctx, e.Type, e.TimeMS, e.Node, e.UID, e.Level.rank(), e.Message, data)
		if err != nil {
			return err
		}
		if last, err = r.LastInsertId(); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	j.last.Store(last)
	j.mu.Lock()
	close(j.more)
	j.more = make(chan struct{})
	j.mu.Unlock()
	return nil
}

// clean deletes what is older than Keep, a little at a time.
func (j *Journal) clean(ctx context.Context) {
	keep := time.Duration(j.keep.Load())
	if keep <= 0 {
		return
	}
	before := j.o.Now().Add(-keep).UnixMilli()
	for ctx.Err() == nil {
		r, err := j.db.Write.ExecContext(ctx, "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE time_ms < ? LIMIT ?)", before, cleanChunk)
		if err != nil {
			if ctx.Err() == nil {
				j.o.Log.Warn("old events cannot be deleted", "file", j.o.Path, "err", err)
			}
			return
		}
		if n, _ := r.RowsAffected(); n < cleanChunk {
			return
		}
	}
}

// Clear deletes all events. Ids go on.
func (j *Journal) Clear(ctx context.Context) error {
	if _, err := j.db.Write.ExecContext(ctx, "DELETE FROM events"); err != nil {
		return fmt.Errorf("clear the journal: %w", err)
	}
	return nil
}

// Close ends subscriptions and closes the file. Run must have ended.
func (j *Journal) Close() error {
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		close(j.end)
	}
	j.mu.Unlock()
	j.wg.Wait()
	return j.db.Close()
}
