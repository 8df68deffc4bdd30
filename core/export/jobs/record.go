package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// recordVersion is the form of records that this program writes. It reads older
// ones, and leaves newer ones alone.
const recordVersion = 1

// recordsDir is the folder of records, below that of the exports.
const recordsDir = ".jobs"

type record struct {
	Version int `json:"version"`
	*Job
}

func (j *Jobs) recordPath(id string) string {
	return filepath.Join(j.o.Dir, recordsDir, id+".json")
}

// save replaces the record of a job: temporary name, fsync, rename, fsync of the
// folder.
func (j *Jobs) save(x Job) error {
	b, err := json.MarshalIndent(record{recordVersion, &x}, "", " ")
	if err != nil {
		return err
	}
	path := j.recordPath(x.ID)
	return wrote(replace(path, append(b, '\n')))
}

func replace(path string, b []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(path + ".new")
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// forget deletes the record of a job.
func (j *Jobs) forget(id string) error {
	path := j.recordPath(id)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrote(err)
	}
	return wrote(syncDir(filepath.Dir(path)))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// left is a record that cannot be used, or could not be read, and is left where it is
// with all that belongs to it: it may be a newer program's, and reading may go well again.
type left struct {
	id, why string
}

// readRecords reads all records.
func readRecords(dir string) (out []*job, strange []left, err error) {
	list, err := os.ReadDir(filepath.Join(dir, recordsDir))
	if err != nil {
		return nil, nil, err
	}
	for _, e := range list {
		id, is := strings.CutSuffix(e.Name(), ".json")
		if !is {
			continue // a record that was being replaced
		}
		b, err := os.ReadFile(filepath.Join(dir, recordsDir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // somebody has deleted it meanwhile
		}
		var x *Job
		if err == nil {
			x, err = decode(b, id)
		}
		if err != nil {
			strange = append(strange, left{id, fmt.Sprintf("%s: %v", e.Name(), err)})
			continue
		}
		out = append(out, &job{Job: *x})
	}
	return out, strange, nil
}

// decode reads a record of the job id.
func decode(b []byte, id string) (*Job, error) {
	var v struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if v.Version != recordVersion {
		return nil, fmt.Errorf("it has version %d, this server knows %d", v.Version, recordVersion)
	}
	x := new(Job)
	if err := json.Unmarshal(b, &record{Job: x}); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	if x.ID != id || !partName.MatchString(partOf(id)) || !plain(x.File) {
		return nil, errors.New("it is damaged: its names are not those of an export")
	}
	switch x.State {
	case Queued, Running, Done, Failed, Canceled, Expired:
	default:
		return nil, fmt.Errorf("it is damaged: there is no state %q", x.State)
	}
	if x.State == Failed && (x.Why == nil || x.Why.Code == "" || x.Why.What == "") {
		return nil, errors.New("it is damaged: it failed and does not say why")
	}
	if x.Size < 0 || x.Span.Empty() {
		return nil, errors.New("it is damaged: no size or span")
	}
	return x, nil
}

// plain tells whether a name is that of a file in the folder and no temporary
// one: files are published and deleted by it.
func plain(name string) bool {
	return filepath.IsLocal(name) && filepath.Base(name) == name && name[0] != '.' && strings.HasSuffix(name, suffix) && !strings.ContainsAny(name, "/\\\x00")
}
