package engine

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// form is what the values of a flag look like.
type form int

const (
	formSwitch form = iota + 1
	formToggle
	formInteger
	formNumber
	formNumbers
	formDuration
	formWord
)

// flagKind is which values a flag takes. What passes its check is never empty
// and begins with a dash only when it is a number, so that no value can be read
// as another flag, nor its absence swallow the next one.
type flagKind struct {
	form      form
	low, high float64  // of numbers
	words     []string // the only words; none allows every plain one
}

// The kinds of flags.
func aSwitch() flagKind { return flagKind{form: formSwitch} }

// aToggle is a switch whose engine does not take its absence for false: false
// is written --no-name.
func aToggle() flagKind { return flagKind{form: formToggle} }

func integer(low, high float64) flagKind { return flagKind{form: formInteger, low: low, high: high} }
func number(high float64) flagKind       { return flagKind{form: formNumber, high: high} }
func numbers() flagKind                  { return flagKind{form: formNumbers, high: math.MaxFloat32} }
func duration() flagKind                 { return flagKind{form: formDuration} }
func oneOf(words ...string) flagKind     { return flagKind{form: formWord, words: words} }
func plainWord() flagKind                { return flagKind{form: formWord} }

// check returns text as it is written on a command line; a switch becomes
// "true" or "false". The error says what the value must be.
func (k flagKind) check(text string) (string, error) {
	switch k.form {
	case formSwitch, formToggle:
		return checkSwitch(text)
	case formInteger:
		return k.checkInteger(text)
	case formNumber:
		return k.checkNumber(text)
	case formNumbers:
		return k.checkNumbers(text)
	case formDuration:
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return "", errors.New("must be a duration such as 250ms")
		}
		return d.String(), nil
	case formWord:
		return k.checkWord(text)
	}
	return "", errors.New("has no kind")
}

func checkSwitch(text string) (string, error) {
	switch text {
	case "", "true":
		return "true", nil
	case "false":
		return "false", nil
	}
	return "", errors.New("must be true or false, or empty for true")
}

func (k flagKind) checkInteger(text string) (string, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || float64(n) < k.low || float64(n) > k.high {
		return "", fmt.Errorf("must be a whole number from %.0f to %.0f", k.low, k.high)
	}
	return strconv.FormatInt(n, 10), nil
}

func (k flagKind) checkNumber(text string) (string, error) {
	v, err := strconv.ParseFloat(text, 64)
	// A NaN is within no bounds.
	if err != nil || !(v >= k.low && v <= k.high) {
		return "", fmt.Errorf("must be a number from %g to %g", k.low, k.high)
	}
	return strconv.FormatFloat(v, 'g', -1, 64), nil
}

func (k flagKind) checkNumbers(text string) (string, error) {
	list := strings.Split(text, ",")
	for i := range list {
		v, err := k.checkNumber(list[i])
		if err != nil {
			return "", errors.New("must be numbers with commas between them")
		}
		list[i] = v
	}
	return strings.Join(list, ","), nil
}

func (k flagKind) checkWord(text string) (string, error) {
	if len(k.words) > 0 {
		if !slices.Contains(k.words, text) {
			return "", errors.New("must be one of " + strings.Join(k.words, ", "))
		}
		return text, nil
	}
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsGraphic(r) || unicode.IsSpace(r) }) {
		return "", errors.New("must be a word without spaces and control characters")
	}
	if text[0] == '-' && !isNumber(text) {
		return "", errors.New("must not begin with a dash unless it is a number")
	}
	return text, nil
}

// isNumber reports whether text is a number written with digits.
func isNumber(text string) bool {
	v, err := strconv.ParseFloat(text, 64)
	return err == nil && !math.IsInf(v, 0) && !math.IsNaN(v)
}
