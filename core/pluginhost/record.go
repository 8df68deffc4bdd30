package pluginhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// record says where a running plugin is, so that the next core finds it. It
// is written twice: right after the fork (no socket yet), so that a core that
// dies in between leaves no stranger behind, and after the handshake.
type record struct {
	Version  int    `json:"version"` // of this record, 1
	Name     string `json:"name"`
	PID      int    `json:"pid"`
	Start    uint64 `json:"start"`   // /proc/PID/stat, field 22
	Boot     string `json:"boot_id"` // /proc/sys/kernel/random/boot_id
	Socket   string `json:"socket"`  // empty: not yet shaken hands
	Protocol int    `json:"protocol"`
	SHA256   string `json:"sha256"` // of the plugin's own executable or script
	Launch   string `json:"launch"` // digest of command line, environment and executable
	Epoch    uint64 `json:"epoch"`  // of the core that attached last
}

func readRecord(path string) (record, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return record{}, err
	}
	return parseRecord(b)
}

func parseRecord(b []byte) (record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return record{}, fmt.Errorf("plugin record: %w", err)
	}
	if r.Version != 1 || r.PID <= 0 {
		return record{}, errors.New("plugin record: not one of ours")
	}
	return r, nil
}

// writeRecord replaces the record atomically. It is not synced: it must
// survive the core, not the machine, and another boot makes it void.
func writeRecord(path string, r record) error {
	r.Version = 1
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".record-*")
	if err != nil {
		return fmt.Errorf("write plugin record: %w", err)
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("write plugin record: %w", err)
	}
	return nil
}

func removeRecord(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		// A record that stays behind is found stale next time.
		return
	}
}
