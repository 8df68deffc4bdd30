package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// secretsUID is whose key seals what is not footage. No stream can have that name,
// and the key is wrapped, saved, exported and rotated like those of streams.
const secretsUID = "@secrets"

// Seal encrypts something small, such as what an account is recognised by, with
// AES-256-GCM under a key that the master key wraps. about is what it is for: Open
// wants the same. It waits until that key is on the disk, and makes a master key
// where there is none.
func (v *Vault) Seal(ctx context.Context, plain, about []byte) (id KeyID, sealed []byte, err error) {
	id, key, durable, err := v.ForDay(secretsUID, 0)
	for errors.Is(err, errNone) { // Run makes one
		select {
		case <-ctx.Done():
			return id, nil, err
		case <-time.After(20 * time.Millisecond):
		}
		id, key, durable, err = v.ForDay(secretsUID, 0)
	}
	if err != nil {
		return id, nil, err
	}
	if durable != nil {
		select {
		case <-durable:
		case <-ctx.Done():
			return id, nil, fmt.Errorf("the key is not saved: %w", ctx.Err())
		}
	}
	g, err := secretGCM(&key)
	if err != nil {
		return id, nil, err
	}
	nonce := make([]byte, nonceSize)
	if _, err := rand.Read(nonce); err != nil {
		return id, nil, err
	}
	return id, g.Seal(nonce, nonce, plain, about), nil
}

// Open decrypts what Seal has encrypted.
func (v *Vault) Open(id KeyID, sealed, about []byte) ([]byte, error) {
	key, err := v.Key(id)
	if err != nil {
		return nil, err
	}
	g, err := secretGCM(&key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < nonceSize {
		return nil, errors.New("it is cut short")
	}
	plain, err := g.Open(nil, sealed[:nonceSize], sealed[nonceSize:], about)
	if err != nil {
		return nil, errors.New("it was changed, or is something else's")
	}
	return plain, nil
}

func secretGCM(key *[keySize]byte) (cipher.AEAD, error) {
	c, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(c)
}
