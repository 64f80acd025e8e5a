package detect

import "strconv"

// card finds the numbers of payment cards, by the networks' beginnings and
// lengths and the check digit.
type card struct{}

const maxCard = 19

func (card) Kinds() []Kind { return []Kind{Card} }

func (card) Starts(b byte) bool { return '2' <= b && b <= '6' }

func (card) Match(text string, whole bool) (Kind, int, Verdict) {
	number, ends, more := groups(text, whole, maxCard, nil)
	if more {
		return "", 0, More
	}
	e, ok := longest(ends, func(n int) bool { return network(number[:n]) && luhn(number[:n]) })
	if !ok {
		return "", 0, No
	}
	return Card, e.bytes, Yes
}

// network reports whether some network has cards of this beginning and length.
func network(number string) bool {
	n := len(number)
	if n < 13 {
		return false
	}
	head, err := strconv.Atoi(number[:4])
	if err != nil {
		return false
	}
	switch {
	case head/1000 == 4: // Visa
		return n == 13 || n == 16 || n == 19
	case 51 <= head/100 && head/100 <= 55, 2221 <= head && head <= 2720: // Mastercard
		return n == 16
	case head/100 == 34, head/100 == 37: // American Express
		return n == 15
	case head/100 == 36, head/100 == 38, 300 <= head/10 && head/10 <= 305: // Diners
		return n == 14
	case head == 6011, head/100 == 65, 644 <= head/10 && head/10 <= 649, head/100 == 62: // Discover, UnionPay
		return n >= 16
	case 3528 <= head && head <= 3589: // JCB
		return n == 16
	case head/100 == 50, 56 <= head/100 && head/100 <= 58, head/100 == 63, head/100 == 67: // Maestro
		return n >= 16
	default:
		return false
	}
}
