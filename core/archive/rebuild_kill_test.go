package archive_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

const rebuildChildEnv = "ARCHIVE_REBUILD_CHILD"

// rebuildChild rebuilds until it is killed. It writes a byte when some rows are
// in the catalogue.
func rebuildChild(arg string) {
	var epoch uint64
	var data, root string
	if _, err := fmt.Sscan(arg, &epoch, &data, &root); err != nil {
		panic(err)
	}
	a, err := archive.Open(context.Background(), options(data, epoch, storagetest.New(root)))
	if err != nil {
		panic(err)
	}
	fmt.Print("ready")
	for {
		if err := a.Rebuild(context.Background(), "", func(int, int) { fmt.Print(".") }); err != nil {
			panic(err)
		}
	}
}

// catalogueOf reads what a catalogue says behind the archive's back: whether a
// rebuild is due, and how many rows and pages there are.
func catalogueOf(t *testing.T, data string) (due bool, rows, pages int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "catalogue.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.QueryRow("SELECT (SELECT count(*) FROM meta WHERE key = 'incomplete'), (SELECT count(*) FROM files), (SELECT count(*) FROM pages)").Scan(&due, &rows, &pages)
	if err != nil {
		t.Fatal(err)
	}
	return due, rows, pages
}

// TestKilledWhileRebuilding kills a rebuild at random instants while files come
// and go between. A catalogue that is not whole says so, and the next rebuild
// makes it so; none loses what was listed before for good.
func TestKilledWhileRebuilding(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	rng := rand.New(rand.NewPCG(seed, 3))
	root, data := t.TempDir(), t.TempDir()
	if _, err := storagetest.New(root).Open(t.Context(), 1, 0, true); err != nil {
		t.Fatal(err)
	}
	from := time.Now().Add(-72 * time.Hour).Truncate(time.Hour)
	x := newTemplate(t, 1)
	x.footage(t, root, "cam", from, 4, 1000)
	epoch, halves := uint64(2), 0
	for round := 0; round < 30 && (round < 6 || halves < 3); round++ {
		killedChild(t, rebuildChildEnv, fmt.Sprint(epoch, " ", data, " ", root), rng.IntN(4), time.Duration(rng.IntN(60))*time.Millisecond)
		epoch++
		due, rows, _ := catalogueOf(t, data)
		files := mediaFiles(t, root)
		if due && rows > 0 && rows < len(files) {
			halves++
		}
		if !due && round == 0 && rows != len(files) {
			t.Fatalf("the catalogue says that it is whole, and lists %d of %d files", rows, len(files))
		}
		// Files go and come while nobody looks.
		for range 20 {
			os.Remove(filepath.Join(root, files[rng.IntN(len(files))]))
		}
		x.footage(t, root, fmt.Sprint("new", round%10), from, 1, 3+round)
		if rng.IntN(2) == 0 {
			for _, f := range []string{"catalogue.db", "catalogue.db-wal", "catalogue.db-shm"} {
				os.Remove(filepath.Join(data, f))
			}
		}
		if rng.IntN(3) > 0 {
			continue
		}
		madeWhole(t, data, root, epoch)
		epoch++
	}
	madeWhole(t, data, root, epoch)
	if halves < 3 {
		t.Errorf("%d kills left half a catalogue: little was tried", halves)
	}
}

// madeWhole makes the catalogue whole and compares it with the files.
func madeWhole(t *testing.T, data, root string, epoch uint64) {
	t.Helper()
	a, err := archive.Open(t.Context(), options(data, epoch, storagetest.New(root)))
	if err != nil {
		t.Fatal(err)
	}
	err = a.Rebuild(t.Context(), "", nil)
	listed := map[string]int{}
	dirs, _ := fs.Glob(os.DirFS(root), "*[0-9]")
	for _, uid := range dirs {
		es, err := a.Extents(uid, all)
		if err != nil {
			t.Fatal(err)
		}
		listed[uid] = len(es)
	}
	a.Close()
	if err != nil {
		t.Fatal(err)
	}
	files := mediaFiles(t, root)
	due, rows, pages := catalogueOf(t, data)
	if due || rows != len(files) || pages == 0 {
		t.Fatalf("%d rows of %d files, %d pages, rebuild due: %v", rows, len(files), pages, due)
	}
	for uid, n := range listed {
		if here, _ := filepath.Glob(filepath.Join(root, uid, "*", "*.mp4")); len(here) != n {
			t.Errorf("%s: %d files listed, %d there", uid, n, len(here))
		}
	}
}
