package sqldb

// Row takes the values of one row, in the order of the columns. A value that the row before
// has, too, costs no memory.
type Row struct {
	columns int
	values  []any // a row's, then those of the rows that wait, then this one's
}

// before is what the row before has in the next column.
func (r *Row) before() any { return r.values[len(r.values)-r.columns] }

// Text takes the next columns' values, which are texts.
func (r *Row) Text(values ...string) {
	for _, v := range values {
		if was, ok := r.before().(string); ok && was == v {
			r.values = append(r.values, r.before())
		} else {
			r.values = append(r.values, v)
		}
	}
}

// Number takes the next columns' values, which are numbers.
func (r *Row) Number(values ...int64) {
	for _, v := range values {
		if was, ok := r.before().(int64); ok && was == v {
			r.values = append(r.values, r.before())
		} else {
			r.values = append(r.values, v)
		}
	}
}

// Add takes the next columns' values, of any type of driver.Value.
func (r *Row) Add(values ...any) { r.values = append(r.values, values...) }
