package detect

import (
	"strconv"
	"strings"
)

// nir finds numbers of the French social security with their key (INSEE: sex,
// year, month, department, commune, order, and 97 minus the rest by 97).
type nir struct{}

const nirDigits = 15

func (nir) Kinds() []Kind { return []Kind{NIR} }

func (nir) Starts(b byte) bool { return strings.IndexByte("123478", b) >= 0 }

func (nir) Match(text string, whole bool) (Kind, int, Verdict) {
	// Corsica's departments are 2A and 2B.
	number, ends, more := groups(text, whole, nirDigits, func(b byte) bool { return b == 'A' || b == 'B' })
	if more {
		return "", 0, More
	}
	e, ok := longest(ends, func(n int) bool { return n == nirDigits && validNIR(number[:n]) })
	if !ok {
		return "", 0, No
	}
	return NIR, e.bytes, Yes
}

func validNIR(number string) bool {
	body := number[:13]
	switch number[5:7] { // INSEE takes 19 and 18 for 2A and 2B
	case "2A":
		body = number[:5] + "19" + number[7:13]
	case "2B":
		body = number[:5] + "18" + number[7:13]
	}
	key, err := strconv.Atoi(number[13:])
	if err != nil || strings.ContainsAny(body, "AB") {
		return false
	}
	month, err := strconv.Atoi(number[3:5])
	if err != nil || month == 0 || 12 < month && month < 20 || 42 < month && month < 50 {
		return false
	}
	return key == 97-mod(body, 97)
}

// siret finds numbers of places of business: a SIREN and five digits, with a
// check digit over all.
type siret struct{}

const (
	siretDigits = 14
	sirenDigits = 9
)

func (siret) Kinds() []Kind { return []Kind{SIRET} }

func (siret) Starts(b byte) bool { return isDigit(b) }

func (siret) Match(text string, whole bool) (Kind, int, Verdict) {
	number, ends, more := groups(text, whole, siretDigits, nil)
	if more {
		return "", 0, More
	}
	e, ok := longest(ends, func(n int) bool {
		return n == siretDigits && luhn(number[:sirenDigits]) && luhn(number[:n]) && number[:sirenDigits] != "000000000"
	})
	if !ok {
		return "", 0, No
	}
	return SIRET, e.bytes, Yes
}

// siren finds numbers of companies where the text calls them so: by themselves
// every tenth number of nine digits would be one.
type siren struct{}

func (siren) Kinds() []Kind { return []Kind{SIREN} }

func (siren) Starts(b byte) bool { return b == 'S' || b == 's' || b == 'R' || b == 'r' }

func (siren) Match(text string, whole bool) (Kind, int, Verdict) {
	word := 0
	for word < len(text) && word < 6 && isLetter(text[word]) {
		word++
	}
	if word == len(text) && word < 6 && !whole {
		return "", 0, More
	}
	if name := text[:word]; !strings.EqualFold(name, "siren") && !strings.EqualFold(name, "rcs") {
		return "", 0, No
	}
	// A place and a few signs may stand between: RCS Paris B 732 829 320, SIREN n° 732….
	at := word
	for at < len(text) && at < word+32 && !isDigit(text[at]) && text[at] != '\n' {
		at++
	}
	if at == len(text) && at < word+32 && !whole {
		return "", 0, More
	}
	number, ends, more := groups(text[at:], whole, sirenDigits, nil)
	if more {
		return "", 0, More
	}
	e, ok := longest(ends, func(n int) bool { return n == sirenDigits && luhn(number[:n]) })
	if !ok {
		return "", 0, No
	}
	return SIREN, at + e.bytes, Yes
}

// frenchVAT finds FR, a key and a SIREN; the key is (12 + 3 · (SIREN mod 97)) mod 97.
type frenchVAT struct{}

func (frenchVAT) Kinds() []Kind { return []Kind{FrenchVAT} }

func (frenchVAT) Starts(b byte) bool { return b == 'F' }

func (frenchVAT) Match(text string, whole bool) (Kind, int, Verdict) {
	if v := prefixed(text, "FR", whole); v != Yes {
		return "", 0, v
	}
	at := len("FR")
	sep, more := separator(text[at:], whole)
	if more || at+sep == len(text) && !whole {
		return "", 0, More
	}
	at += sep
	number, ends, more := groups(text[at:], whole, 2+sirenDigits, nil)
	if more {
		return "", 0, More
	}
	e, ok := longest(ends, func(n int) bool {
		if n != 2+sirenDigits || !luhn(number[2:n]) {
			return false
		}
		return mod(number[:2], 97) == (12+3*mod(number[2:n], 97))%97
	})
	if !ok {
		return "", 0, No
	}
	return FrenchVAT, at + e.bytes, Yes
}

// frenchTax finds numbers of taxpayers: ten digits, and what is left of them by
// 511 in three more.
type frenchTax struct{}

const taxDigits = 13

func (frenchTax) Kinds() []Kind { return []Kind{FrenchTax} }

func (frenchTax) Starts(b byte) bool { return '0' <= b && b <= '3' }

func (frenchTax) Match(text string, whole bool) (Kind, int, Verdict) {
	number, ends, more := groups(text, whole, taxDigits, nil)
	if more {
		return "", 0, More
	}
	e, ok := longest(ends, func(n int) bool {
		return n == taxDigits && mod(number[:10], 511) == mod(number[10:n], 1000) && number[:10] != "0000000000"
	})
	if !ok {
		return "", 0, No
	}
	return FrenchTax, e.bytes, Yes
}
