package archive

import (
	"bytes"
	"testing"
)

// BenchmarkTail reads and parses the index box at the end of a file of two
// minutes, which a movie does for its first and its last file before its first
// byte.
func BenchmarkTail(b *testing.B) {
	file := AppendIndex(make([]byte, 1<<20), sampleIndex())
	r := bytes.NewReader(file)
	for name, read := range map[string]func() (*Index, error){
		"kept": func() (*Index, error) { return parseTail(r, int64(len(file))) },
		"new":  func() (*Index, error) { x, _, err := readIndex(r, int64(len(file))); return x, err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := read(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
