package inhand

import "testing"

// Whoever still knows a call that is over must not keep all that came after it.
func TestACallThatIsOverKeepsNoOther(t *testing.T) {
	c := New()
	_, done := c.Begin(t.Context())
	_, later := c.Begin(t.Context())
	over := c.first.next
	done()
	if over.before != nil || over.next != nil {
		t.Errorf("%+v", over)
	}
	later()
	if c.first != nil || c.n != 0 {
		t.Errorf("%d calls are in hand", c.n)
	}
}
