package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"media-server/core/access/dbfile"
	"media-server/core/backup"
	"media-server/core/fault"
	"media-server/core/web/api"
)

// backups makes the daily backup, and those that are asked for, one at a time.
type backups struct {
	n     *Node
	one   sync.Mutex
	mu    sync.Mutex
	fail  error  // of the last one
	offer string // a backup that was found at the first start, and nobody has decided about
}

// backupDir is where the backups of these settings lie.
func backupDir(set *Settings) string {
	if set.Backup.Path != "" {
		return set.Backup.Path
	}
	return filepath.Join(set.Server.DataDir, "backups")
}

// BackupDir is where the backups of these settings lie, for the command line.
func (s *Settings) BackupDir() string { return backupDir(s) }

// firstStart tells whether a data folder has no databases yet.
func firstStart(dataDir string) bool {
	for _, db := range []string{"state.db", "accounts.db"} {
		if _, err := os.Stat(filepath.Join(dataDir, db)); !errors.Is(err, fs.ErrNotExist) {
			return false
		}
	}
	return true
}

// found notes a backup that a server starting anew could begin with. It is
// offered over restarts, until a restore or a person has decided.
func (k *backups) found(set *Settings) error {
	dir := set.Server.DataDir
	if list, err := backup.List(backupDir(set)); err == nil && len(list) > 0 && firstStart(dir) {
		// Its own, if it has kept its id: others may share the folder.
		ours := max(0, slices.IndexFunc(list, func(x backup.Info) bool { return x.Node != "" && x.Node == k.n.home.nodeName() }))
		if err := backup.Offer(dir, filepath.Join(backupDir(set), list[ours].Name)); err != nil {
			return fault.Wrap(err, "data-dir", "the data folder cannot be written to", "free space or check its owner and mode")
		}
	}
	offer, err := backup.Offered(dir)
	if err != nil {
		return fault.Wrap(err, "data-dir", "what was offered at the first start cannot be read", "check the mode of restore-offer, or delete it")
	}
	k.offer = offer
	return nil
}

// dismiss lets this server go on without what was offered to it.
func (k *backups) dismiss() (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	was := k.offer
	if was == "" {
		return "", nil
	}
	err := backup.Dismiss(k.n.boot.Server.DataDir)
	if err == nil {
		k.offer = ""
	}
	return was, err
}

// DismissOffline is dismiss while no server runs; "" = nothing was offered.
func DismissOffline(set *Settings) (string, error) {
	h, err := offlineHome(set)
	if err != nil {
		return "", err
	}
	defer h.Close()
	was, err := backup.Offered(set.Server.DataDir)
	if err != nil || was == "" {
		return "", err
	}
	return was, backup.Dismiss(set.Server.DataDir)
}

// run makes the daily backups.
func (k *backups) run(ctx context.Context) error {
	set := k.n.boot
	for {
		next := set.Backup.Next(now().In(set.Server.Zone()))
		if next.IsZero() {
			<-ctx.Done()
			return nil
		}
		t := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		if _, err := k.make(ctx); err != nil && ctx.Err() == nil {
			k.n.emit(event("server.backup", "", "error", "the daily backup failed: "+err.Error(), nil))
		}
	}
}

// make makes a backup now and lets old ones go.
func (k *backups) make(ctx context.Context) (string, error) {
	k.one.Lock()
	defer k.one.Unlock()
	path, err := makeBackup(ctx, k.n.boot, k.n.opt.Version, k.n.home.nodeName())
	k.mu.Lock()
	k.fail = err
	k.mu.Unlock()
	if err == nil {
		k.n.emit(event("server.backup", "", "info", "a backup was made: "+path, map[string]any{"file": path}))
		if err := backup.Prune(backupDir(k.n.boot), k.n.home.nodeName(), k.n.boot.Backup.Keep, k.offered()); err != nil {
			k.n.emit(event("server.backup", "", "warning", "old backups could not be deleted: "+err.Error(), nil))
		}
	}
	return path, err
}

func makeBackup(ctx context.Context, set *Settings, version, node string) (string, error) {
	src := backup.Source{DataDir: set.Server.DataDir, Settings: set.Path, Streams: set.Server.StreamsDir, KeysDir: keysDir(set),
		Program: "media-server " + version, Node: node, Snapshot: dbfile.Snapshot}
	return backup.Write(ctx, src, backupDir(set), set.Backup.Passphrase, now())
}

// target is where a restore of these settings goes.
func target(set *Settings) backup.Target {
	return backup.Target{DataDir: set.Server.DataDir, Settings: set.Path, Streams: set.Server.StreamsDir, KeysDir: keysDir(set)}
}

// BackupOffline makes a backup while no server runs.
func BackupOffline(ctx context.Context, set *Settings, version string) (string, error) {
	h, err := offlineHome(set)
	if err != nil {
		return "", err
	}
	defer h.Close()
	return makeBackup(ctx, set, version, h.nodeName())
}

// RestoreOffline restores a backup while no server runs.
func RestoreOffline(set *Settings, file, passphrase string) (*backup.Staged, error) {
	h, err := offlineHome(set)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	s, err := backup.Stage(file, passphrase, target(set))
	if err != nil {
		return nil, err
	}
	_, err = backup.Finish(set.Server.DataDir)
	return s, err
}

// problems says what ails the backups, and what the first start found.
func (k *backups) problems() (out []api.Problem) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.offer != "" {
		out = append(out, api.Problem{Level: "warning", Where: "data-dir", What: "this server started anew, and there is a backup: " + k.offer,
			Hint: "to begin with what it holds, stop the server and run: media-server restore " + k.offer + " (media-server backup list shows all); to go on without it: media-server backup dismiss; until then no backup as old as that one is deleted"})
	}
	if k.fail != nil {
		out = append(out, api.Problem{Level: "error", Where: "[backup]", What: "the last backup failed: " + k.fail.Error(), Hint: "is there room in the folder, and may the server write to it?"})
	}
	if set := k.n.boot; set.Backup.Passphrase == "" && set.Backup.At != "" && set.Backup.Path != "" {
		out = append(out, api.Problem{Level: "warning", Where: "[backup]", What: "backups hold private keys and are not wrapped", Hint: "set [backup] passphrase = ${file:/path}"})
	}
	return out
}

// Backups implements api.Backups.
func (b backend) Backups() ([]api.Backup, error) {
	list, err := backup.List(backupDir(b.n.boot))
	offer := b.n.backups.offered()
	var out []api.Backup
	for _, x := range list {
		out = append(out, apiBackup(b.n.boot, x, b.n.home.nodeName(), offer))
	}
	return out, err
}

// offered is the backup that is offered; "" = none.
func (k *backups) offered() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.offer
}

func apiBackup(set *Settings, x backup.Info, node, offer string) api.Backup {
	return api.Backup{Name: x.Name, Node: x.Node, Own: node != "" && x.Node == node, Offered: filepath.Join(backupDir(set), x.Name) == offer, Size: x.Size, Made: x.Made.UnixMilli()}
}

// BackupsOffline is the list of backups while no server runs.
func BackupsOffline(set *Settings) ([]api.Backup, error) {
	node, _ := os.ReadFile(filepath.Join(set.Server.DataDir, "node-id")) // without one all are of others
	offer, err := backup.Offered(set.Server.DataDir)
	if err != nil {
		return nil, err
	}
	list, err := backup.List(backupDir(set))
	var out []api.Backup
	for _, x := range list {
		out = append(out, apiBackup(set, x, strings.TrimSpace(string(node)), offer))
	}
	return out, err
}

// DismissBackup implements api.Backups.
func (b backend) DismissBackup() (string, error) { return b.n.backups.dismiss() }

// MakeBackup implements api.Backups.
func (b backend) MakeBackup() (api.Backup, error) {
	path, err := b.n.backups.make(b.n.web.ctx)
	if err != nil {
		return api.Backup{}, err
	}
	x := api.Backup{Name: filepath.Base(path), Node: b.n.home.nodeName(), Own: true, Path: path, Made: now().UnixMilli()}
	if fi, err := os.Stat(path); err == nil {
		x.Size = fi.Size()
	}
	return x, nil
}

// StageRestore implements api.Backups.
func (b backend) StageRestore(name string) (api.StagedRestore, error) {
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return api.StagedRestore{}, fault.New("", "name a backup of the list, not a path", "the list is at /api/v1/backups")
	}
	b.n.backups.one.Lock() // two at once would mix what they stage
	defer b.n.backups.one.Unlock()
	set := b.n.boot
	s, err := backup.Stage(filepath.Join(backupDir(set), name), set.Backup.Passphrase, target(set))
	if err != nil {
		return api.StagedRestore{}, err
	}
	return api.StagedRestore{Name: name, Made: s.Manifest.Made, Program: s.Manifest.Program, Restores: len(s.Restores), Left: s.Left}, nil
}
