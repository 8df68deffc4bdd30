package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// Filter selects events. Zero values select all.
type Filter struct {
	Types  []string // globs, any of: "stream.*", "server.started"; * is the only special sign
	UID    string
	Level  Level  // this and above
	Text   string // part of message or data, ignoring ASCII case
	FromMS int64  // from then on
	ToMS   int64  // before then
	Before int64  // cursor: smaller ids only
	Limit  int    // 100; at most 10000
}

const columns = "SELECT id,type,time_ms,node,uid,level,message,data FROM events"

// List gives events, newest first, and the cursor (Filter.Before) of what
// comes behind them; 0 = nothing.
func (j *Journal) List(ctx context.Context, f Filter) (items []Event, next int64, err error) {
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	limit = min(limit, 10000)
	where, args := f.where()
	rows, err := j.db.Read.QueryContext(ctx, columns+where+" ORDER BY id DESC LIMIT ?", append(args, limit+1)...)
	if err != nil {
		return nil, 0, fmt.Errorf("read the journal: %w", err)
	}
	if items, err = scan(rows); err != nil {
		return nil, 0, fmt.Errorf("read the journal: %w", err)
	}
	if len(items) > limit {
		items = items[:limit]
		next = items[limit-1].ID
	}
	return items, next, nil
}

func (f Filter) where() (string, []any) {
	var terms []string
	var args []any
	add := func(term string, a ...any) {
		terms = append(terms, term)
		args = append(args, a...)
	}
	var types []string
	for _, t := range f.Types {
		if t = strings.TrimSpace(t); t != "" {
			types = append(types, "type GLOB ?")
			args = append(args, globs.Replace(t))
		}
	}
	if len(types) > 0 {
		terms = append(terms, "("+strings.Join(types, " OR ")+")")
	}
	if f.UID != "" {
		add("uid = ? AND uid <> ''", f.UID)
	}
	if f.Level != "" {
		add("level >= ?", f.Level.rank())
	}
	if f.Text != "" {
		like := "%" + likes.Replace(f.Text) + "%"
		add(`(message LIKE ? ESCAPE '\' OR data LIKE ? ESCAPE '\')`, like, like)
	}
	if f.FromMS != 0 {
		add("time_ms >= ?", f.FromMS)
	}
	if f.ToMS != 0 {
		add("time_ms < ?", f.ToMS)
	}
	if f.Before > 0 {
		add("id < ?", f.Before)
	}
	if len(terms) == 0 {
		return "", args
	}
	return " WHERE " + strings.Join(terms, " AND "), args
}

var (
	globs = strings.NewReplacer("[", "[[]", "?", "[?]")
	likes = strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`)
)

func scan(rows *sql.Rows) (items []Event, err error) {
	defer rows.Close()
	for rows.Next() {
		var e Event
		var level int
		var data sql.NullString
		if err := rows.Scan(&e.ID, &e.Type, &e.TimeMS, &e.Node, &e.UID, &level, &e.Message, &data); err != nil {
			return nil, err
		}
		e.Level = levels[min(max(level, 0), len(levels)-1)]
		if data.Valid {
			if err := json.Unmarshal([]byte(data.String), &e.Data); err != nil {
				e.Data = map[string]any{"unreadable": data.String}
			}
		}
		items = append(items, e)
	}
	return items, rows.Err()
}

// Subscribe delivers events with ids above after, oldest first, without end;
// after < 0 begins with what comes next. The channel is closed after stop, at
// Close, or when the file cannot be read.
func (j *Journal) Subscribe(after int64) (events <-chan Event, stop func(), err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil, nil, errors.New("the journal is closed")
	}
	if after < 0 {
		after = j.last.Load()
	}
	ctx, cancel := context.WithCancel(context.Background())
	ch := make(chan Event, 16)
	done := make(chan struct{})
	j.wg.Go(func() {
		defer close(done)
		defer close(ch)
		defer cancel()
		j.follow(ctx, after, ch)
	})
	return ch, sync.OnceFunc(func() { cancel(); <-done }), nil
}

func (j *Journal) follow(ctx context.Context, after int64, ch chan<- Event) {
	for {
		j.mu.Lock()
		more := j.more // before reading: what is written meanwhile is noticed
		j.mu.Unlock()
		for {
			rows, err := j.db.Read.QueryContext(ctx, columns+" WHERE id > ? ORDER BY id LIMIT 200", after)
			var items []Event
			if err == nil {
				items, err = scan(rows)
			}
			if err != nil {
				if ctx.Err() == nil {
					j.o.Log.Warn("events cannot be followed", "err", err)
				}
				return
			}
			if len(items) == 0 {
				break
			}
			for _, e := range items {
				select {
				case ch <- e:
					after = e.ID
				case <-ctx.Done():
					return
				case <-j.end:
					return
				}
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		case <-j.end:
			return
		}
	}
}
