package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// kinship is what a space has to do with us that was not made just now and that
// nobody knows under its name.
type kinship struct {
	strange    bool // somebody has to say that it is to be taken
	what, hint string
	moved      bool // ours, under another name before: what it holds is to be listed
}

// kinOf tells a space of ours under a new name from one that an earlier
// installation or another server wrote. At the first start after state.db was
// lost nothing is known: then all are ours.
func (a *Archive) kinOf(ctx context.Context, s *space, id [16]byte) (kinship, error) {
	name := s.cfg.Name
	names, any, err := a.namesOf(id)
	if err != nil {
		return kinship{}, fmt.Errorf("look up spaces: %w", err)
	}
	if a.cat.hasFiles(name) || !s.late && (a.state.fresh || !any) {
		return kinship{}, nil
	}
	for _, other := range names {
		o := a.space(other)
		if o == nil || o == s {
			continue
		}
		select { // all spaces are opened at once; one that is known waits for no other
		case <-o.tried:
		case <-ctx.Done():
			return kinship{}, ctx.Err()
		}
		there := o.markerID()
		if there == [16]byte{} && !o.isLost() {
			return kinship{}, fmt.Errorf("space %s has the same id, and does not answer yet", other)
		}
		if there == id {
			return kinship{strange: true, what: fmt.Sprintf("a copy of space %s lies at its path (%x)", other, id[:4]),
				hint: "name another folder; to take it as a space of its own all the same: POST /api/v1/spaces/" + name + "/restore"}, nil
		}
	}
	if len(names) > 0 {
		return kinship{moved: true}, nil
	}
	some, err := holdsFiles(ctx, s)
	if err != nil || !some {
		return kinship{}, err
	}
	return kinship{strange: true, what: fmt.Sprintf("a space of an earlier installation or of another server lies at its path (%x)", id[:4]),
		hint: "to take it with all footage in it: POST /api/v1/spaces/" + name + "/restore; to begin anew, which deletes that and asks first: POST /api/v1/spaces/" + name + "/initialize"}, nil
}

// isStranger tells whether nobody knows a space under its name.
func (a *Archive) isStranger(s *space) (bool, error) {
	_, _, seen, err := a.spaceID(s.cfg.Name)
	return !seen, err
}

// namesOf lists the names under which an id is known; any tells whether any
// space is known at all.
func (a *Archive) namesOf(id [16]byte) (names []string, any bool, err error) {
	err = each(a.state.reader(), "SELECT name, id FROM spaces", func(rows *sql.Rows) error {
		var name string
		var b []byte
		err := rows.Scan(&name, &b)
		any = true
		if string(b) == string(id[:]) {
			names = append(names, name)
		}
		return err
	})
	return names, any, err
}

// holdsFiles tells whether there is anything in a space but its marker.
func holdsFiles(ctx context.Context, s *space) (bool, error) {
	found := errors.New("found")
	err := s.st.List(ctx, "", "", func(es []Entry) error {
		for _, e := range es {
			if strings.HasSuffix(e.Name, ".mp4") || strings.HasSuffix(e.Name, ledgerSuffix) {
				return found
			}
		}
		return nil
	})
	if errors.Is(err, found) {
		return true, nil
	}
	return false, err
}
