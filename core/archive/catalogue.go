package archive

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"media-server/core/media"
)

// catalogueSchema is that of catalogue.db, version 5. It is a cache: an older
// one is made anew from the files rather than migrated; a change of the schema
// raises before.
var catalogueSchema = schema{before: 4, cache: true, steps: []string{catalogueTables}}

const catalogueTables = `
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('incomplete', '1');   -- until a rebuild has been through all spaces
CREATE TABLE streams (id INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE, rules TEXT NOT NULL DEFAULT '', longest INTEGER NOT NULL DEFAULT 0,
  last INTEGER NOT NULL DEFAULT -1, disc INTEGER NOT NULL DEFAULT 0);   -- numbers of the last segment, also when its file is gone
CREATE TABLE spaces (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, gen INTEGER NOT NULL DEFAULT 0);
CREATE TABLE inits (id INTEGER PRIMARY KEY, tracks BLOB NOT NULL);
CREATE TABLE files (
  id     INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  space  INTEGER NOT NULL,
  t0     INTEGER NOT NULL,        -- ns
  t1     INTEGER NOT NULL,
  size   INTEGER NOT NULL,
  flags  INTEGER NOT NULL,        -- 1 open, 2 going, 4 has holes, 8 kept elsewhere than its name says, 16 groomed, 32 nothing to groom in it, 64 groomed: it goes, and can be read until it does, 128 encrypted
  gen    INTEGER NOT NULL,        -- scan that saw it last
  init   INTEGER NOT NULL,
  zero   INTEGER NOT NULL,
  run    BLOB NOT NULL,
  name   TEXT NOT NULL,
  segs   BLOB NOT NULL,
  shape  BLOB NOT NULL            -- sizes of sample tables; empty = not known
);
CREATE TABLE ciphers (file INTEGER PRIMARY KEY, key BLOB NOT NULL, day INTEGER NOT NULL);   -- keys of encrypted files
CREATE INDEX ciphers_key ON ciphers (key);
CREATE TRIGGER ciphers_gone AFTER DELETE ON files WHEN OLD.flags & 128 BEGIN DELETE FROM ciphers WHERE file = OLD.id; END;
CREATE INDEX files_time ON files (stream, t0, t1, flags, size, space);
CREATE INDEX files_space ON files (space, t0, flags, size);
CREATE INDEX files_name ON files (space, name);
CREATE INDEX files_open ON files (space) WHERE flags & 1;   -- a start asks for these; without it it goes through all rows of a month
CREATE TABLE pages (k INTEGER PRIMARY KEY, body BLOB NOT NULL);   -- page.go: stream << 24 | hour
CREATE TRIGGER files_added AFTER INSERT ON files BEGIN
  DELETE FROM pages WHERE k = NEW.stream << 24 | NEW.t0 / 3600000000000; END;
CREATE TRIGGER files_removed AFTER DELETE ON files BEGIN
  DELETE FROM pages WHERE k = OLD.stream << 24 | OLD.t0 / 3600000000000; END;
CREATE TRIGGER files_changed AFTER UPDATE ON files BEGIN
  DELETE FROM pages WHERE k IN (OLD.stream << 24 | OLD.t0 / 3600000000000, NEW.stream << 24 | NEW.t0 / 3600000000000); END`

// Flags of a file's row.
const (
	rowOpen      = 1
	rowGoing     = 2 // its deletion is decided
	rowHoles     = 4
	rowGroomed   = 16 // keeps key frames only
	rowWhole     = 32 // was looked at: nothing can be groomed in it
	rowReplaced  = 64 // with rowGoing: what was groomed stands in its place; it can be read until it goes
	rowEncrypted = 128
)

// catalogue is catalogue.db: what the media files say, to be found by stream
// and time. It may be deleted at any time.
type catalogue struct {
	*database
	mu      sync.Mutex
	streams map[string]int64
	spaces  map[string]int64
	gens    map[string]int64
	inits   map[InitID][]media.Track
	longest map[int64]int64 // stream: longest file, ns; a query looks back as far
	ruled   map[int64]bool  // streams known to have rules
	ends    map[int64]streamEnds
	paged   map[int64]int64 // hour of a stream's newest file; of the writer alone

	incomplete atomic.Bool // files may be missing: a rebuild is due or under way
}

// setIncomplete says, also to the next process, whether a rebuild is due.
func (c *catalogue) setIncomplete(ctx context.Context, on bool) error {
	c.incomplete.Store(on)
	return c.atOnce(ctx, func(tx *sql.Tx) (err error) {
		if on {
			_, err = tx.Exec("INSERT OR REPLACE INTO meta VALUES ('incomplete', '1')")
		} else {
			_, err = tx.Exec("DELETE FROM meta WHERE key = 'incomplete'")
		}
		return err
	})
}

func openCatalogue(ctx context.Context, o *Options) (*catalogue, error) {
	d, err := openDatabase(ctx, filepath.Join(o.DataDir, "catalogue.db"), catalogueSchema, o.Log)
	if err != nil {
		return nil, err
	}
	c := &catalogue{database: d, paged: map[int64]int64{}}
	d.undone = func() { // numbers remembered from the transaction may not exist
		if err := c.load(); err != nil {
			o.Log.Warn("catalogue cannot be read", "err", err)
		}
	}
	return c, c.load()
}

// load reads the small tables; files are never read as a whole.
func (c *catalogue) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams, c.spaces, c.gens = map[string]int64{}, map[string]int64{}, map[string]int64{}
	c.inits, c.longest, c.ruled = map[InitID][]media.Track{}, map[int64]int64{}, map[int64]bool{}
	// The inits of a rolled back change are written again when it is repeated.
	var due int
	if err := c.reader().QueryRow("SELECT count(*) FROM meta WHERE key = 'incomplete'").Scan(&due); err != nil {
		return err
	}
	c.incomplete.Store(due > 0)
	err := each(c.reader(), "SELECT id, uid, longest FROM streams", func(rows *sql.Rows) error {
		var id, longest int64
		var uid string
		err := rows.Scan(&id, &uid, &longest)
		c.streams[uid], c.longest[id] = id, longest
		return err
	})
	if err != nil {
		return err
	}
	return each(c.reader(), "SELECT id, name, gen FROM spaces", func(rows *sql.Rows) error {
		var id, gen int64
		var name string
		err := rows.Scan(&id, &name, &gen)
		c.spaces[name], c.gens[name] = id, gen
		return err
	})
}

func each(db *sql.DB, query string, fn func(*sql.Rows) error, args ...any) error {
	rows, err := db.Query(query, args...)
	if err != nil {
		return err
	}
	return eachOf(rows, fn)
}

func eachOf(rows *sql.Rows, fn func(*sql.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// streamID finds or makes the number of a uid; within the writer only.
func (c *catalogue) streamID(tx execer, uid string) (int64, error) {
	c.mu.Lock()
	id, ok := c.streams[uid]
	c.mu.Unlock()
	if ok {
		return id, nil
	}
	err := tx.QueryRow("INSERT INTO streams (uid) VALUES (?) ON CONFLICT (uid) DO UPDATE SET uid = uid RETURNING id", uid).Scan(&id)
	return id, err
}

func (c *catalogue) spaceID(tx execer, name string) (id, gen int64, err error) {
	c.mu.Lock()
	id, ok := c.spaces[name]
	gen = c.gens[name]
	c.mu.Unlock()
	if ok {
		return id, gen, nil
	}
	err = tx.QueryRow("INSERT INTO spaces (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET name = name RETURNING id, gen", name).Scan(&id, &gen)
	return id, gen, err
}

// committed takes over numbers that a transaction made.
func (c *catalogue) committed(uid string, stream int64, space string, spaceID, length int64) {
	c.mu.Lock()
	c.streams[uid], c.spaces[space] = stream, spaceID
	c.longest[stream] = max(c.longest[stream], length)
	c.mu.Unlock()
}

// row is a file as the catalogue holds it.
type row struct {
	ID       FileID
	UID      string
	Space    string
	Span     media.Span
	Size     int64
	Flags    int64
	Init     InitID
	Zero     media.Wall
	Run      media.RunID
	Name     string
	Segs     []byte
	Shape    []byte
	Rules    string      // when not "": of a stream that has none yet
	Unminted bool        // its number is still to be given to another file
	Enc      *Encryption // key of an encrypted file; put writes it, reading a row leaves it out
	Twin     *row        // put found the same file listed in another space, and wrote nothing
	Last     uint64      // number of the last segment, and its discontinuity counter
	Disc     uint64
}

// gone tells whether a file that is listed no more cannot be read either.
func (r *row) gone() bool { return r.Flags&(rowGoing|rowReplaced) == rowGoing }

// notNil: a nil slice would be NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// sameFile tells whether two rows were read from copies of one file, by all
// that their index boxes tell the catalogue.
func (r *row) sameFile(o *row) bool {
	return r.UID == o.UID && r.Run == o.Run && r.Zero == o.Zero && r.Span == o.Span && r.Size == o.Size && r.Init == o.Init && bytes.Equal(r.Segs, o.Segs)
}

// opened writes the row of a file that begins.
func (c *catalogue) opened(f *file, start media.Wall) {
	r := &row{ID: f.id, UID: f.header.UID, Space: f.sp.cfg.Name, Span: media.Span{From: start, To: start}, Flags: rowOpen,
		Init: f.init, Zero: f.header.Zero, Run: f.header.Run, Name: f.final, Segs: []byte{}, Enc: f.header.Encryption}
	c.later(func(tx *sql.Tx) error { return c.put(tx, r, nil) }, func(error) { close(f.rowOpen) })
}

// init remembers track parameters.
func (c *catalogue) init(id InitID, tracks []media.Track) {
	c.mu.Lock()
	_, known := c.inits[id]
	if !known {
		if len(c.inits) > 10000 {
			clear(c.inits) // they are in the database as well
		}
		c.inits[id] = append([]media.Track(nil), tracks...)
	}
	c.mu.Unlock()
	if known {
		return
	}
	b := appendTracks(nil, tracks)
	c.later(func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR IGNORE INTO inits VALUES (?,?)", int64(id), b)
		return err
	}, nil)
}

// tracks finds the parameters behind an init id.
func (c *catalogue) tracks(id InitID) ([]media.Track, error) {
	c.mu.Lock()
	t, ok := c.inits[id]
	c.mu.Unlock()
	if ok {
		return t, nil
	}
	var b []byte
	if err := c.one("SELECT tracks FROM inits WHERE id = ?", int64(id)).Scan(&b); err != nil {
		return nil, fmt.Errorf("track parameters %s: %w", id, err)
	}
	t, err := parseTracks(b)
	if err == nil {
		c.mu.Lock()
		c.inits[id] = t
		c.mu.Unlock()
	}
	return t, err
}

// rules remembers how a stream's footage is kept when its settings are gone.
func (c *catalogue) rules(uid string, r Rules) {
	text := r.text()
	c.later(func(tx *sql.Tx) error {
		id, err := c.streamID(tx, uid)
		if err == nil {
			_, err = tx.Exec("UPDATE streams SET rules = ? WHERE id = ?", text, id)
		}
		return err
	}, nil)
}

// id is the number of a stream; ok is false when the catalogue has none.
func (c *catalogue) id(uid string) (int64, int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, ok := c.streams[uid]
	return id, c.longest[id], ok
}

const rowColumns = "f.id, s.uid, p.name, f.t0, f.t1, f.size, f.flags, f.init, f.zero, f.run, f.name, f.segs"

const rowTables = " FROM files f JOIN streams s ON s.id = f.stream JOIN spaces p ON p.id = f.space "

func scanRow(rows interface{ Scan(...any) error }) (*row, error) {
	r := &row{}
	var id, t0, t1, init, zero int64
	var run []byte
	err := rows.Scan(&id, &r.UID, &r.Space, &t0, &t1, &r.Size, &r.Flags, &init, &zero, &run, &r.Name, &r.Segs)
	r.ID, r.Span, r.Init, r.Zero = FileID(id), media.Span{From: media.Wall(t0), To: media.Wall(t1)}, InitID(init), media.Wall(zero)
	copy(r.Run[:], run)
	return r, err
}

// segTables calls fn with each sealed file of a stream that shares time with
// sp, oldest first, and its segment table, which is good during the call.
func (c *catalogue) segTables(uid string, sp media.Span, fn func(f Segment, table []byte) error) error {
	id, longest, ok := c.id(uid)
	if !ok {
		return nil
	}
	return c.rows("SELECT id, t0, t1, init, zero, run, segs FROM files WHERE stream = ? AND t0 < ? AND t0 >= ? AND t1 > ? AND flags & 3 = 0 ORDER BY t0",
		func(rows *sql.Rows) error {
			var file, t0, t1, init, zero int64
			var run, table sql.RawBytes
			if err := rows.Scan(&file, &t0, &t1, &init, &zero, &run, &table); err != nil {
				return err
			}
			f := Segment{File: FileID(file), Span: media.Span{From: media.Wall(t0), To: media.Wall(t1)}, Init: InitID(init), Zero: media.Wall(zero)}
			copy(f.Run[:], run)
			return fn(f, table)
		}, id, int64(sp.To), floorSub(int64(sp.From), longest), int64(sp.From))
}

func floorSub(a, b int64) int64 {
	if a < b-1<<62 {
		return -1 << 62
	}
	return a - b
}

// get finds a file by number; sql.ErrNoRows when there is none.
func (c *catalogue) get(id FileID) (*row, error) {
	return scanRow(c.one("SELECT "+rowColumns+rowTables+"WHERE f.id = ?", int64(id)))
}

// newest finds the file of a stream that was recorded last: that of the latest time,
// but where the clock was set back since. Then it has a greater id than that, and the
// number used last. epoch is this process's: files of spaces of another installation
// may have greater ones, and are nobody's last.
func (c *catalogue) newest(uid string, epoch uint64) (*row, error) {
	id, _, ok := c.id(uid)
	if !ok {
		return nil, sql.ErrNoRows
	}
	latest, err := scanRow(c.reader().QueryRow("SELECT "+rowColumns+rowTables+"WHERE f.stream = ? AND f.flags & 3 = 0 ORDER BY f.t0 DESC LIMIT 1", id))
	if err != nil {
		return nil, err
	}
	last, _, counted := c.lastNumbers(uid)
	if !counted || latest.lastNumber() == int64(last) {
		return latest, nil
	}
	var young []int64 // some may be of old footage that was written anew
	err = each(c.reader(), "SELECT id FROM files WHERE stream = ? AND id > ? AND id < ? AND flags & 3 = 0 ORDER BY id DESC LIMIT 100", func(rows *sql.Rows) error {
		young = append(young, 0)
		return rows.Scan(&young[len(young)-1])
	}, id, int64(latest.ID), int64((epoch+1)<<32))
	for _, n := range young {
		if r, err := c.get(FileID(n)); err == nil && r.lastNumber() == int64(last) {
			return r, nil
		}
	}
	return latest, err
}

// after tells whether r was recorded after o: by ids and numbers where they agree, as
// they do for what one server recorded, else by time.
func (r *row) after(o *row) bool {
	rn, on := r.lastNumber(), o.lastNumber()
	switch {
	case r.ID > o.ID && rn > on:
		return true
	case r.ID < o.ID && rn < on:
		return false
	}
	return r.Span.To > o.Span.To
}

// lastNumber is the number of a file's last segment; -1 = it has none.
func (r *row) lastNumber() int64 {
	segs, err := parseSegTable(r.Segs, r.Span.From)
	if err != nil || len(segs) == 0 {
		return -1
	}
	return int64(segs[len(segs)-1].Number)
}

// lastNumbers is what the last segment of a stream was called; ok is false
// when it never had one.
func (c *catalogue) lastNumbers(uid string) (last, disc uint64, ok bool) {
	var l, d int64
	err := c.reader().QueryRow("SELECT last, disc FROM streams WHERE uid = ?", uid).Scan(&l, &d)
	return uint64(l), uint64(d), err == nil && l >= 0
}

// streamEnds are the bounds of a stream as they were at a count of changes.
type streamEnds struct {
	at   uint64
	span media.Span
}

// bounds is the first and the last time of the sealed files of a stream. Every viewer
// of it asks for them, many times a second, and they change when a file is sealed or goes.
func (c *catalogue) bounds(uid string) (media.Span, bool) {
	id, longest, ok := c.id(uid)
	if !ok {
		return media.Span{}, false
	}
	at := c.changes.Load() // before anything is read
	c.mu.Lock()
	known, ok := c.ends[id]
	c.mu.Unlock()
	if ok && known.at == at {
		return known.span, true
	}
	var t0, last, t1 sql.NullInt64
	one := func(v *sql.NullInt64, query string, args ...any) {
		// Nothing found, or nothing to be read just now: v stays invalid.
		_ = c.one(query, args...).Scan(v)
	}
	one(&t0, "SELECT t0 FROM files WHERE stream = ? AND flags & 3 = 0 ORDER BY t0 LIMIT 1", id)
	one(&last, "SELECT t0 FROM files WHERE stream = ? AND flags & 3 = 0 ORDER BY t0 DESC LIMIT 1", id)
	one(&t1, "SELECT max(t1) FROM files WHERE stream = ? AND t0 >= ? AND flags & 3 = 0", id, last.Int64-longest)
	span := media.Span{From: media.Wall(t0.Int64), To: media.Wall(t1.Int64)}
	if !t0.Valid || !t1.Valid {
		return span, false
	}
	c.mu.Lock()
	if c.ends == nil {
		c.ends = map[int64]streamEnds{}
	}
	c.ends[id] = streamEnds{at, span}
	c.mu.Unlock()
	return span, true
}

// sizes calls fn with each sealed file of a stream that shares time with sp.
func (c *catalogue) sizes(uid string, sp media.Span, fn func(id FileID, size int64)) error {
	sid, longest, ok := c.id(uid)
	if !ok {
		return nil
	}
	return each(c.reader(), "SELECT id, size FROM files WHERE stream = ? AND t0 < ? AND t0 >= ? AND t1 > ? AND flags & 3 = 0",
		func(rows *sql.Rows) error {
			var id, size int64
			err := rows.Scan(&id, &size)
			fn(FileID(id), size)
			return err
		}, sid, int64(sp.To), floorSub(int64(sp.From), longest), int64(sp.From))
}

// sizesIn is sizes of what lies in one space.
func (c *catalogue) sizesIn(space int64, uid string, sp media.Span, fn func(id FileID, size int64)) error {
	sid, longest, ok := c.id(uid)
	if !ok {
		return nil
	}
	return each(c.reader(), "SELECT id, size FROM files WHERE stream = ? AND t0 < ? AND t0 >= ? AND t1 > ? AND space = ? AND flags & 3 = 0",
		func(rows *sql.Rows) error {
			var id, size int64
			err := rows.Scan(&id, &size)
			fn(FileID(id), size)
			return err
		}, sid, int64(sp.To), floorSub(int64(sp.From), longest), int64(sp.From), space)
}

// remove deletes rows.
func (c *catalogue) remove(ctx context.Context, ids []FileID) error {
	return c.now(ctx, func(tx *sql.Tx) error { return removeRows(tx, ids) })
}

func removeRows(tx *sql.Tx, ids []FileID) error {
	for _, id := range ids {
		if _, err := tx.Exec("DELETE FROM files WHERE id = ?", int64(id)); err != nil {
			return err
		}
	}
	return nil
}
