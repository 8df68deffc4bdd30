package stream

import (
	"fmt"

	"media-server/core/config"
	"media-server/core/fault"
)

// Foreign are the keys and words of stream files that were written for a server of the
// field's (aipix = on): whoever moves here takes them along as they are, and changes a
// file when he likes. Without aipix = on they are mistakes.
type Foreign struct {
	On        bool
	CameraUID string // the camera's id in the system that wrote the file; told, and used for nothing
	Archive   string // path inside a space, which stands for a pool of it

	proto, tracks []string // words of the other server's, as they stand there
}

func (f *Foreign) bind(s *config.Section) {
	s.Bool("aipix", &f.On, "The file was written for another server: camera-uid and dvr-archive are read, mse in stream-proto means hls, and application in stream-tracks means data.")
	s.String("camera-uid", &f.CameraUID, "With aipix = on: the camera's id in the system that wrote the file. It is shown, and names nothing here.")
	s.String("dvr-archive", &f.Archive, "With aipix = on: a folder inside the path of a space, in place of dvr-pool: the pool that has this space takes the footage.")
	s.Warned("how soon a source that refuses is tried again say reconnect-timeout and reconnect-interval", "reconnect-invalid")
}

// validate lists what is of the other server's though nothing says that it is meant so.
func (f *Foreign) validate(where string) (ps fault.Problems) {
	if f.On {
		return nil
	}
	hint := "write aipix = on if this file was made for another server, or remove it"
	for _, k := range []struct{ key, value string }{{"camera-uid", f.CameraUID}, {"dvr-archive", f.Archive}} {
		if k.value != "" {
			ps.Add(fault.Problem{Where: where, Key: k.key, What: fmt.Sprintf("%s has a meaning with aipix = on alone", k.key), Hint: hint})
		}
	}
	for _, k := range []struct {
		key   string
		words []string
	}{{"stream-proto", f.proto}, {"stream-tracks", f.tracks}} {
		if len(k.words) > 0 {
			ps.Add(fault.Problem{Where: where, Key: k.key, What: fmt.Sprintf("%s = %s has a meaning with aipix = on alone", k.key, k.words[0]), Hint: hint})
		}
	}
	return ps
}
