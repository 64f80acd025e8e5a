package detect

import "strings"

// The kinds of personal data.
const (
	Email Kind = "pii/email"
	Phone Kind = "pii/phone"
	Card  Kind = "pii/card"
	IBAN  Kind = "pii/iban"
	// NIR is the number of the French social security (numéro de sécurité sociale).
	NIR Kind = "pii/fr-nir"
	// SIRET and SIREN number French companies and their places; a trader's own are
	// personal data.
	SIRET Kind = "pii/fr-siret"
	SIREN Kind = "pii/fr-siren"
	// FrenchVAT is a French number for value added tax.
	FrenchVAT Kind = "pii/fr-vat"
	// FrenchTax is the number of a French taxpayer (numéro fiscal, SPI).
	FrenchTax Kind = "pii/fr-tax"
	SSN       Kind = "pii/us-ssn"
)

// email finds addresses as they are written in practice: RFC 5321 allows quotes
// and much else that nobody uses.
type email struct{ first, local, domain *set }

func newEmail() email {
	return email{first: setOf(base62 + "_"), local: setOf(base62 + "._%+-'&=~"), domain: setOf(base62 + ".-")}
}

// The bounds of RFC 5321, section 4.5.3.1.
const (
	maxLocal  = 64
	maxDomain = 255
	minTLD    = 2
)

func (email) Kinds() []Kind { return []Kind{Email} }

func (e email) Starts(b byte) bool { return e.first[b] }

func (e email) Match(text string, whole bool) (Kind, int, Verdict) {
	n, more := e.local.while(text, whole, maxLocal+1)
	switch {
	case more:
		return "", 0, More
	case n == 0 || n > maxLocal || n == len(text) || text[n] != '@' || text[n-1] == '.':
		return "", 0, No
	}
	at := n + 1
	n, more = e.domain.while(text[at:], whole, maxDomain)
	if more {
		return "", 0, More // also after a dot: a country's name may follow
	}
	domain := strings.TrimRight(text[at:at+n], ".-")
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return "", 0, No
	}
	for _, l := range labels {
		if l == "" || l[0] == '-' || l[len(l)-1] == '-' || len(l) > 63 {
			return "", 0, No
		}
	}
	tld := labels[len(labels)-1]
	if len(tld) < minTLD || !isLetter(tld[0]) {
		return "", 0, No
	}
	return Email, at + len(domain), Yes
}
