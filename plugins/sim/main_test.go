package main

import (
	"testing"

	"media-server/plugins/sim/camera"
)

func TestValidate(t *testing.T) {
	if p := validate("sim://", nil); len(p) > 0 {
		t.Errorf("sim:// alone: %v", p)
	}
	p := validate("sim://?codec=vp9", map[string]string{"fps": "fast"})
	if len(p) != 2 || p[0].Key != "codec" || p[1].Key != "fps" || p[0].Hint == "" {
		t.Errorf("%v", p)
	}
}

// TestKeys: what the schema offers as default is what the camera does.
func TestKeys(t *testing.T) {
	all := map[string]string{}
	for _, k := range keys() {
		if k.Help == "" {
			t.Errorf("%s has no help", k.Name)
		}
		if k.Default != "" {
			all[k.Name] = k.Default
		}
	}
	with, problems := camera.Parse("sim://", "gate", all)
	without, _ := camera.Parse("sim://", "gate", nil)
	if len(problems) > 0 || with.Codec != without.Codec || with.Seed != without.Seed || !with.Reports {
		t.Errorf("%+v %+v %v", with, without, problems)
	}
}
