package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"

	"media-server/core/config"
	"media-server/core/fault"
)

// Config is [keys] of media-server.ini.
type Config struct {
	Path       string // folder; empty = data-dir/keys
	Passphrase string // wraps private keys; empty = they lie there as they are, readable by the server's user only
}

// Bind declares the keys.
func (c *Config) Bind(set *config.Set) {
	s := set.Section("keys", "Keys that footage is signed and encrypted with.")
	s.Path("path", &c.Path, "Folder of the keys. Empty = keys in data-dir. On another disk it outlives the one with the footage.").Restart()
	s.SecretText("passphrase", &c.Passphrase, "Wraps the private keys, so that a stolen disk does not sign, and opens no encrypted footage. Write ${ENV_NAME} or ${file:/path} rather than the words themselves. Lost = the keys are lost: signed footage still verifies, encrypted footage is gone.").Restart()
}

// ID names a key.
type ID [8]byte

func (i ID) String() string { return hex.EncodeToString(i[:]) }

// IDOf is the id of a public key.
func IDOf(pub ed25519.PublicKey) (id ID) {
	h := sha256.Sum256(pub)
	copy(id[:], h[:])
	return id
}

// Signer signs with the key in force.
type Signer struct {
	priv ed25519.PrivateKey
	pub  ed25519.PublicKey
	id   ID
}

// KeyID is the id of the key.
func (s *Signer) KeyID() [8]byte { return s.id }

// Sign signs a message (RFC 8032, pure Ed25519): 64 bytes.
func (s *Signer) Sign(message []byte) []byte { return ed25519.Sign(s.priv, message) }

// Public is the public half.
func (s *Signer) Public() ed25519.PublicKey { return s.pub }

const (
	signingFile  = "signing.key"
	publicFolder = "public"
	exportedFile = "exported"

	privateType = "MEDIA-SERVER SIGNING KEY"
	wrapScheme  = "argon2id-aes256gcm"
	saltSize    = 16
)

// Open loads the signing key of a folder, or makes one. A key that the
// passphrase does not open is an error; nothing is overwritten.
func Open(dir, passphrase string) (*Signer, error) {
	if s, err := Existing(dir, passphrase); s != nil || err != nil {
		return s, err
	}
	return Rotate(dir, passphrase)
}

// Existing loads the signing key of a folder; nil, nil = there is none.
func Existing(dir, passphrase string) (*Signer, error) {
	path := filepath.Join(dir, signingFile)
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read the signing key: %w", err)
	}
	seed, err := unwrap(b, passphrase)
	if err != nil {
		return nil, fault.Wrap(err, path, "the signing key cannot be used", "set [keys] passphrase to the one it was wrapped with, restore the file from an export, or move it away: a new key then signs what follows")
	}
	return signer(seed), nil
}

func signer(seed []byte) *Signer {
	priv := ed25519.NewKeyFromSeed(seed)
	pub := priv.Public().(ed25519.PublicKey)
	return &Signer{priv: priv, pub: pub, id: IDOf(pub)}
}

// Rotate makes a new signing key and puts it in force; the old private key is
// gone, its public half stays.
func Rotate(dir, passphrase string) (*Signer, error) {
	if err := os.MkdirAll(filepath.Join(dir, publicFolder), 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of the keys: %w", err)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	s := signer(seed)
	pub, err := PublicPEM(s.pub)
	if err != nil {
		return nil, err
	}
	wrapped, err := wrap(seed, passphrase)
	if err != nil {
		return nil, err
	}
	// The public half first: no key ever signs that nobody can verify.
	if err := Write(filepath.Join(dir, publicFolder, s.id.String()+".pem"), pub, 0o644); err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(dir, exportedFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return s, Write(filepath.Join(dir, signingFile), wrapped, 0o600)
}

// PublicPEM is a public key as openssl reads it.
func PublicPEM(pub ed25519.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// ParsePublic reads every public key in b.
func ParsePublic(b []byte) (out []ed25519.PublicKey, err error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "PUBLIC KEY" {
			continue
		}
		k, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("read a public key: %w", err)
		}
		pub, ok := k.(ed25519.PublicKey)
		if !ok {
			return nil, errors.New("a public key that is not Ed25519")
		}
		out = append(out, pub)
	}
	if len(out) == 0 {
		return nil, errors.New("there is no public key (PEM) in it")
	}
	return out, nil
}

// Public is a public key of a folder.
type Public struct {
	ID      ID
	Key     ed25519.PublicKey
	Made    time.Time
	InForce bool
}

// List lists the public keys of a folder, oldest first. It needs no passphrase.
func List(dir string) (out []Public, err error) {
	files, err := os.ReadDir(filepath.Join(dir, publicFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".pem") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, publicFolder, f.Name()))
		if err != nil {
			return nil, err
		}
		ks, err := ParsePublic(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		p := Public{ID: IDOf(ks[0]), Key: ks[0]}
		if fi, err := f.Info(); err == nil {
			p.Made = fi.ModTime()
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b Public) int { return a.Made.Compare(b.Made) })
	if b, err := os.ReadFile(filepath.Join(dir, signingFile)); err == nil {
		if block, _ := pem.Decode(b); block != nil {
			for i := range out {
				out[i].InForce = out[i].ID.String() == block.Headers["Id"]
			}
		}
	}
	return out, nil
}

// Exported tells whether the private key in force has been saved elsewhere.
func Exported(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, exportedFile))
	return err == nil
}

// Export returns everything that signs and verifies, wrapped by a passphrase
// of its own, and notes that it was done.
func Export(dir, passphrase, exportPassphrase string) ([]byte, error) {
	if exportPassphrase == "" {
		return nil, fault.New("", "an export needs a passphrase", "it lies where others may read it")
	}
	s, err := Open(dir, passphrase)
	if err != nil {
		return nil, err
	}
	out, err := wrap(s.priv.Seed(), exportPassphrase)
	if err != nil {
		return nil, err
	}
	all, err := List(dir)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		b, err := PublicPEM(p.Key)
		if err != nil {
			return nil, err
		}
		out = append(out, b...)
	}
	return out, Write(filepath.Join(dir, exportedFile), []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), 0o600)
}

// ImportPublic keeps the public keys of an export that are not known yet, so that
// footage which was signed with them verifies here, and tells how many those
// are. The private key in it is not taken: each server signs with its own.
func ImportPublic(dir string, export []byte) (added int, err error) {
	all, err := ParsePublic(export)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Join(dir, publicFolder), 0o700); err != nil {
		return 0, fmt.Errorf("make the folder of the keys: %w", err)
	}
	for _, k := range all {
		path := filepath.Join(dir, publicFolder, IDOf(k).String()+".pem")
		if _, err := os.Stat(path); err == nil {
			continue
		}
		b, err := PublicPEM(k)
		if err == nil {
			err = Write(path, b, 0o644)
		}
		if err != nil {
			return added, err
		}
		added++
	}
	return added, nil
}

// wrap encodes a seed; with a passphrase it is encrypted (argon2id, 64 MiB,
// three passes; AES-256-GCM with the header as associated data).
func wrap(seed []byte, passphrase string) ([]byte, error) {
	id := signer(seed).id.String()
	block := &pem.Block{Type: privateType, Headers: map[string]string{"Id": id}, Bytes: seed}
	if passphrase != "" {
		random := make([]byte, saltSize+12)
		if _, err := rand.Read(random); err != nil {
			return nil, err
		}
		salt, nonce := random[:saltSize], random[saltSize:]
		g, err := gcm(passphrase, salt)
		if err != nil {
			return nil, err
		}
		block.Headers["Wrapped"] = wrapScheme
		block.Bytes = append(slices.Clone(random), g.Seal(nil, nonce, seed, []byte(id))...)
	}
	return pem.EncodeToMemory(block), nil
}

func unwrap(b []byte, passphrase string) ([]byte, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != privateType {
		return nil, errors.New("it is not a signing key")
	}
	seed := block.Bytes
	switch scheme := block.Headers["Wrapped"]; {
	case scheme == "":
	case scheme != wrapScheme:
		return nil, fmt.Errorf("it was wrapped by a newer version (%s)", scheme)
	case passphrase == "":
		return nil, errors.New("it is wrapped and [keys] passphrase is empty")
	case len(seed) < saltSize+12+16:
		return nil, errors.New("it is cut short")
	default:
		g, err := gcm(passphrase, seed[:saltSize])
		if err != nil {
			return nil, err
		}
		nonce, sealed := seed[saltSize:saltSize+12], seed[saltSize+12:]
		if seed, err = g.Open(nil, nonce, sealed, []byte(block.Headers["Id"])); err != nil {
			return nil, errors.New("the passphrase is not the one it was wrapped with, or the file was changed")
		}
	}
	if len(seed) != ed25519.SeedSize {
		return nil, errors.New("it is cut short")
	}
	return seed, nil
}

func gcm(passphrase string, salt []byte) (cipher.AEAD, error) {
	c, err := aes.NewCipher(argon2.IDKey([]byte(passphrase), salt, 3, 64<<10, 2, 32))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(c)
}

// Write puts a file of the folder of keys in place whole: temporary name, sync, rename,
// sync of the folder.
func Write(path string, b []byte, mode fs.FileMode) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// HasSigning tells whether a folder has a signing key.
func HasSigning(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, signingFile))
	return err == nil
}
