package engine

import (
	"bytes"
	"strings"
	"testing"
)

// Chunks that share memory stay what they are, also when one is added to.
func TestChunksShareRoom(t *testing.T) {
	r := room{arrived: 600}
	var all [][]byte
	var want []string
	for i := range 60 {
		data := []byte(`{"a":"` + strings.Repeat(string(rune('a'+i%26)), i) + `","usage":null}`)
		c, ok := scan(data)
		if !ok {
			t.Fatalf("%s", data)
		}
		out := c.without(&r, c.usage)
		all, want = append(all, out), append(want, string(out))
		if !bytes.Equal(c.without(&r), data) {
			t.Errorf("%s is changed", data)
		}
		_ = append(out, "something else"...)
	}
	for i, out := range all {
		if string(out) != want[i] || bytes.Contains(out, []byte("usage")) {
			t.Errorf("chunk %d became %s", i, out)
		}
	}
}

// What has arrived is room for all of it, and no more.
func TestRoomIsOfWhatHasArrived(t *testing.T) {
	for _, c := range []struct{ arrived, size, want int }{{0, 10, 10}, {90, 10, 100}, {1 << 20, 10, maxRoom}, {0, 2 * maxRoom, 2 * maxRoom}} {
		r := room{arrived: c.arrived}
		if out := r.of(c.size); len(out) != 0 || cap(out) != c.size || cap(r.left) != c.want {
			t.Errorf("%+v: room for %d in %d", c, cap(out), cap(r.left))
		}
	}
}
