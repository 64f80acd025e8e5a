package index

import (
	"cmp"
	"slices"

	"github.com/poterne/poterne/services/search/internal/filter"
)

// Facet asks how many documents have which values at a path.
type Facet struct {
	Path string
	// Limit is the most values that are told.
	Limit int
	// Ranges are counted besides; their values are of one kind.
	Ranges []Range
}

// Range is the values from From on and before To, numbers or moments; nil for
// no bound. One of the two is there.
type Range struct{ From, To *filter.Value }

// Kind is what its values are.
func (r Range) Kind() filter.Kind {
	if r.From != nil {
		return r.From.Kind
	}
	return r.To.Kind
}

// Counts are a facet's. They count documents, however many of their passages
// satisfy the query; one that has a list counts for each of its values.
type Counts struct {
	// Values are the most frequent ones, as filter.Shown has them; of two as
	// frequent the one that filter.Order has first.
	Values []ValueCount
	// Other is the sum of the counts of the values that are not told.
	Other int
	// Missing counts the documents that have nothing at the path.
	Missing int
	// Ranges are as they were asked for.
	Ranges []int
}

// ValueCount is how many documents have a value.
type ValueCount struct {
	Value filter.Value
	Count int
}

// Tally puts counted values in order.
func Tally(f Facet, values map[filter.Value]int, missing int) Counts {
	out := Counts{Missing: missing, Ranges: make([]int, len(f.Ranges)), Values: make([]ValueCount, 0, len(values))}
	for v, n := range values {
		out.Values = append(out.Values, ValueCount{v, n})
	}
	slices.SortFunc(out.Values, func(a, b ValueCount) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), filter.Order(a.Value, b.Value))
	})
	for _, v := range out.Values[min(f.Limit, len(out.Values)):] {
		out.Other += v.Count
	}
	out.Values = out.Values[:min(f.Limit, len(out.Values))]
	return out
}
