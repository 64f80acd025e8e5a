package jsoncodec

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// number reads a JSON number, or a string that holds one where v may come so.
func (d *decoder) number(v value) (string, error) {
	switch kind := d.json.PeekKind(); {
	case kind == '0':
		raw, err := d.json.ReadValue()
		if err != nil {
			return "", syntax(err)
		}
		return string(raw), nil
	case kind == '"' && v.quoted:
		d.differs = true
		text, err := d.text(wholeNumber)
		if err == nil && !isNumber(text) {
			err = faultf("must be " + wholeNumber)
		}
		return text, err
	default:
		return "", d.mismatch(wholeNumber)
	}
}

// isNumber reports whether text is a JSON number: package strconv takes others, as +5 and
// 0x1.8p1.
func isNumber(text string) bool {
	raw := jsontext.Value(text)
	return raw.Kind() == '0' && raw.IsValid()
}

const wholeNumber = "a whole number"

// exactFloat is the largest size up to which a double tells all integers apart.
const exactFloat = 1 << 53

func (d *decoder) integer(v value, lowest, highest int64) (int64, error) {
	text, err := d.number(v)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n == 0 && text[0] == '-' {
		d.differs = true
	}
	if err != nil {
		// 1.0 and 1e3 are whole numbers too.
		f, ferr := strconv.ParseFloat(text, 64)
		switch {
		case ferr != nil && !errors.Is(ferr, strconv.ErrRange), f != math.Trunc(f):
			return 0, faultf("must be " + wholeNumber)
		case math.Abs(f) > exactFloat || !strings.ContainsAny(text, ".eE"):
			return 0, outOfRange(f < 0, lowest, highest)
		}
		n = int64(f)
	}
	if n < lowest || n > highest {
		return 0, outOfRange(n < 0, lowest, highest)
	}
	return n, nil
}

// outOfRange says how large a number may be, or how small.
func outOfRange(negative bool, lowest, highest int64) error {
	if negative {
		return faultf("must be a whole number, %d or more", lowest)
	}
	return faultf("must be a whole number, %d or less", highest)
}

func (d *decoder) unsigned(v value) (uint64, error) {
	text, err := d.number(v)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, faultf("must be a whole number from 0 to %d", uint64(math.MaxUint64))
	}
	return n, nil
}
