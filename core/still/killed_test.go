package still

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// hangs names a program; a test process that has it in its environment decodes with
// that and does nothing else.
const hangs = "STILL_TEST_HANGS"

func TestMain(m *testing.M) {
	if path := os.Getenv(hangs); path != "" {
		_, err := New(Options{Program: func() (string, error) { return path, nil }}).JPEG(shot(1), movie)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// TestKilled: a decoder ends with a server that is killed and can tell it nothing.
func TestKilled(t *testing.T) {
	path, err := fake(t, `exec sleep 7338`)()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.Command(os.Args[0]) // this test, as a server
	server.Env = append(os.Environ(), hangs+"="+path)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !alive("7338"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is decoded")
		}
	}
	if err := server.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err == nil {
		t.Error("it was not killed")
	}
	gone(t, "7338")
}
