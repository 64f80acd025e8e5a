package apierr

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// patternInWords says what texts a regular expression takes, to be read after
// "must be"; false when it is of a kind that is not known here. It knows what
// names and ids are made of: characters of certain kinds, so and so many, and
// plain texts between them.
func patternInWords(pattern string) (string, bool) {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return "", false
	}
	return describe(re)
}

// run is characters of one kind, one after the other.
type run struct {
	kind     string // what characters, or ""
	text     string // in place of kind: this text
	min, max int    // how many; max is -1 when there is no bound
}

func describe(re *syntax.Regexp) (string, bool) {
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	var inner []*syntax.Regexp
	for _, p := range parts {
		if p.Op != syntax.OpBeginText && p.Op != syntax.OpEndText {
			inner = append(inner, p)
		}
	}
	if len(inner) == 1 {
		switch one := inner[0]; one.Op {
		case syntax.OpCapture:
			return describe(one.Sub[0])
		case syntax.OpQuest:
			words, ok := describe(one.Sub[0])
			return "empty, or " + words, ok
		case syntax.OpAlternate:
			return either(one.Sub)
		default:
		}
	}
	var runs []run
	for _, p := range inner {
		r, ok := runOf(p)
		if !ok {
			return "", false
		}
		runs = append(runs, r)
	}
	return sequence(runs), len(runs) > 0
}

func either(options []*syntax.Regexp) (string, bool) {
	words := make([]string, 0, len(options))
	for _, o := range options {
		w, ok := describe(o)
		if !ok {
			return "", false
		}
		words = append(words, w)
	}
	return strings.Join(words, ", or "), true
}

func runOf(re *syntax.Regexp) (run, bool) {
	switch re.Op {
	case syntax.OpLiteral:
		return run{text: string(re.Rune), min: 1, max: 1}, true
	case syntax.OpCharClass:
		return run{kind: kindOf(re.Rune), min: 1, max: 1}, true
	case syntax.OpQuest, syntax.OpStar, syntax.OpPlus, syntax.OpRepeat:
	default:
		return run{}, false
	}
	r, ok := runOf(re.Sub[0])
	if !ok || r.min != 1 || r.max != 1 {
		return run{}, false
	}
	switch re.Op {
	case syntax.OpQuest:
		r.min = 0
	case syntax.OpStar:
		r.min, r.max = 0, -1
	case syntax.OpPlus:
		r.max = -1
	default:
		r.min, r.max = re.Min, re.Max
	}
	return r, r.text == "" || r.max == 1
}

// endOfKind returns the last character of the alphabet, or of the digits, that r
// is of; of another character, itself; beyond ASCII there is one kind.
func endOfKind(r rune) rune {
	switch {
	case '0' <= r && r <= '9':
		return '9'
	case 'A' <= r && r <= 'Z':
		return 'Z'
	case 'a' <= r && r <= 'z':
		return 'z'
	case r >= 0x80:
		return unicode.MaxRune
	default:
		return r
	}
}

// kindOf names the characters of a class, given as pairs of first and last: a
// parser has joined neighbours of different kinds.
func kindOf(pairs []rune) string {
	var ranges, singles []string
	for i := 0; i+1 < len(pairs); i += 2 {
		for first := pairs[i]; first <= pairs[i+1]; {
			last := min(endOfKind(first), pairs[i+1])
			if first == last {
				singles = append(singles, string(first))
			} else {
				ranges = append(ranges, string(first)+"-"+string(last))
			}
			first = last + 1
		}
	}
	all := slices.Concat(ranges, singles)
	if len(all) == 0 {
		return "that do not exist"
	}
	if len(all) == 1 {
		return all[0]
	}
	return strings.Join(all[:len(all)-1], " ") + " and " + all[len(all)-1]
}

// sequence says what a text of these runs is. A single character of a narrower
// kind before others is the usual name: it is said as a rule about the first.
func sequence(runs []run) string {
	if len(runs) == 2 && runs[0].text == "" && runs[1].text == "" && runs[0].min == 1 && runs[0].max == 1 {
		all := run{kind: runs[1].kind, min: 1 + runs[1].min, max: runs[1].max}
		if all.max >= 0 {
			all.max++
		}
		return all.words() + ", the first of " + runs[0].kind
	}
	words := make([]string, 0, len(runs))
	for _, r := range runs {
		words = append(words, r.words())
	}
	return strings.Join(words, " followed by ")
}

func (r run) words() string {
	switch {
	case r.text != "" && r.min == 0:
		return "an optional " + strconv.Quote(r.text)
	case r.text != "":
		return strconv.Quote(r.text)
	case r.min == r.max:
		return fmt.Sprintf("%d of the characters %s", r.min, r.kind)
	case r.max < 0 && r.min == 0:
		return "any number of the characters " + r.kind
	case r.max < 0:
		return fmt.Sprintf("at least %d of the characters %s", r.min, r.kind)
	default:
		return fmt.Sprintf("%d to %d of the characters %s", r.min, r.max, r.kind)
	}
}
