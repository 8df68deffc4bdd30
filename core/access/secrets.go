package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"media-server/core/fault"
	"media-server/core/keys"
)

// secretFile is the name of the file of secrets, in the folder of keys.
const secretFile = "token-secret"

// leastSecret is the shortest secret, in bytes (RFC 7518 section 3.2).
const leastSecret = 32

// secret signs and verifies play tokens.
type secret struct {
	id  string // kid
	key []byte
}

func secretOf(text string) secret {
	sum := sha256.Sum256([]byte(text))
	return secret{hex.EncodeToString(sum[:8]), []byte(text)}
}

// secrets are those in force: of the settings, or of the file. Safe for concurrent use.
type secrets struct {
	path string
	now  func() time.Time

	mu     sync.Mutex
	fixed  []secret // of the settings; they leave the file out of use
	file   []secret
	stamp  time.Time // of the file that was read
	size   int64
	looked time.Time
}

// lookEvery is how often the file is looked at again.
const lookEvery = time.Second

func (s *secrets) set(texts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fixed = nil
	for _, t := range texts {
		s.fixed = append(s.fixed, secretOf(t))
	}
}

// all gives the secrets that verify, the one that signs first. Needs mu.
func (s *secrets) all() []secret {
	if len(s.fixed) > 0 {
		return s.fixed
	}
	now := s.now()
	if d := now.Sub(s.looked); d >= 0 && d < lookEvery {
		return s.file
	}
	s.looked = now
	fi, err := os.Stat(s.path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			s.file, s.stamp, s.size = nil, time.Time{}, 0
		}
		return s.file
	}
	if fi.ModTime().Equal(s.stamp) && fi.Size() == s.size {
		return s.file
	}
	if all, err := readSecrets(s.path); err == nil {
		s.file, s.stamp, s.size = all, fi.ModTime(), fi.Size()
	}
	return s.file
}

// find gives jwt the keys that a token may be signed with.
func (s *secrets) find(t *jwt.Token) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kid, named := t.Header["kid"].(string)
	var set jwt.VerificationKeySet
	for _, x := range s.all() {
		if !named || x.id == kid {
			set.Keys = append(set.Keys, x.key)
		}
	}
	if len(set.Keys) == 0 {
		return nil, ErrPlayToken
	}
	return set, nil
}

// signing gives the secret that signs, and makes the first.
func (s *secrets) signing() (secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.all(); len(all) > 0 {
		return all[0], nil
	}
	if err := RotateSecret(filepath.Dir(s.path), false); err != nil {
		return secret{}, err
	}
	s.looked = time.Time{}
	if all := s.all(); len(all) > 0 {
		return all[0], nil
	}
	return secret{}, fault.New(s.path, "the secret of play tokens cannot be read", "see its mode and owner; or set [auth] token-secret")
}

// mostSecrets is how many are kept; no token is older than MaxPlayTTL.
const mostSecrets = 50

// RotateSecret puts a new secret on top of the file in the folder of keys: it signs
// from now on. Those before it go on to verify, unless revoke throws them away. A
// running server sees it within a second.
func RotateSecret(dir string, revoke bool) error {
	path := filepath.Join(dir, secretFile)
	now := time.Now()
	var key [32]byte
	rand.Read(key[:])
	lines := []string{fmt.Sprintf("%d %s", now.Unix(), hex.EncodeToString(key[:]))}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the secret of play tokens: %w", err)
	}
	for _, l := range strings.Split(string(old), "\n") {
		made, _, _ := strings.Cut(l, " ")
		at, err := strconv.ParseInt(made, 10, 64)
		if !revoke && err == nil && len(lines) < mostSecrets && now.Sub(time.Unix(at, 0)) < 2*MaxPlayTTL {
			lines = append(lines, l)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of keys: %w", err)
	}
	return keys.Write(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

func readSecrets(path string) (all []secret, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for _, l := range strings.Split(string(b), "\n") {
		_, key, ok := strings.Cut(strings.TrimSpace(l), " ")
		if ok && len(key) >= leastSecret {
			all = append(all, secretOf(key))
		}
	}
	if len(all) == 0 {
		return nil, fault.New(path, "there is no secret in it", "move it away: a new one is made")
	}
	return all, nil
}
