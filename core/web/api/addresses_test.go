package api

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"media-server/core/urls"
)

// places map two hosts, one with a comma in no field and clients of both families.
type places struct{}

func (places) URLs(_ *fasthttp.RequestCtx, client netip.Addr, uid, token string) map[string]string {
	return map[string]string{"hls": "http://" + client.String() + "/" + uid + token}
}

func (places) Base(*fasthttp.RequestCtx) string { return "https://video.example.org" }

func (places) Map() []urls.Mapping {
	return []urls.Mapping{
		{Name: "1", Inner: urls.Place{Host: "10.0.0.5", Port: 8080}, Outer: urls.Place{Host: "2001:db8::5", Port: 443}, Clients: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}},
		{Name: "2", Inner: urls.Place{Host: "10.0.0.6"}, Outer: urls.Place{Host: "video.example.org"}, Clients: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}},
	}
}

func TestAddressMap(t *testing.T) {
	for path, want := range map[string]string{
		"address-map":                         `{"items":[{"name":"1","inner":"10.0.0.5:8080","outer":"[2001:db8::5]:443","clients":["0.0.0.0/0","::/0"]},{"name":"2","inner":"10.0.0.6","outer":"video.example.org","clients":["192.0.2.7/32"]}],"next":null}`,
		"address-map.csv":                     "name,inner,outer,clients\n1,10.0.0.5:8080,[2001:db8::5]:443,0.0.0.0/0 ::/0\n2,10.0.0.6,video.example.org,192.0.2.7/32",
		"streams/a/urls":                      `{"hls":"http://invalid IP/a"}`,
		"streams/a/urls?client=203.0.113.7":   `{"hls":"http://203.0.113.7/a"}`,
		"streams/a/urls?client=2001%3Adb8::1": `{"hls":"http://2001:db8::1/a"}`,
	} {
		ctx, _ := do(newAPI(&fake{}), "operator", "GET", "/api/v1/"+path, "")
		if got := strings.TrimSpace(string(ctx.Response.Body())); ctx.Response.StatusCode() != 200 || got != want {
			t.Errorf("%s: %d %s", path, ctx.Response.StatusCode(), got)
		}
		if kind := string(ctx.Response.Header.ContentType()); strings.HasSuffix(path, ".csv") != strings.HasPrefix(kind, "text/csv") {
			t.Errorf("%s is %s", path, kind)
		}
	}
}
