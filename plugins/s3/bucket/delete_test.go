package bucket_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"media-server/test/s3server"
)

// TestDeleteBeyondBad: an object that may not be removed keeps none of the others,
// and the error names it.
func TestDeleteBeyondBad(t *testing.T) {
	srv := s3server.Start(t)
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: srv.Addr})
	deny := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/locked") {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			w.Write([]byte("<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"))
			return
		}
		to.ServeHTTP(w, r)
	}))
	t.Cleanup(deny.Close)
	s := open(t, strings.TrimPrefix(deny.URL, "http://"), "a", 1, nil)
	for _, n := range []string{"cam/1", "cam/locked", "cam/2"} {
		if err := s.Put(t.Context(), 1, n, 3, bytes.NewReader([]byte("abc"))); err != nil {
			t.Fatal(err)
		}
	}
	missing, err := s.Delete(t.Context(), 1, []string{"cam/1", "cam/locked", "../up", "cam/2", "cam/none"})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "cam/locked") || !strings.Contains(err.Error(), "../up") || len(missing) != 1 || missing[0] != "cam/none" {
		t.Errorf("%v, missing %v", err, missing)
	}
	for n, want := range map[string]bool{"cam/1": false, "cam/locked": true, "cam/2": false} {
		if _, there, err := s.Stat(t.Context(), n); err != nil || there != want {
			t.Errorf("%s is there: %v, %v", n, there, err)
		}
	}
}
