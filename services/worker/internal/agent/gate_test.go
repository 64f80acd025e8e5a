package agent

import "testing"

// A gate that is shut down while it is held for an eviction stays shut when the
// eviction is taken back.
func TestAGateThatIsShutDownIsNotReopened(t *testing.T) {
	g := newGate(1, 1)
	if !g.closeIfIdle() || g.enter("r") != shut {
		t.Fatal("an idle gate cannot be held")
	}
	empty := g.shutDown()
	g.reopen()
	if g.enter("r") != shut {
		t.Error("it was reopened")
	}
	<-empty
	taken := newGate(1, 1)
	if !taken.closeIfIdle() {
		t.Fatal("an idle gate cannot be held")
	}
	if taken.closeIfIdle() {
		t.Error("it is held twice")
	}
	taken.reopen()
	if taken.enter("r") != admitted || taken.closeIfIdle() {
		t.Error("taken back, it does not admit, or is held while in use")
	}
}
