package filter

import (
	"math"

	expr "google.golang.org/genproto/googleapis/api/expr/v1alpha1"
)

// The functions that filters may call.
const (
	functionTimestamp = "timestamp"
	functionDistance  = "distance"
)

// timestamp reads timestamp("...").
func (c *converter) timestamp(e *expr.Expr, args []*expr.Expr) (Value, error) {
	if len(args) != 1 || !isString(args[0]) {
		return Value{}, c.errorf(e, `timestamp takes one string, as in timestamp("2024-05-01T12:00:00Z")`)
	}
	t, ok := Instant(args[0].GetConstExpr().GetStringValue())
	if !ok {
		return Value{}, c.errorf(args[0], "this is not a timestamp or a date of RFC 3339")
	}
	return TimeValue(t), nil
}

// distance reads distance(path, lat, lon) op metres.
func (c *converter) distance(e *expr.Expr, args []*expr.Expr, op Op, right *expr.Expr) (Node, error) {
	switch op {
	case Less, LessEqual, Greater, GreaterEqual:
	case Equal, NotEqual, Has:
		fallthrough
	default:
		return nil, c.errorf(e, "a distance is compared by <, <=, > or >=")
	}
	if len(args) != 3 {
		return nil, c.errorf(e, "distance takes a field, a latitude and a longitude")
	}
	path, err := c.field(args[0])
	if err != nil {
		return nil, err
	}
	d := &Distance{Path: path, Op: op}
	for i, n := range []struct {
		from    *expr.Expr
		to      *float64
		most    float64
		message string
	}{
		{args[1], &d.Point.Lat, 90, "a latitude from -90 to 90 is expected"},
		{args[2], &d.Point.Lon, 180, "a longitude from -180 to 180 is expected"},
		{right, &d.Metres, math.MaxFloat64, "a number of metres is expected"},
	} {
		v, err := c.value(n.from)
		if err != nil {
			return nil, err
		}
		if v.Kind != Number || math.Abs(v.Number) > n.most || i == 2 && v.Number < 0 {
			return nil, c.errorf(n.from, "%s", n.message)
		}
		*n.to = v.Number
	}
	return d, nil
}
