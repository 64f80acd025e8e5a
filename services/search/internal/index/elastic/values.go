package elastic

import (
	"encoding/hex"
	"math"
	"slices"
	"strconv"

	"github.com/poterne/poterne/services/search/internal/filter"
)

// Besides the words that filters ask for, the values of metadata are in one
// flattened field, by path, for facets and orders: their texts lie in the order
// of filter.Order.

// valueField names a path within the field of values. It is spelled so that no
// character of the path means anything.
func valueField(path string) string { return fieldValues + "." + hex.EncodeToString([]byte(path)) }

// valuesOf returns the values of a document by path.
func valuesOf(fields []filter.Field) map[string][]string {
	var out map[string][]string
	for _, f := range fields {
		if len(f.Values) == 0 {
			continue
		}
		if out == nil {
			out = make(map[string][]string, len(fields))
		}
		texts := make([]string, len(f.Values))
		for i, v := range f.Values {
			texts[i] = valueText(filter.Shown(v))
		}
		slices.Sort(texts)
		out[hex.EncodeToString([]byte(f.Path))] = slices.Compact(texts)
	}
	return out
}

func valueText(v filter.Value) string {
	if v.Kind == filter.String {
		return string(kindMark(v.Kind)) + v.Text
	}
	return string(kindMark(v.Kind)) + encoded(v)
}

// valueOf reads what valueText wrote.
func valueOf(s string) (filter.Value, bool) {
	if s == "" {
		return filter.Value{}, false
	}
	if s[0] == kindMark(filter.String) {
		return filter.StringValue(s[1:]), true
	}
	bits, err := strconv.ParseUint(s[1:], 16, 64)
	if err != nil {
		return filter.Value{}, false
	}
	if bits>>63 == 1 {
		bits &^= 1 << 63
	} else {
		bits = ^bits
	}
	n := math.Float64frombits(bits)
	switch s[0] {
	case kindMark(filter.Number):
		return filter.NumberValue(n), true
	case kindMark(filter.Bool):
		return filter.BoolValue(n == 1), true
	default:
		return filter.Value{}, false
	}
}
