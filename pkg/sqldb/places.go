package sqldb

import (
	"strconv"
	"strings"
)

// Places is the places of so many rows in a statement that inserts several:
// ($1, $2), ($3, $4) for two rows of two columns. SQLite gets (?, ?), (?, ?): its
// driver looks each numbered place up by its name among all of the statement.
func (d Dialect) Places(rows, columns int) string { return d.rows(rows, 0, columns, nil) }

// rows is Places for rows that begin with the same values, of so many columns, and end with
// fixed ones, "" or int64(0), which stand in the text.
func (d Dialect) rows(rows, once, each int, fixed []any) string {
	var b strings.Builder
	for row := range rows {
		values := make([]string, 0, once+each+len(fixed))
		for n := range once {
			values = append(values, d.again(n+1))
		}
		for n := range each {
			values = append(values, d.place(once+row*each+n+1))
		}
		for _, v := range fixed {
			if v == "" {
				values = append(values, "''")
			} else {
				values = append(values, "0")
			}
		}
		if row > 0 {
			b.WriteString(", ")
		}
		b.WriteString("(" + strings.Join(values, ", ") + ")")
	}
	return b.String()
}

func (d Dialect) place(n int) string {
	if d == SQLite {
		return "?"
	}
	return "$" + strconv.Itoa(n)
}

// again is a place that is named more than once.
func (d Dialect) again(n int) string {
	if d == SQLite {
		return "?" + strconv.Itoa(n)
	}
	return "$" + strconv.Itoa(n)
}
