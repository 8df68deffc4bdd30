package main

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	_ "modernc.org/sqlite"
)

// read measures everything that reads an archive.
func read(ctx context.Context, b *bench, p *Page) error {
	m, err := b.archive(ctx)
	if err != nil {
		return err
	}
	p.Note("The archive: %d files of 60 s, %.1f GB, made by the archive's own recorder in %.0f s and kept for later runs: 25 pictures and 47 sounds a second as ever, but of 30 and 12 bytes; "+
		"one stretch of 2 Mbit/s for the export.", m.Files, float64(m.Bytes)/1e9, m.Took)
	for _, step := range []func(context.Context, *Page, *madeArchive) error{b.rebuild, b.clones, b.startUp, b.firstBytes, b.export} {
		if err := step(ctx, p, m); err != nil {
			return err
		}
		endAll()
	}
	return nil
}

// rebuild times the verb with the catalogue deleted.
func (b *bench) rebuild(ctx context.Context, p *Page, m *madeArchive) error {
	t := p.Table("Rebuild of the catalogue from the files", "page cache")
	for round := range b.rounds + 1 {
		s, err := b.reader(m.dir, b.footages())
		if err != nil {
			return err
		}
		defer os.RemoveAll(s.run)
		old, err := filepath.Glob(filepath.Join(m.dir, "server", "data", "catalogue.db*"))
		if err != nil {
			return err
		}
		for _, f := range old {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
		label := "warm"
		if round == 0 { // the first round warms
			label = "dropped"
			if err := dropCaches(); err != nil {
				label = "as found"
			}
		}
		begin := time.Now()
		cmd := exec.CommandContext(ctx, filepath.Join(b.bin, "media-server"), "rebuild", "-c", s.conf)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("rebuild: %w %s", err, out)
		}
		took := time.Since(begin).Seconds()
		s.endPlugins()
		t.Add(label, "s", took)
		t.Add(label, "files/s", float64(m.Files)/took)
		fmt.Fprintf(os.Stderr, "   rebuild, %s: %d files in %.2f s\n", label, m.Files, took)
	}
	return nil
}

const cloneStreams = 50

// clones gives the catalogue the rows of fifty streams: copies of the longest
// one's. Their files are not there; nobody asks for them.
func (b *bench) clones(ctx context.Context, p *Page, m *madeArchive) error {
	db, err := sql.Open("sqlite", filepath.Join(m.dir, "server", "data", "catalogue.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var rows, id int64
	if err := db.QueryRowContext(ctx, "SELECT id FROM streams WHERE uid = 'd30'").Scan(&id); err != nil {
		return err
	}
	names, err := columns(ctx, db)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for k := 1; k < cloneStreams; k++ {
		uid := fmt.Sprintf("clone%02d", k)
		r, err := tx.Exec("INSERT INTO streams (uid, rules, longest) SELECT ?, rules, longest FROM streams WHERE id = ?", uid, id)
		if err != nil {
			return err
		}
		to, _ := r.LastInsertId()
		list := ""
		for i, c := range names {
			if i > 0 {
				list += ", "
			}
			switch c {
			case "id":
				c = fmt.Sprintf("id + %d", int64(k)<<40)
			case "stream":
				c = fmt.Sprint(to)
			case "name":
				c = fmt.Sprintf("replace(name, 'd30', '%s')", uid)
			}
			list += c
		}
		if _, err := tx.Exec("INSERT INTO files SELECT "+list+" FROM files WHERE stream = ?", id); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM files").Scan(&rows); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return err
	}
	p.Note("What follows has a catalogue of %d streams, %d rows of files.", cloneStreams+3, rows)
	return nil
}

// columns of the table of files, whatever version it has.
func columns(ctx context.Context, db *sql.DB) (out []string, err error) {
	rows, err := db.QueryContext(ctx, "SELECT name FROM pragma_table_info('files') ORDER BY cid")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c string
		if err := rows.Scan(&c); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, rows.Err()
}

// startUp times a start to /readyz and to the first playlist.
func (b *bench) startUp(ctx context.Context, p *Page, m *madeArchive) error {
	t := p.Table(fmt.Sprintf("Start with the catalogue of %d streams", cloneStreams+3), "page cache")
	for range b.rounds {
		for _, cold := range []bool{false, true} {
			label := "warm"
			if cold {
				label = "dropped"
				if err := dropCaches(); err != nil {
					p.once("The page cache could not be dropped: %v.", err)
					continue
				}
			}
			s, err := b.reader(m.dir, b.footages())
			if err != nil {
				return err
			}
			begin := time.Now()
			took, err := s.start(ctx)
			if err != nil {
				return err
			}
			if _, err := b.first(s, "/dvr/d30/media.m3u8", m.To["d30"]-3600_000, time.Hour); err != nil {
				return err
			}
			t.Add(label, "s to ready", took.Seconds())
			t.Add(label, "s to the first playlist", time.Since(begin).Seconds())
			t.Add(label, "MB of the core", float64(pss(s.cmd.Process.Pid))/1e6)
			s.stop()
			os.RemoveAll(s.run)
		}
	}
	return nil
}

func (p *Page) once(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, n := range p.Notes {
		if n == text {
			return
		}
	}
	p.Notes = append(p.Notes, text)
}

// question is a kind of request.
type question struct {
	name, file string
	length     time.Duration
}

// firstBytes asks random ranges of streams of different age, each series in a
// process of its own.
func (b *bench) firstBytes(ctx context.Context, p *Page, m *madeArchive) error {
	count := pick(b, 100, 30)
	t := p.Table(fmt.Sprintf("First byte in ms, %d random ranges a series, each series in a fresh process", count), "")
	day := pick(b, 24*time.Hour, time.Hour)
	questions := []question{
		{"record.mp4, 1 minute", "record.mp4", time.Minute},
		{fmt.Sprintf("record.mp4, %.0f hours", day.Hours()), "record.mp4", day},
		{"media.m3u8, 1 hour", "media.m3u8", time.Hour},
	}
	for round := range b.rounds {
		for _, q := range questions {
			for _, f := range b.footages() {
				if f.Thick {
					continue
				}
				for _, cold := range []bool{false, true} {
					if err := b.series(ctx, p, t, m, q, f, cold, count, uint64(round)); err != nil {
						return fmt.Errorf("%s of %s: %w", q.name, f.Label, err)
					}
				}
			}
		}
	}
	p.Note("Fresh process, range and connection made before the clock starts; the clock stops at the first byte of the body. Dropped: the page cache is dropped before each request, which takes the server's own code along.")
	return nil
}

func (b *bench) series(ctx context.Context, p *Page, t *Table, m *madeArchive, q question, f spanOf, cold bool, count int, seed uint64) error {
	defer endAll()
	label, cache := fmt.Sprintf("%s of %s", q.name, f.Label), "warm"
	if cold {
		cache = "dropped"
		if err := dropCaches(); err != nil {
			p.once("The page cache could not be dropped: %v.", err)
			return nil
		}
	}
	s, err := b.reader(m.dir, b.footages())
	if err != nil {
		return err
	}
	defer os.RemoveAll(s.run)
	if _, err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(seed, 1))
	var ms []float64
	for range count {
		room := m.To[f.UID] - m.From[f.UID] - q.length.Milliseconds()
		from := m.From[f.UID] + rng.Int64N(max(1, room))
		if cold {
			if err := dropCaches(); err != nil {
				return err
			}
		}
		d, err := b.first(s, "/dvr/"+f.UID+"/"+q.file, from, q.length)
		if err != nil {
			return err
		}
		ms = append(ms, float64(d.Microseconds())/1000)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	t.Add(label, cache+" p50", percentile(ms, 0.5))
	t.Add(label, cache+" p99", percentile(ms, 0.99))
	fmt.Fprintf(os.Stderr, "   %s, %s: p50 %.2f ms, p99 %.2f ms\n", label, cache, percentile(ms, 0.5), percentile(ms, 0.99))
	return nil
}

// first is the time from request to first byte of the body.
func (b *bench) first(s *server, path string, from int64, length time.Duration) (time.Duration, error) {
	nc, err := net.Dial("tcp", s.http)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	req := fmt.Sprintf("GET %s?from=%d&to=%d HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, from, from+length.Milliseconds(), s.http)
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	begin := time.Now()
	if _, err := io.WriteString(nc, req); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return 0, err
	}
	var one [1]byte
	if _, err := io.ReadFull(resp.Body, one[:]); err != nil || resp.StatusCode != 200 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 300))
		return 0, fmt.Errorf("%s: %s %s %w", path, resp.Status, text, errors.Join(err))
	}
	return time.Since(begin), nil
}

// export takes ten minutes of 2 Mbit/s to a client on this machine.
func (b *bench) export(ctx context.Context, p *Page, m *madeArchive) error {
	t := p.Table("Ten minutes of 2 Mbit/s as record.mp4 to a client on this machine", "page cache")
	for range b.rounds {
		for _, cold := range []bool{false, true} {
			label := "warm"
			if cold {
				label = "dropped"
				if err := dropCaches(); err != nil {
					continue
				}
			}
			if err := b.exportOnce(ctx, t, label, m); err != nil {
				return err
			}
		}
	}
	p.Note("Bytes read are rchar of core and storage, which counts sendfile; from disk is read_bytes, read-ahead past the range included.")
	return nil
}

func (b *bench) exportOnce(ctx context.Context, t *Table, label string, m *madeArchive) error {
	defer endAll()
	s, err := b.reader(m.dir, b.footages())
	if err != nil {
		return err
	}
	defer os.RemoveAll(s.run)
	if _, err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	if err := sleep(ctx, time.Second); err != nil {
		return err
	}
	if label == "warm" { // the footage, not the process
		if _, err := io.Copy(io.Discard, everything(filepath.Join(m.dir, "space", "thick"))); err != nil {
			return err
		}
	} else if err := dropCaches(); err != nil {
		return err
	}
	pids := []int{s.cmd.Process.Pid, s.plugins()["local"]}
	r0, d0, c0 := rchar(pids...), fromDisk(pids...), cpuOf(pids...)
	from := m.From["thick"] + 90_000
	begin := time.Now()
	resp, err := http.Get("http://" + s.http + "/dvr/thick/record.mp4?from=" + strconv.FormatInt(from, 10) + "&to=" + strconv.FormatInt(from+600_000, 10))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 1<<20))
	if err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("record.mp4: %s %w", resp.Status, err)
	}
	took := time.Since(begin).Seconds()
	c1 := cpuOf(pids...)
	t.Add(label, "s", took)
	t.Add(label, "MB", float64(n)/1e6)
	t.Add(label, "MB/s", float64(n)/1e6/took)
	t.Add(label, "bytes read a byte sent", float64(rchar(pids...)-r0)/float64(n))
	t.Add(label, "from disk a byte sent", float64(fromDisk(pids...)-d0)/float64(n))
	t.Add(label, "ms CPU", (c1[pids[0]]-c0[pids[0]]+c1[pids[1]]-c0[pids[1]]).Seconds()*1000)
	return nil
}

// everything reads all files below dir.
func everything(dir string) io.Reader {
	var all []io.Reader
	_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if b, err := os.Open(p); err == nil {
				all = append(all, b)
			}
		}
		return nil
	})
	return io.MultiReader(all...)
}

// dropCaches empties the page cache of the machine; only root may.
func dropCaches() error {
	_ = exec.Command("sync").Run()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}
