package cli

import (
	"fmt"
	"strconv"
	"strings"
)

// moneyDigits is how many digits behind the point the gateway keeps of an amount.
const moneyDigits = 6

// parseMoney reads an amount such as 12.5 as millionths.
func parseMoney(s string) (int64, error) {
	whole, part, _ := strings.Cut(s, ".")
	n, err := strconv.ParseUint(whole+part+strings.Repeat("0", max(moneyDigits-len(part), 0)), 10, 63)
	if err != nil || whole == "" || len(part) > moneyDigits || strings.HasPrefix(s, "+") || strings.HasSuffix(s, ".") {
		return 0, fmt.Errorf("%q is not an amount such as 12.5, with at most six digits behind the point", s)
	}
	return int64(n), nil
}

// money writes millionths as an amount.
func money(v any) string {
	text := fmt.Sprint(v)
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "-"
	}
	text = fmt.Sprintf("%d.%06d", n/1e6, n%1e6)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
}
