package dbfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMigration(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "odd name?#%", "x.db")
	one := []string{"CREATE TABLE a(x)"}
	d, err := Open(ctx, path, one)
	if err != nil {
		t.Fatal(err)
	}
	d.Write.Exec("INSERT INTO a VALUES(1)")
	d.Close()
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", fi.Mode())
	}
	bad := append(one, "CREATE TABLE b(x)", "this is no SQL")
	if _, err := Open(ctx, path, bad); err == nil {
		t.Fatal("a failed step was taken")
	}
	two := append(one, "CREATE TABLE b(x); INSERT INTO b SELECT x+1 FROM a")
	if d, err = Open(ctx, path, two); err != nil { // also: nothing of the failed one is left
		t.Fatal(err)
	}
	var n int
	if d.Read.QueryRow("SELECT x FROM b").Scan(&n); n != 2 {
		t.Fatal(n)
	}
	if _, err := d.Read.Exec("INSERT INTO b VALUES(9)"); err == nil {
		t.Error("a reader wrote")
	}
	d.Close()
	if _, err = Open(ctx, path, one); err == nil || !strings.Contains(err.Error(), "x.db has schema version 2, this server knows 1") {
		t.Fatal(err)
	}
	if d, err = Open(ctx, path+".v1", one); err != nil { // the copy is as it was
		t.Fatal(err)
	}
	d.Close()
}

func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600)
	if _, err := Open(t.Context(), path, []string{"CREATE TABLE a(x)"}); !IsDamaged(err) {
		t.Fatal(err)
	}
}
