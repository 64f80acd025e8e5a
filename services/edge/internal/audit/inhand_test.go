package audit

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestInHandFindsWhatIsInHand(t *testing.T) {
	h := new(InHand)
	in := make(map[string]*Entry)
	find := func(id string) bool {
		rec, ok := h.Find(func(r *Record) bool { return r.ID == id })
		return ok && rec.ID == id
	}
	for i := range 2000 {
		id := fmt.Sprint(rand.IntN(40))
		if e := in[id]; e != nil {
			h.Remove(e)
			delete(in, id)
		} else {
			in[id] = NewEntry(id)
			h.Add(in[id])
		}
		for n := range 40 {
			if id := fmt.Sprint(n); find(id) != (in[id] != nil) {
				t.Fatalf("after %d steps %s is in hand: %v", i, id, in[id] != nil)
			}
		}
	}
	var none *InHand
	none.Add(NewEntry("a"))
	none.Remove(NewEntry("a"))
	if _, ok := none.Find(func(*Record) bool { return true }); ok {
		t.Error("found in nothing")
	}
}
