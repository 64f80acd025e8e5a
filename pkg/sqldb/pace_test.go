package sqldb

import (
	"testing"
	"testing/synctest"
	"time"
)

// However long others keep it waiting, an insertion takes no more than five times as long,
// and the one wait more that nobody could foresee.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		name              string
		statement, others time.Duration
		atMost, waits     time.Duration
	}{
		{"nobody waits", time.Millisecond, 0, 100 * time.Millisecond, 0},
		{"others are done soon", 2 * time.Millisecond, time.Millisecond, 300 * time.Millisecond, 100 * time.Millisecond},
		{"a machine with too much to do", time.Millisecond, 50 * time.Millisecond, 550 * time.Millisecond, 400 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, begun, waited := newPace(), time.Now(), time.Duration(0)
				p.giveWay = func() { waited += c.others; <-time.After(c.others) }
				for range 100 {
					<-time.After(c.statement) // the work
					p.next()
				}
				if took := time.Since(begun); took > c.atMost || waited < c.waits {
					t.Errorf("100 statements took %v, at most %v; others had %v, at least %v", took, c.atMost, waited, c.waits)
				}
			})
		})
	}
}
