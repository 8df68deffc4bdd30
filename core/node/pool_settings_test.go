package node

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"media-server/core/archive"
	"media-server/core/config"
)

// TestPoolSettings: what a pool tells of itself is every key of its section,
// and written into a section it gives the same pool: by default, with every key
// set otherwise, and of a pool that the settings do not have any more.
func TestPoolSettings(t *testing.T) {
	other := map[string]string{"overwrite": "false", "days": "30d", "overwrite-free": "5G", "alarm-free": "7%", "lock-max": "40%", "delete-most": "20%", "sign": "true", "encrypt": "true",
		"archive-to": "cold", "archive-after": "1d", "archive-at": "02:00-05:00, 22:00-23:30", "archive-rate": "10M", "groom-after": "12h", "stage": "fast"}
	for _, values := range []map[string]string{{}, other} {
		p, keys := poolOf(t, values)
		got := poolSettings(&p)
		if want := slices.DeleteFunc(keys, func(k string) bool { return k == "spaces" }); !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
			t.Fatalf("keys %q, the schema has %q", slices.Sorted(maps.Keys(got)), want)
		}
		for k, v := range values {
			if got[k] != v {
				t.Errorf("%s = %q, want %q", k, got[k], v)
			}
		}
		if again, _ := poolOf(t, got); !reflect.DeepEqual(again, p) {
			t.Errorf("read back it is %+v, was %+v", again, p)
		}
		if left := poolInForce(&poolOptions([]archive.PoolConfig{p})[0]); !reflect.DeepEqual(left, p) {
			t.Errorf("in force it is %+v, set is %+v", left, p)
		}
	}
	if p, _ := poolOf(t, nil); len(other) != len(poolSettings(&p)) {
		t.Errorf("%d keys are set otherwise, of %d", len(other), len(poolSettings(&p)))
	}
}

// poolOf is the pool of a section with these values, and the keys of the schema.
func poolOf(t *testing.T, values map[string]string) (archive.PoolConfig, []string) {
	t.Helper()
	text := "[pool.a]\n"
	for k, v := range values {
		text += k + " = " + v + "\n"
	}
	f, ps := config.Parse("x.ini", []byte(text))
	c, set := archive.DefaultConfig(), config.NewSet()
	c.Bind(set)
	_, more := set.Load(new(config.Env), f)
	if ps = append(ps, more...); len(ps) > 0 {
		t.Fatal(ps.Error())
	}
	c.Complete("/x")
	p, _ := c.Pool("a")
	p.Spaces = nil
	var keys []string
	for _, s := range set.Describe() {
		if s.Name == "pool.NAME" {
			for _, k := range s.Keys {
				keys = append(keys, k.Name)
			}
		}
	}
	slices.Sort(keys)
	return p, keys
}
