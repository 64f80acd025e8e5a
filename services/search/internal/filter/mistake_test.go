package filter

import (
	"errors"
	"strconv"
	"strings"
	"testing"
)

// TestMistakesAreNamed: what is wrong is said in the words of filters, and where,
// in characters of the whole filter.
func TestMistakesAreNamed(t *testing.T) {
	for filter, want := range map[string]string{
		`a`:                   `1: a comparison such as name = value`,
		`a =`:                 `4: the filter ends where`,
		`  a = `:              `6: the filter ends where`,
		`= 1`:                 `1: the name of a field is expected before`,
		`a = 1 AND (b = 2`:    `11: this ( is not closed`,
		`a = (`:               `5: this ( is not closed`,
		`f(a`:                 `2: this ( is not closed`,
		`a = 1)`:              `6: this ) closes nothing`,
		`()`:                  `2: a name, a value or a comparison is expected before this )`,
		`a == 1`:              `4: a value is expected here`,
		`é <> 1`:              `4: a value is expected here`,
		"a=1\nAND\n= 2":       `9: the name of a field is expected before`,
		`(a) = 1`:             `5: only a name or distance(...)`,
		`a = 1 AND`:           `7: AND needs`,
		`a = 1 OR OR b = 2`:   `10: OR needs`,
		`NOT`:                 `1: NOT needs`,
		`a ! b`:               `3: a ! cannot stand here`,
		`a = - 1`:             `5: a - must stand right before`,
		`a = 1.2.3`:           `8: a . must stand between`,
		`a..b = 1`:            `3: a . must stand between`,
		`a, b = 1`:            `2: a , can only`,
		`a = 1e400`:           `6: "e400" cannot stand right behind a number`,
		`a = ` + nines:        `5: "999999999999999999999999…" is not a number`,
		`a = "x\q"`:           `5: the string has a \`,
		`a = 'it''s'`:         `9: a string cannot stand here`,
		`a = "x`:              `5: this string is not closed`,
		`(a = 1)(b = 2)`:      `8: a ( cannot stand here`,
		`"" = 1`:              `1: the name of a field has 1 to 512 bytes`,
		long + ` = 1`:         `1: the name of a field has 1 to 512 bytes`,
		`a = b.c`:             `5: a string, a number, true or false`,
		long + `(a)`:          `1: there is no function "` + long[:shownWord] + `…"`,
		`distance("",1,2)<=3`: `10: the name of a field has`,
	} {
		_, err := Parse(filter)
		var bad *Error
		if !errors.As(err, &bad) {
			t.Errorf("%.40q: got %v, want an *Error", filter, err)
			continue
		}
		if got := strconv.Itoa(bad.Column) + ": " + bad.Message; !strings.HasPrefix(got, want) {
			t.Errorf("%.40q: got %q, want %q", filter, got, want)
		}
		if strings.Contains(bad.Message, "token") {
			t.Errorf("%.40q: the parser speaks: %q", filter, bad.Message)
		}
	}
}

var nines, long = strings.Repeat("9", 40), strings.Repeat("x", MaxPathBytes+1) //nolint:gochecknoglobals // of the test
