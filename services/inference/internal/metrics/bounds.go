package metrics

// durationBounds are from a millisecond, a simulated engine, to minutes, a long prompt.
func durationBounds() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
}

// perTokenBounds are from a simulated engine to one that is hardly bearable.
func perTokenBounds() []float64 {
	return []float64{.001, .0025, .005, .01, .015, .02, .03, .05, .075, .1, .15, .25, .5, 1}
}

// overheadBounds are from what a decision takes to where something is wrong.
func overheadBounds() []float64 {
	return []float64{.00001, .00002, .00005, .0001, .0002, .0005, .001, .005, .025, .1}
}
