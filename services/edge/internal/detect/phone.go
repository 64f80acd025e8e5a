package detect

import "strings"

// phone finds telephone numbers: international ones (ITU-T E.164), and national
// ones as they are written in France and North America.
type phone struct{}

const (
	minInternational = 8
	maxInternational = 15
	national         = 10
)

func (phone) Kinds() []Kind { return []Kind{Phone} }

func (phone) Starts(b byte) bool { return b == '+' || b == '(' || isDigit(b) }

func (phone) Match(text string, whole bool) (Kind, int, Verdict) {
	var n int
	var v Verdict
	switch {
	case text[0] == '+':
		n, v = international(text[1:], whole, 1)
	case text[0] == '(':
		n, v = american(text, whole)
	case text[0] != '0':
		n, v = american(text, whole)
	default:
		switch prefixed(text, "00", whole) {
		case More:
			return "", 0, More
		case Yes:
			n, v = international(text[2:], whole, 2)
		case No:
			n, v = french(text, whole)
		}
	}
	return Phone, n, v
}

// international reads what follows the + or 00, which has so many bytes.
func international(text string, whole bool, before int) (int, Verdict) {
	if text == "" {
		return 0, unless(whole)
	}
	if text[0] == '0' || !isDigit(text[0]) {
		return 0, No
	}
	at := 0
	// +33 (0)6 12 34 56 78: the zero is for calls within the country.
	country := 0
	for country < len(text) && country < 3 && isDigit(text[country]) {
		country++
	}
	if country == len(text) && country < 3 && !whole {
		return 0, More
	}
	for _, zero := range []string{" (0)", "(0)", " (0) "} {
		switch prefixed(text[country:], zero, whole) {
		case More:
			return 0, More
		case Yes:
			at = max(at, len(zero))
		case No:
		}
	}
	if at > 0 {
		rest, ends, more := groups(text[country+at:], whole, maxInternational-country, nil)
		if more {
			return 0, More
		}
		e, ok := longest(ends, func(n int) bool { return internationalLength(text[:country] + rest[:n]) })
		if !ok {
			return 0, No
		}
		return before + country + at + e.bytes, Yes
	}
	number, ends, more := groups(text, whole, maxInternational, nil)
	if more {
		return 0, More
	}
	e, ok := longest(ends, func(n int) bool { return internationalLength(number[:n]) })
	if !ok {
		return 0, No
	}
	return before + e.bytes, Yes
}

// internationalLength reports whether a number with its country may have so many
// digits; where all of a country's numbers have as many, it has those.
func internationalLength(number string) bool {
	switch {
	case strings.HasPrefix(number, "33"), strings.HasPrefix(number, "1"):
		return len(number) == 11
	default:
		return minInternational <= len(number) && len(number) <= maxInternational
	}
}

// french reads 06 12 34 56 78, also with dots, hyphens or nothing between.
func french(text string, whole bool) (int, Verdict) {
	number, ends, more := groups(text, whole, national, nil)
	if more {
		return 0, More
	}
	e, ok := longest(ends, func(n int) bool { return n == national && number[1] != '0' })
	if !ok {
		return 0, No
	}
	return e.bytes, Yes
}

// american reads (555) 555-0100 and 555-555-0100 (NANP): with separators, since
// ten digits alone may be anything.
func american(text string, whole bool) (int, Verdict) {
	i := 0
	for _, c := range "dddsddd-dddd" {
		if i == 0 && text[0] == '(' {
			i++
		}
		if i >= len(text) {
			return 0, unless(whole)
		}
		switch {
		case c == 'd' && isDigit(text[i]):
			i++
		case c == 's' && text[0] == '(':
			if text[i] != ')' {
				return 0, No
			}
			if i++; i == len(text) {
				return 0, unless(whole)
			}
			if text[i] == ' ' {
				i++
			}
		case c != 'd' && (text[i] == '-' || text[i] == '.' || text[i] == ' '):
			i++
		default:
			return 0, No
		}
	}
	if i == len(text) && !whole {
		return 0, More
	}
	start := 0
	if text[0] == '(' {
		start = 1
	}
	if text[start] < '2' || i < len(text) && (isAlnum(text[i]) || text[i] == '_') {
		return 0, No
	}
	return i, Yes
}

// unless is the verdict of a text that ended too early.
func unless(whole bool) Verdict {
	if whole {
		return No
	}
	return More
}

// ssn finds numbers of the social security of the United States as they are
// written, without those that are never given.
type ssn struct{}

func (ssn) Kinds() []Kind { return []Kind{SSN} }

func (ssn) Starts(b byte) bool { return '0' <= b && b <= '8' }

func (ssn) Match(text string, whole bool) (Kind, int, Verdict) {
	const form = "ddd-dd-dddd"
	for i := range len(form) {
		if i == len(text) {
			return "", 0, unless(whole)
		}
		if form[i] == 'd' && !isDigit(text[i]) || form[i] == '-' && text[i] != '-' {
			return "", 0, No
		}
	}
	if len(text) == len(form) && !whole {
		return "", 0, More
	}
	n := len(form)
	if n < len(text) && (isAlnum(text[n]) || text[n] == '-' || text[n] == '_') {
		return "", 0, No
	}
	if text[:3] == "000" || text[:3] == "666" || text[4:6] == "00" || text[7:11] == "0000" {
		return "", 0, No
	}
	return SSN, n, Yes
}
