package api

import (
	"strings"
	"testing"

	"media-server/core/fault"
)

func (f *fake) Keys() (Keys, error) {
	return Keys{Signing: []SigningKey{}, Encryption: &EncryptionKeys{Master: "m1", Keys: 3, Destroyed: []DestroyedKey{}}}, f.fail
}
func (f *fake) RotateKeys() (string, error) { return "m2", f.fail }
func (f *fake) DestroyKeys(uid, day string, force bool, who string) (DestroyedDay, error) {
	switch {
	case uid == "locked" && !force:
		return DestroyedDay{}, fault.New("day", "1 locks keep footage of that day", "remove the locks, or destroy with force")
	case uid == "none":
		return DestroyedDay{}, ErrNoKeys
	}
	return DestroyedDay{UID: uid, Day: day, Keys: 1, Files: 2}, f.fail
}

func (f *fake) ImportKeys(export, passphrase, _ string) (ImportedKeys, error) {
	if passphrase != "right" {
		return ImportedKeys{}, fault.New("", "the passphrase does not open the export", "it is the one that was given to media-server keys export")
	}
	return ImportedKeys{Encryption: len(export), Public: 1}, f.fail
}

func TestKeyRoutes(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "keys", "", 200, `"master":"m1"`},
		{"POST", "keys/rotate", "", 200, `"master":"m2"`},
		{"POST", "keys/destroy", `{"uid":"a","day":"2026-03-01"}`, 409, "confirm"},
		{"POST", "keys/destroy", `{"uid":"a","day":"2026-03-01","confirm":"a 2026-03-02"}`, 409, "confirm"},
		{"POST", "keys/destroy", `{"uid":"a","day":"2026-03-01","confirm":"a 2026-03-01"}`, 200, `"files":2`},
		{"POST", "keys/destroy", `{"uid":"locked","day":"2026-03-01","confirm":"locked 2026-03-01"}`, 409, "locks keep"},
		{"POST", "keys/destroy", `{"uid":"locked","day":"2026-03-01","confirm":"locked 2026-03-01","force":true}`, 200, `"keys":1`},
		{"POST", "keys/destroy", `{"uid":"none","day":"2026-03-01","confirm":"none 2026-03-01"}`, 404, "no_such_key"},
		{"POST", "keys/destroy", `{"uid":"a","dya":"2026-03-01"}`, 400, "bad_body"},
		{"POST", "keys/import", `{"export":"1234","passphrase":"right"}`, 200, `"encryption":4`},
		{"POST", "keys/import", `{"export":"1234","passphrase":"wrong"}`, 409, "passphrase"},
		{"POST", "keys/import", `{"passphrase":"right"}`, 400, "export is missing"},
	} {
		f := &fake{}
		status, body := ask(f, "admin", c.method, c.path, c.body)
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, status, body)
		}
		if changed := c.method == "POST" && c.status == 200; changed != (len(f.audited) == 1) {
			t.Errorf("%s %s: audited %q", c.method, c.path, f.audited)
		}
		if status, _ := ask(f, "operator", c.method, c.path, c.body); status != 403 {
			t.Errorf("%s %s as operator: %d", c.method, c.path, status)
		}
	}
}

func ask(f *fake, who, method, path, body string) (int, string) {
	ctx, _ := do(newAPI(f), who, method, "/api/v1/"+path, body)
	return ctx.Response.StatusCode(), string(ctx.Response.Body())
}
