package door

import (
	"fmt"
	"os/user"
	"strconv"

	"media-server/core/web"
)

// mostPerson is what a lock and other records take of a name, in bytes.
const mostPerson = 64

// person names who uses the control socket, for locks, events and the audit.
// That somebody became root first matters less than who it was, and stands
// behind it. What says where it comes from keeps a user of the machine apart
// from an account of that name.
func person(p web.ControlUser) string { return personBy(p, userName) }

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

func userNumber(uid uint32) string { return fmt.Sprintf("user %d", uid) }
