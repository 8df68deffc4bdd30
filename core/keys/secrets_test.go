package keys

import (
	"bytes"
	"context"
	"testing"
	"time"
)

// TestSecrets: what is sealed opens again, after a rotation and a new start as well,
// for what it was sealed for and nothing else.
func TestSecrets(t *testing.T) {
	dir := t.TempDir()
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	v := OpenVault(VaultOptions{Dir: dir}) // nobody has asked for keys yet
	done := make(chan error, 1)
	run, end := context.WithCancel(ctx)
	go func() { done <- v.Run(run) }()
	id, sealed, err := v.Seal(ctx, []byte("word"), []byte("anna"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Rotate(); err != nil {
		t.Fatal(err)
	}
	end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	v = OpenVault(VaultOptions{Dir: dir})
	if got, err := v.Open(id, sealed, []byte("anna")); err != nil || !bytes.Equal(got, []byte("word")) {
		t.Errorf("%q %v", got, err)
	}
	for name, try := range map[string]struct{ sealed, about []byte }{
		"another's": {sealed, []byte("bert")},
		"changed":   {append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1), []byte("anna")},
		"cut":       {sealed[:5], []byte("anna")},
	} {
		if got, err := v.Open(id, try.sealed, try.about); err == nil {
			t.Errorf("%s opens: %q", name, got)
		}
	}
	if _, err := v.Open(KeyID{1}, sealed, []byte("anna")); err == nil {
		t.Error("another key opens it")
	}
}
