package analysis

import "strings"

// american returns a lower-case English word as it is spelled in America where
// Britain spells it otherwise, so that colour and color, centre and center,
// organise and organize, analyse and analyze meet. The endings are regular; the
// lists hold what they do not tell. A word that is respelled wrongly does no
// harm as long as all its forms are.
func american(w string) string {
	if len(w) < 5 {
		return w
	}
	if strings.Contains(w, "our") {
		return withoutU(w)
	}
	if i := strings.LastIndex(w, "yz"); i > 1 { // with an s, as in analysis
		return w[:i] + "ys" + w[i+2:]
	}
	if strings.Contains(w, "tre") {
		for _, ending := range [...]string{"tre", "tres", "tred"} {
			if base, ok := strings.CutSuffix(w, ending); ok && isRe(base) {
				return base + "ter" + ending[3:]
			}
		}
	}
	if !strings.Contains(w, "is") { // most words: nothing more is looked at
		return w
	}
	for _, ending := range [...]string{"ise", "ises", "ised", "ising", "iser", "isers", "isation", "isations"} {
		if base, ok := strings.CutSuffix(w, ending); ok && isIze(base) {
			return base + "iz" + ending[2:]
		}
	}
	return w
}

// withoutU respells words that begin with one in -our: colour, colourless.
func withoutU(w string) string {
	for _, s := range [...]string{
		"arbour", "ardour", "armour", "behaviour", "candour", "clamour", "colour", "demeanour", "discolour", "dishonour",
		"endeavour", "favour", "fervour", "flavour", "harbour", "honour", "humour", "labour", "neighbour", "odour",
		"parlour", "rancour", "rigour", "rumour", "saviour", "savour", "splendour", "tumour", "valour", "vapour", "vigour",
	} {
		if rest, ok := strings.CutPrefix(w, s); ok {
			return s[:len(s)-2] + "r" + rest
		}
	}
	return w
}

// isRe reports whether base with -tre is a word that America ends in -ter.
func isRe(base string) bool {
	for _, s := range [...]string{"cen", "lus", "li", "me", "spec", "thea"} {
		if strings.HasSuffix(base, s) {
			return true
		}
	}
	return false
}

// isIze reports whether base with -ise is a word that America ends in -ize: most
// are, but for those from a Latin or French verb (revise, exercise, surprise) and
// those in which the s is a part of the word (noise).
func isIze(base string) bool {
	if len(base) < 4 {
		return false
	}
	for _, s := range [...]string{
		"v", "w", "p", "a", "o", "u", "pr", "nr", "ch", "rt", "st", "ct", "nd", "rad", "eat", "prom", "prem", "surm",
		"erc", "rec", "onc", "umc", "inc", "exc",
	} {
		if strings.HasSuffix(base, s) {
			return false
		}
	}
	return true
}
