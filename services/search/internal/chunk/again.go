package chunk

// Again cuts a passage of text anew, by smaller bounds.
func Again(text string, s Span, o Options) []Span {
	out := Split(text[s.Start:s.End], o)
	for i := range out {
		out[i].Start, out[i].End = out[i].Start+s.Start, out[i].End+s.Start
	}
	return out
}

// Ordered returns spans, some of which were cut anew, so that each goes on from the
// one before as in what Split returns: what a span repeats of those before it is
// taken off where it would begin before them, and spans that have nothing else are
// left out.
func Ordered(text string, spans []Span) []Span {
	out := spans[:0:0]
	start, end := -1, -1
	for _, s := range spans {
		if s.End <= end {
			continue
		}
		if s.Start <= start {
			t, ok := trim(text, Span{end, s.End})
			if !ok {
				continue
			}
			s = t
		}
		out = append(out, s)
		start, end = s.Start, s.End
	}
	return out
}

// Refines reports whether fine can be what became of coarse by cutting some of it
// anew: each of fine lies within coarse, and the ends of coarse are ends of fine.
func Refines(fine, coarse []Span) bool {
	i := 0
	for _, c := range coarse {
		from := i
		for i < len(fine) && fine[i].End <= c.End {
			if fine[i].Start < coarse[0].Start {
				return false
			}
			i++
		}
		if i == from || fine[i-1].End != c.End || fine[from].Start > c.End {
			return false
		}
	}
	return i == len(fine)
}
