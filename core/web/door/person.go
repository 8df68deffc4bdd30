package door

import (
	"fmt"
	"os/user"
	"strconv"
	"sync"
	"time"

	"media-server/core/web"
)

// mostPerson is what a lock and other records take of a name, in bytes.
const mostPerson = 64

// person names who uses the control socket, for locks, events and the audit.
// That somebody became root first matters less than who it was, and stands
// behind it. What says where it comes from keeps a user of the machine apart
// from an account of that name.
func person(p web.ControlUser) string { return personBy(p, userNames.name) }

func personBy(p web.ControlUser, name func(uid uint32) string) string {
	s := name(p.Login)
	if p.Login != p.UID {
		s += " as " + name(p.UID)
	}
	if s += ", control socket"; len(s) > mostPerson {
		return personBy(p, userNumber) // names of directory services have no bound
	}
	return s
}

func userName(uid uint32) string {
	u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10))
	if err != nil || u.Username == "" {
		return userNumber(uid)
	}
	return u.Username
}

// names keeps what users of the machine are called: a directory service takes
// milliseconds, or seconds where it ails, and every request asks. Safe for
// concurrent use.
type names struct {
	ask func(uid uint32) string
	now func() time.Time
	mu  sync.Mutex
	m   map[uint32]called
}

type called struct {
	name  string
	until time.Time
}

var userNames = &names{ask: userName, now: time.Now}

const (
	nameFor   = 10 * time.Minute
	noNameFor = 10 * time.Second // the directory service may be back
	mostNames = 1000
)

func (n *names) name(uid uint32) string {
	n.mu.Lock()
	c, ok := n.m[uid]
	n.mu.Unlock()
	if ok && n.now().Before(c.until) {
		return c.name
	}
	c = called{name: n.ask(uid)}
	stays := nameFor
	if c.name == userNumber(uid) {
		stays = noNameFor
	}
	c.until = n.now().Add(stays)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.m == nil || len(n.m) >= mostNames {
		n.m = map[uint32]called{}
	}
	n.m[uid] = c
	return c.name
}

func userNumber(uid uint32) string { return fmt.Sprintf("user %d", uid) }
