package bucket_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/plugins/s3/bucket"
	"media-server/test/s3server"
)

// authority makes a CA, and a server's certificate that it signed.
func authority(t *testing.T) (ca, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sign := func(x, by *x509.Certificate, pub *ecdsa.PublicKey, priv *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, x, by, pub, priv)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	pair := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	root, server := pair(), pair()
	from, to := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	a := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	s := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "store"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.MarshalPKCS8PrivateKey(server)
	if err != nil {
		t.Fatal(err)
	}
	return write("ca.pem", "CERTIFICATE", sign(a, a, &root.PublicKey, root)),
		write("cert.pem", "CERTIFICATE", sign(s, a, &server.PublicKey, root)), write("key.pem", "PRIVATE KEY", der)
}

// TestOwnAuthority: a server whose certificate an authority of one's own signed
// is used where the settings name that, and told of where they do not.
func TestOwnAuthority(t *testing.T) {
	ca, cert, key := authority(t)
	srv := s3server.StartTLS(t, cert, key)
	keys := s3server.Settings(srv.Addr, "tls")
	keys["tls"] = "on"
	set, bad := bucket.ParseSettings(keys)
	if bad != nil {
		t.Fatal(bad)
	}
	_, _, problem, err := bucket.Open(t.Context(), bucket.Request{Settings: set, Node: "n", Epoch: 1, Create: true})
	if err != nil || problem.GetKey() != "ca-file" || !strings.Contains(problem.GetWhat(), "unknown authority") || !strings.Contains(problem.GetHint(), "ca-file") {
		t.Fatalf("without ca-file: %v, %v", problem, err)
	}
	keys["ca-file"] = ca
	if set, bad = bucket.ParseSettings(keys); bad != nil {
		t.Fatal(bad)
	}
	s, created, problem, err := bucket.Open(t.Context(), bucket.Request{Settings: set, Node: "n", Epoch: 1, Create: true})
	if err != nil || problem != nil || !created {
		t.Fatal(created, problem, err)
	}
	defer s.Close()
	if err := s.Advance(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	want := noise(100_000)
	if err := s.Put(t.Context(), 1, "gate/a.mp4", int64(len(want)), bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	if got, err := read(t, s, "gate/a.mp4", 0, int64(len(want))); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}

	for what, path := range map[string]string{"cannot be read": filepath.Join(t.TempDir(), "none.pem"), "holds no certificate": key} {
		m := maps.Clone(keys)
		m["ca-file"] = path
		if _, bad := bucket.ParseSettings(m); bad.GetKey() != "ca-file" || !strings.Contains(bad.GetWhat(), what) || bad.GetHint() == "" {
			t.Errorf("%s: %v", path, bad)
		}
	}
}
