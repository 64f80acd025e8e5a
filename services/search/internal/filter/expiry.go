package filter

import "time"

// expiryPath is the path of the time when a document ends. No member of metadata
// has it, and no filter can name it.
const expiryPath = ""

// Expiry returns the field of a document that ends at t.
func Expiry(t time.Time) Field {
	return Field{Path: expiryPath, Values: []Value{NumberValue(float64(t.UnixMilli()))}}
}

// Live returns a filter that passes what f passes, nil: everything, and has not
// ended at the given time.
func Live(f Node, now time.Time) Node {
	live := &Not{Node: &Compare{Path: expiryPath, Op: LessEqual, Value: NumberValue(float64(now.UnixMilli()))}}
	if f == nil {
		return live
	}
	return &And{Nodes: []Node{f, live}}
}
