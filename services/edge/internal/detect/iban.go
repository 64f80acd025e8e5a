package detect

import (
	"strconv"
	"strings"
)

// iban finds international bank account numbers (ISO 13616): a country, two
// check digits, and what that country's accounts have.
type iban struct{}

const maxIBAN = 34

// ibanLengths is from the registry that SWIFT keeps for ISO 13616.
const ibanLengths = "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BR29BY28CH21CR22CY28CZ24DE22DK18DO28EE20EG29ES24FI18FO18FR27" +
	"GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22MK19MR27" +
	"MT31MU30NL18NO15PK24PL28PS29PT25QA29RO24RS22SA24SC31SE24SI19SK24SM27ST25SV28TL23TN24TR26UA29VA22VG24XK20"

// countryLength returns how many letters and digits a country's accounts have; 0
// for another country.
func countryLength(country string) int {
	for i := 0; i < len(ibanLengths); i += 4 {
		if ibanLengths[i:i+2] == country {
			n, err := strconv.Atoi(ibanLengths[i+2 : i+4])
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

func (iban) Kinds() []Kind { return []Kind{IBAN} }

func (iban) Starts(b byte) bool { return isUpper(b) }

func (iban) Match(text string, whole bool) (Kind, int, Verdict) {
	for i := range 4 {
		if i == len(text) {
			return "", 0, unless(whole)
		}
		if i < 2 && !isUpper(text[i]) || i >= 2 && !isDigit(text[i]) {
			return "", 0, No
		}
	}
	want := countryLength(text[:2])
	if want == 0 {
		return "", 0, No
	}
	number, ends, more := groups(text, whole, maxIBAN, isUpper)
	if more {
		return "", 0, More
	}
	e, ok := longest(ends, func(n int) bool { return n == want && validIBAN(number[:n]) })
	if !ok {
		return "", 0, No
	}
	return IBAN, e.bytes, Yes
}

// validIBAN checks by ISO 7064's MOD 97-10: letters are 10 to 35.
func validIBAN(number string) bool {
	var digits strings.Builder
	for _, c := range []byte(number[4:] + number[:4]) {
		if isDigit(c) {
			digits.WriteByte(c)
			continue
		}
		digits.WriteString(strconv.Itoa(int(c-'A') + 10))
	}
	return mod(digits.String(), 97) == 1
}
