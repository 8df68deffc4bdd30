package backup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// offerFile names the backup that lay beside a server when it started anew. It
// stays until a restore is carried out, or somebody has said that this server
// is to begin with nothing.
const offerFile = "restore-offer"

// Offer notes that a data folder could begin with what a backup holds.
func Offer(dataDir, file string) error {
	return writeWhole(filepath.Join(dataDir, offerFile), []byte(file+"\n"))
}

// Offered is the backup that a data folder could begin with; "" = none.
func Offered(dataDir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dataDir, offerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSuffix(string(b), "\n"), err
}

// Dismiss forgets the offer.
func Dismiss(dataDir string) error {
	if err := os.Remove(filepath.Join(dataDir, offerFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(dataDir)
}
