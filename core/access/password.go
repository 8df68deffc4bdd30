package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"

	"media-server/core/fault"
)

const (
	hashesAtOnce = 2
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonLanes   = 1
	saltBytes    = 16
	keyBytes     = 32

	minPassword = 8
	maxPassword = 1024
)

// hashPassword gives the PHC form: $argon2id$v=19$m=…,t=…,p=…$salt$key.
func hashPassword(password string) string {
	salt := make([]byte, saltBytes)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, keyBytes)
	e := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonLanes,
		e.EncodeToString(salt), e.EncodeToString(key))
}

// phc is a decoded hash.
type phc struct {
	memory, time uint32
	lanes        uint8
	salt, key    []byte
}

// parseHash decodes the PHC form. Costs are bounded: the file may come from a
// backup that somebody else made.
func parseHash(s string) (phc, error) {
	var h phc
	bad := fmt.Errorf("not an argon2id hash")
	f := strings.Split(s, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" || f[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return h, bad
	}
	if n, err := fmt.Sscanf(f[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.lanes); n != 3 || err != nil {
		return h, bad
	}
	var err1, err2 error
	h.salt, err1 = base64.RawStdEncoding.DecodeString(f[4])
	h.key, err2 = base64.RawStdEncoding.DecodeString(f[5])
	switch {
	case err1 != nil, err2 != nil, len(h.salt) < 8, len(h.salt) > 64, len(h.key) < 16, len(h.key) > 64,
		h.memory < 8 || h.memory > 1<<20, h.time < 1 || h.time > 20, h.lanes < 1 || h.lanes > 16:
		return h, bad
	}
	return h, nil
}

func (h phc) matches(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.lanes, uint32(len(h.key)))
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

// nobody is what the password of an unknown user is compared with.
var nobody = phc{memory: argonMemory, time: argonTime, lanes: argonLanes, salt: make([]byte, saltBytes), key: make([]byte, keyBytes)}

// slowly waits for its turn to hash: each takes 19 MiB and some 20 ms of a
// core, and a flood of logins must not take them from recording.
func (a *Access) slowly(ctx context.Context, do func()) error {
	select {
	case a.hashing <- struct{}{}:
	case <-ctx.Done():
		return fault.Wrap(ctx.Err(), "login", "too many people log in at this moment", "try again")
	}
	defer func() { <-a.hashing }()
	do()
	return nil
}

// checkPassword refuses what cannot be a password.
func checkPassword(user, password string) error {
	switch {
	case len(password) < minPassword:
		return fault.New("password", fmt.Sprintf("the password has fewer than %d characters", minPassword), "choose a longer one")
	case len(password) > maxPassword:
		return fault.New("password", "the password is too long", "")
	case fold(password) == fold(user):
		return fault.New("password", "the password is the user's name", "choose another")
	}
	return nil
}

// words of the alphabet without signs that look alike.
const alphabet = "abcdefghjkmnpqrstuvwxyz23456789"

// randomPassword has 16 signs of 31: 79 bits, in groups to be read out.
func randomPassword() string {
	var b strings.Builder
	for b.Len() < 19 {
		if b.Len()%5 == 4 {
			b.WriteByte('-')
			continue
		}
		var r [1]byte
		rand.Read(r[:])
		if int(r[0]) < 256/len(alphabet)*len(alphabet) { // no sign more likely than another
			b.WriteByte(alphabet[int(r[0])%len(alphabet)])
		}
	}
	return b.String()
}
