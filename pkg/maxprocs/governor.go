package maxprocs

import "math"

const (
	// full is from which share of its processors on a process gets more at once.
	full = 0.85
	// roomy is the share of fewer processors that its work may fill for it to be given
	// those: under full, so that it does not go back and forth.
	roomy = 0.5
	// calm is for how many looks the work has to fit into fewer: 5 s.
	calm = 50
)

// governor decides on how many processors a process runs. It is for one goroutine.
type governor struct {
	now, least, most int

	peak  float64 // processors that were filled, at most, since the last decision
	looks int     // since then
}

// newGovernor begins with all of them, since a start has much to do.
func newGovernor(most int) *governor {
	g := &governor{now: most}
	g.limit(most)
	return g
}

// limit says how many there are.
func (g *governor) limit(most int) {
	g.most = max(most, 1)
	g.least = max(most/2, 1)
	g.now = min(max(g.now, g.least), g.most)
}

// look is told how many processors the work filled since the last look.
func (g *governor) look(filled float64) {
	if filled >= full*float64(g.now) && g.now < g.most {
		g.now = min(2*g.now, g.most)
		g.peak, g.looks = 0, 0
		return
	}
	g.peak = max(g.peak, filled)
	if g.looks++; g.looks < calm {
		return
	}
	g.now = min(max(int(math.Ceil(g.peak/roomy)), g.least), g.now)
	g.peak, g.looks = 0, 0
}
