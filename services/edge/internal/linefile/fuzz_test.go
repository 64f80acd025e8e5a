package linefile

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Whatever is in a file, each line is an object or torn, and a line that was written is
// read as it was.
func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"n\":1,\"crc\":\"00000000\"}\n\x00\x00{\"n\":2}\n{"), []byte(`{"a":"b"}`))
	f.Add([]byte{}, []byte(`{"crc":"12345678"}`))
	path := filepath.Join(f.TempDir(), "x.lines")
	f.Fuzz(func(t *testing.T, before, object []byte) {
		if len(object) < 2 || bytes.ContainsAny(object, "\n\x00") {
			return
		}
		object, before = bytes.Clone(object), append(bytes.Clone(before), '\n')
		object[0], object[len(object)-1] = '{', '}'
		file := &file{mem: make([]byte, len(object)+lineExtra)}
		if err := file.append(object); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(bytes.Clone(before), file.mem...), 0o600); err != nil {
			t.Fatal(err)
		}
		var last []byte
		lines := 0
		torn, err := Read(path, func(o []byte) error { last, lines = bytes.Clone(o), lines+1; return nil })
		if err != nil || !bytes.Equal(last, object) || lines+torn != bytes.Count(before, []byte("\n"))+1 {
			t.Fatalf("%q of %d lines, %d torn, %v", last, lines, torn, err)
		}
	})
}
