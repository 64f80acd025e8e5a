package placement

// ranked is a version's copies, of the best form first.
type ranked struct {
	want *Want
	list []copyOn
}

func (r ranked) rank(i int) int { return r.want.rankOf(r.list[i].model.GetDigest()) }

// worse counts the copies that are not of the best form there is.
func (r ranked) worse() int {
	n := 0
	for i := range r.list {
		if r.rank(i) > r.rank(0) {
			n++
		}
	}
	return n
}

// mayGo reports whether n copies are left that count when one goes, and whether
// none would be loaded in its place, as a better one than what is left.
func (r ranked) mayGo(i, n int) bool {
	best, last := r.rank(0), r.rank(len(r.list)-1)
	switch at := r.rank(i); {
	case !r.want.Fallback && at > best:
		return true // a better form serves
	case !r.want.Fallback:
		return len(r.list)-r.worse() > n
	case at == last:
		return len(r.list) > n
	}
	better := 0 // than the worst
	for j := range r.list {
		if r.rank(j) < last {
			better++
		}
	}
	return better > n
}
